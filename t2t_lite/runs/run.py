"""The run folder (`--output_dir`): writes its description, reads it back, rebuilds the model from it.

hparams.json           the resolved hparams
operative_config.gin   the hparams and all other gin bindings, as a gin file
vocab.NAME.model       the vocabularies
run.json               the model, the problems with their declarations and rates, checksums of vocabularies and data
checkpoints/           the weights, the optimizer's state, the host's state; see checkpoints.py
events.*               scalars for TensorBoard
scalars.jsonl          the same scalars as JSON lines
mixture.json           the table of the mixture
data.json              the numbers of examples and the sources of the data, for the model card of an export
"""

import dataclasses
import json
import random
import shlex
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.data.manifest import Manifest, write_atomically
from t2t_lite.data.reading import Dataset
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UnknownNameError, UserError
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text
from t2t_lite.problems.problem import get_problem
from t2t_lite.runs.checkpoints import finished_steps
from t2t_lite.runs.memory import explain_out_of_memory, smaller_model

_GIN = "operative_config.gin"
DECAYING = ("cosine", "linear")  # schedules that reach 0 at decay_steps
DATA = "data.json"
AVERAGED = "averaged.json"  # in a folder of averaged weights: the run and the steps that were averaged
_MAY_CHANGE = ("accumulate_steps", "max_bad_steps")  # hparams that change a run's weights by rounding at most


