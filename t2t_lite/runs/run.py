"""A run: the folder (`--output_dir`) that keeps what was trained, on what, and how.

hparams.json           the resolved hparams
operative_config.gin   the same and all else that gin set, as a gin file
vocab.NAME.model       the vocabularies
run.json               the model, the problems with their declarations and rates, checksums of vocabularies and data
checkpoints/           the weights, the optimizer's and the host's state; see checkpoints.py
events.*               scalars for TensorBoard
scalars.jsonl          the same scalars as JSON lines
mixture.json           the table of the mixture
"""

import dataclasses
import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.data.manifest import write_atomically
from t2t_lite.data.reading import Dataset
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UnknownNameError, UserError
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text
from t2t_lite.problems.problem import get_problem
from t2t_lite.runs.checkpoints import finished_steps

_GIN = "operative_config.gin"
AVERAGED = "averaged.json"  # in a run of averaged weights: which checkpoints these are of
_MAY_CHANGE = ("accumulate_steps", "max_bad_steps")  # hparams on which a run's weights do not depend, rounding aside


@dataclass(frozen=True)
class Run:
    """What a run is made of; written once into its folder, read back by every later command."""

    folder: Path
    hparams: HParams
    model_name: str
    declarations: dict[str, dict[str, Any]]  # of each problem, as datagen resolved them
    vocabularies: dict[str, dict[str, Any]]  # {name: {"checksum": ..., "size": ...}}
    rates: dict[str, float]  # the mixture
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
        """Writes a new run into its folder, or finds the same run there.

        A run that came to no checkpoint is written over: settings that failed at once can be mended.

        Raises:
          UserError: the folder holds another run; the differences are listed.
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
            differences = run._differences(cls._read(folder)) + _gin_differences(folder, gin_text)
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
        # The last file written is the one that makes the folder a run.
        write_atomically(folder / "run.json", (json.dumps(run._json(), indent=2) + "\n").encode("utf8"))
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Reads the run in a folder, and gives gin the bindings that it was trained with.

        Raises:
          UserError: there is none.
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

    def _differences(self, stored: "Run") -> list[str]:
        """What differs from the stored run, a phrase each."""
        mine, theirs = dataclasses.asdict(self.hparams), dataclasses.asdict(stored.hparams)
        changed = [key for key in mine if mine[key] != theirs[key] and key not in _MAY_CHANGE]
        found = [f"{key} is {mine[key]}, was {theirs[key]}" for key in changed]
        if mine["decay_steps"] != theirs["decay_steps"]:
            found.append(f"the {self.hparams.schedule} schedule ends at decay_steps, which is --train_steps unless set")
        if self.model_name != stored.model_name:
            found.append(f"model is {self.model_name}, was {stored.model_name}")
        if self.rates != stored.rates:
            found.append(f"problems are {_table(self.rates)}, were {_table(stored.rates)}")
        for name in self.declarations.keys() & stored.declarations.keys():
            # A round trip through JSON makes tuples lists, as they are in the file.
            if json.loads(json.dumps(self.declarations[name])) != stored.declarations[name]:
                found.append(f"the data of problem '{name}' are declared otherwise than those trained on")
            elif self.data[name] != stored.data[name]:
                found.append(f"the records of problem '{name}' are not those trained on")
        for name in self.vocabularies.keys() & stored.vocabularies.keys():
            if self.vocabularies[name] != stored.vocabularies[name]:
                found.append(f"vocabulary '{name}' differs from the one trained with")
        return found

    def problems(self) -> dict[str, Problem]:
        """The problems trained, with their declarations."""
        found = {}
        for name, declaration in self.declarations.items():
            try:
                found[name] = get_problem(name)
            except UnknownNameError as e:
                raise UserError(f"{self.folder}: {e} (was it trained with --t2t_usr_dir? give it again)") from e
            found[name].adopt(declaration)
        return found

    def open_datasets(self, data_dir: Path, names: list[str]) -> dict[str, Dataset]:
        """Opens the data of some of the run's problems.

        Raises:
          UserError: a problem was not trained in this run, its data are missing, or a vocabulary is not the run's.
        """
        self.check_trained(names)
        datasets = {name: Dataset.open(data_dir, name) for name in names}
        for name, dataset in datasets.items():
            for vocab, vocabulary in dataset.vocabularies.items():
                self._check_vocabulary(vocab, vocabulary, f"of problem '{name}' in {data_dir}")
        return datasets

    def check_trained(self, names: Sequence[str]) -> None:
        """Raises UserError where one of the problems was not trained in this run."""
        for name in names:
            if name not in self.declarations:
                raise UserError(
                    f"--problem: '{name}' was not trained in {self.folder}; it holds {', '.join(self.declarations)}"
                )

    def load_vocabularies(self, names: Sequence[str], data_dir: Path | None = None) -> dict[str, Vocabulary]:
        """The vocabularies of some of the run's problems, by name.

        Args:
          names: the problems.
          data_dir: where to read them; the run's own copies if None.

        Raises:
          UserError: a problem was not trained in this run, or a vocabulary is missing or not the run's.
        """
        self.check_trained(names)
        found, problems = {}, self.problems()
        for problem in (problems[name] for name in names):
            for vocab in (feature.vocab for feature in (problem.inputs, problem.targets) if isinstance(feature, Text)):
                path = vocabulary_path(data_dir or self.folder, vocab)
                if data_dir is None and not path.exists():
                    raise UserError(f"--data_dir: required, since {self.folder} keeps no copy of vocabulary '{vocab}'")
                found[vocab] = Vocabulary.load(path)
                self._check_vocabulary(vocab, found[vocab], f"in {path.parent}")
        return found

    def _check_vocabulary(self, name: str, vocabulary: Vocabulary, where: str) -> None:
        if vocabulary.checksum != self.vocabularies[name]["checksum"]:
            raise UserError(
                f"--data_dir: vocabulary '{name}' {where} differs from the one that {self.folder} was trained with; "
                "give the data folder it was trained on"
            )

    def build_model(self) -> Any:
        """The model with fresh weights from the run's seed."""
        random.seed(self.hparams.seed)  # Keras's initializers draw their seeds from here
        sizes = {name: stored["size"] for name, stored in self.vocabularies.items()}
        return registry.models.get(self.model_name)(self.hparams, self.problems(), sizes)


def _checksum(dataset: Dataset) -> str:
    """Tells records apart: of the shards of all splits, in order, as the manifest has them."""
    shards = [
        [split, dataclasses.asdict(s)] for split, stored in dataset.manifest.splits.items() for s in stored.shards
    ]
    return f"{zlib.crc32(json.dumps(shards).encode()):08x}"


def _gin_differences(folder: Path, gin_text: str) -> list[str]:
    """The bindings of the user's own configurables that differ; those of hparams are compared as hparams."""

    def bindings(text: str) -> set[str]:
        lines = (line.strip() for line in text.splitlines())
        return {line for line in lines if line and not line.startswith(("#", "hparams."))}

    try:
        stored = bindings((folder / _GIN).read_text(encoding="utf8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{folder / _GIN}: cannot read the gin configuration of the run: {e}") from e
    mine = bindings(gin_text)
    return [f"gin has '{line}'" for line in sorted(mine - stored)] + [
        f"gin had '{line}'" for line in sorted(stored - mine)
    ]


def _table(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items())