@dataclass(frozen=True)
class Run:
    """The description of a run, written once into its folder and read back by every later command."""

    folder: Path
    hparams: HParams
    model_name: str
    declarations: dict[str, dict[str, Any]]  # {problem: its declaration as datagen resolved it}
    vocabularies: dict[str, dict[str, Any]]  # {name: {"checksum": ..., "size": ...}}
    rates: dict[str, float]  # {problem: its rate in the mixture}
    data: dict[str, str]  # {problem: checksum of its records}

    @classmethod
    def create(
        cls,
        folder: Path,
        hparams: HParams,
        model_name: str,
        datasets: Mapping[str, Dataset],
        rates: Mapping[str, float],
        gin_text: str = "",
    ) -> "Run":
        """Writes a new run into its folder, or returns the run there if it has the same settings.

        Overwrites a run without checkpoints, so that settings that failed at once can be corrected.

        Raises:
          UserError: the folder holds a run with other settings; the differences are listed.
        """
        vocabularies = {
            name: {"checksum": vocabulary.checksum, "size": vocabulary.size}
            for dataset in datasets.values()
            for name, vocabulary in dataset.vocabularies.items()
        }
        declarations = {name: dataset.problem.declaration() for name, dataset in datasets.items()}
        data = {name: _checksum(dataset) for name, dataset in datasets.items()}
        run = cls(folder, hparams, model_name, declarations, vocabularies, dict(rates), data)
        if (folder / AVERAGED).exists():
            raise UserError(
                f"--output_dir: {folder} is a run of averaged weights, without an optimizer; to train on from it, give "
                f"another folder and --warm_start_from={folder}"
            )
        if (folder / "run.json").exists() and finished_steps(folder):
            before = cls._read(folder)
            trained = {name: {_checksum(each), _checksum(each, ("train", "dev"))} for name, each in datasets.items()}
            differences = run._differences(before, trained) + _gin_differences(folder, gin_text)
            if len(differences) == 1 and hparams.decay_steps != before.hparams.decay_steps:
                raise UserError(run._explain_decay(before))
            if differences:
                raise UserError(
                    f"--output_dir: {folder} holds a run with other settings: {'; '.join(differences)}. "
                    "Give the same settings to go on with it, or another --output_dir"
                )
            return run
        folder.mkdir(parents=True, exist_ok=True)
        hparams.save(folder / "hparams.json")
        write_atomically(folder / _GIN, gin_text.encode("utf8"))
        for dataset in datasets.values():
            for name, vocabulary in dataset.vocabularies.items():
                write_atomically(vocabulary_path(folder, name), vocabulary.model)
        described = {name: describe_manifest(dataset.manifest) for name, dataset in datasets.items()}
        write_atomically(folder / DATA, (json.dumps(described, indent=2) + "\n").encode("utf8", "backslashreplace"))
        # Written last: a folder without run.json is not taken for a run.
        write_atomically(folder / "run.json", (json.dumps(run._json(), indent=2) + "\n").encode("utf8"))
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Reads the run in a folder, and restores the gin bindings that it was trained with.

        Raises:
          UserError: the folder holds no run, or one of its files is damaged.
        """
        run = cls._read(folder)
        gin_config.bind_from_file(folder / _GIN)
        return run

    @classmethod
    def _read(cls, folder: Path) -> "Run":
        try:
            stored = json.loads((folder / "run.json").read_text(encoding="utf8"))
        except FileNotFoundError:
            raise UserError(f"--output_dir: no run in {folder}; train one there with t2t-trainer") from None
        except ValueError as e:
            raise UserError(f"{folder / 'run.json'}: not a run's description: {e}") from e
        keys = ("model", "problems", "vocabularies", "rates", "data")
        if not isinstance(stored, dict) or not stored.keys() >= set(keys):
            raise UserError(f"{folder / 'run.json'}: not a run's description: expected {', '.join(keys)}")
        return cls(folder, HParams.load(folder / "hparams.json"), *(stored[key] for key in keys))

    def _json(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "problems": self.declarations,
            "vocabularies": self.vocabularies,
            "rates": self.rates,
            "data": self.data,
        }

    def _differences(self, stored: "Run", checksums: Mapping[str, set[str]]) -> list[str]:
        """Returns the settings that differ from the stored run, a phrase each.

        Args:
          stored: the run in the folder.
          checksums: {problem: checksums of its records}: with all splits, and without a test split, which may have
            been added since.
        """
        notes = {"decay_steps": " (it is --train_steps unless set)"}
        changes = self.hparams.changes_from(stored.hparams).items()
        differences = [phrase + notes.get(key, "") for key, phrase in changes if key not in _MAY_CHANGE]
        if self.model_name != stored.model_name:
            differences.append(f"model is {self.model_name}, was {stored.model_name}")
        if self.rates != stored.rates:
            differences.append(f"problems are {_format_rates(self.rates)}, were {_format_rates(stored.rates)}")
        for name in self.declarations.keys() & stored.declarations.keys():
            # The round trip through JSON turns tuples into lists, as in the stored file.
            if json.loads(json.dumps(self.declarations[name])) != stored.declarations[name]:
                differences.append(f"the data of problem '{name}' have another declaration than those trained on")
            elif stored.data[name] not in checksums[name]:
                differences.append(f"the records of problem '{name}' are not those trained on")
        for name in self.vocabularies.keys() & stored.vocabularies.keys():
            if self.vocabularies[name] != stored.vocabularies[name]:
                differences.append(f"vocabulary '{name}' differs from the one trained with")
        return differences

    def _explain_decay(self, stored: "Run") -> str:
        """Returns the error for a run that differs in decay_steps alone, with the flags that train on.

        decay_steps is --train_steps unless it is set, so that this comes of another --train_steps.
        """
        end, wanted = stored.hparams.decay_steps, self.hparams.decay_steps
        step = max(finished_steps(self.folder))
        text = f"--output_dir: decay_steps is {wanted}, was {end}: the learning rate of the run in {self.folder} "
        text += f"(schedule={stored.hparams.schedule}) reaches 0 at step {end}. "
        if step < end:
            text += f"To go on with it, give --train_steps={end}. "
        return text + self._new_run_advice(max(wanted - step, 1))

    def _new_run_advice(self, steps: int) -> str:
        new = next(f for n in range(2, 10**6) if not (f := self.folder.with_name(f"{self.folder.name}-{n}")).exists())
        flags = [f"--warm_start_from={self.folder}", f"--output_dir={new}", f"--train_steps={steps}"]
        return f"To train longer, begin a new run with its weights: {shlex.join(flags)}"

    def how_to_train_on(self, step: int) -> str:
        """Returns the advice for a run that is trained to its end at `step`."""
        if self.hparams.schedule in DECAYING and step >= self.hparams.decay_steps:
            return f"the learning rate is 0 (schedule={self.hparams.schedule}). {self._new_run_advice(step)}"
        return "a larger --train_steps trains on"

    def problems(self) -> dict[str, Problem]:
        """Returns the problems trained, with their declarations.

        Raises:
          UserError: a problem is not registered.
        """
        problems = {}
        for name, declaration in self.declarations.items():
            try:
                problems[name] = get_problem(name)
            except UnknownNameError as e:
                raise UserError(f"{self.folder}: {e} (was it trained with --t2t_usr_dir? give it again)") from e
            problems[name].adopt(declaration)
        return problems

    def open_datasets(self, data_dir: Path | None, names: list[str]) -> dict[str, Dataset]:
        """Opens the data of some of the run's problems.

        Args:
          data_dir: their folder; None for datasets without records, which encode raw inputs with the run's own copies
            of the vocabularies.
          names: the problems.

        Raises:
          UserError: a problem was not trained in this run, its data are missing, or a vocabulary is not the run's.
        """
        self.check_trained(names)
        if data_dir is None:
            return self._datasets_without_records(names)
        datasets = {name: Dataset.open(data_dir, name) for name in names}
        for name, dataset in datasets.items():
            for vocab, vocabulary in dataset.vocabularies.items():
                self._check_vocabulary(vocab, vocabulary, f"of problem '{name}' in {data_dir}")
        return datasets

    def _datasets_without_records(self, names: list[str]) -> dict[str, Dataset]:
        problems, datasets = self.problems(), {}
        for name in names:
            manifest = Manifest(name, declared={}, declaration=self.declarations[name], splits={}, vocabularies={})
            datasets[name] = Dataset(problems[name], manifest, self.load_vocabularies([name]), self.folder)
        return datasets

    def check_trained(self, names: Sequence[str]) -> None:
        """Raises UserError if one of the problems was not trained in this run."""
        for name in names:
            if name not in self.declarations:
                raise UserError(
                    f"--problem: '{name}' was not trained in {self.folder}; it holds {', '.join(self.declarations)}"
                )

    def load_vocabularies(self, names: Sequence[str], data_dir: Path | None = None) -> dict[str, Vocabulary]:
        """Returns the vocabularies of some of the run's problems, by name.

        Args:
          names: the problems.
          data_dir: the folder to read them from; None for the run's own copies.

        Raises:
          UserError: a problem was not trained in this run, or a vocabulary is missing or not the run's.
        """
        self.check_trained(names)
        vocabularies, problems = {}, self.problems()
        for problem in (problems[name] for name in names):
            for vocab in (text.vocab for text in problem.keyed_features.values() if isinstance(text, Text)):
                path = vocabulary_path(data_dir or self.folder, vocab)
                if data_dir is None and not path.exists():
                    raise UserError(f"--data_dir: required, since {self.folder} keeps no copy of vocabulary '{vocab}'")
                vocabularies[vocab] = Vocabulary.load(path)
                self._check_vocabulary(vocab, vocabularies[vocab], f"in {path.parent}")
        return vocabularies

    def _check_vocabulary(self, name: str, vocabulary: Vocabulary, where: str) -> None:
        if vocabulary.checksum != self.vocabularies[name]["checksum"]:
            raise UserError(
                f"--data_dir: vocabulary '{name}' {where} differs from the one that {self.folder} was trained with; "
                "give the data folder it was trained on"
            )

    def build_model(self) -> Any:
        """Returns the model with fresh weights from the run's seed.

        Raises:
          UserError: the weights do not fit into memory.
        """
        random.seed(self.hparams.seed)  # Keras's initializers draw their seeds from here
        sizes = {name: stored["size"] for name, stored in self.vocabularies.items()}
        problems = self.problems()
        with explain_out_of_memory("the model's weights", smaller_model(self.hparams)):
            return registry.models.get(self.model_name)(self.hparams, problems, sizes)


def describe_manifest(manifest: Manifest) -> dict[str, Any]:
    """Returns what a run keeps of a manifest. The path of the raw files is left out."""
    source = {key: value for key, value in manifest.source.items() if key != "raw_dir"}
    examples = {name: split.examples for name, split in manifest.splits.items()}
    return {"examples": examples, "version": manifest.version, **source}


def _checksum(dataset: Dataset, splits: Sequence[str] = ()) -> str:
    """Returns a checksum of the shards of some splits, all by default, as the manifest lists them."""
    shards = [
        [split, dataclasses.asdict(s)]
        for split, stored in dataset.manifest.splits.items()
        if not splits or split in splits
        for s in stored.shards
    ]
    return f"{zlib.crc32(json.dumps(shards).encode()):08x}"


def _gin_differences(folder: Path, gin_text: str) -> list[str]:
    """Returns the gin bindings that differ, those of hparams excepted: they are compared as hparams."""

    def bindings(text: str) -> set[str]:
        lines = (line.strip() for line in text.splitlines())
        return {line for line in lines if line and not line.startswith(("#", "hparams."))}

    try:
        stored = bindings((folder / _GIN).read_text(encoding="utf8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{folder / _GIN}: cannot read the gin configuration of the run: {e}") from e
    new = bindings(gin_text)
    return [f"gin has '{line}'" for line in sorted(new - stored)] + [
        f"gin had '{line}'" for line in sorted(stored - new)
    ]


def _format_rates(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items())
