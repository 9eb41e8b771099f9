"""A run: the folder (`--output_dir`) that keeps what was trained, on what, and how.

hparams.json           the resolved hparams
operative_config.gin   the same and all else that gin set, as a gin file
run.json               the model, the problems with their declarations, their rates, the vocabularies' checksums
checkpoints/           the weights and the optimizer's state
events.*               scalars for TensorBoard
scalars.jsonl          the same scalars as JSON lines
mixture.json           the table of the mixture
"""

import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems import Problem
from t2t_lite.problems.problem import get_problem


@dataclass(frozen=True)
class Run:
    """What a run is made of; written once into its folder, read back by every later command."""

    folder: Path
    hparams: HParams
    model_name: str
    declarations: dict[str, dict[str, Any]]  # of each problem, as datagen resolved them
    vocabularies: dict[str, dict[str, Any]]  # {name: {"checksum": ..., "size": ...}}
    rates: dict[str, float]  # the mixture

    @classmethod
    def create(
        cls,
        folder: Path,
        hparams: HParams,
        model_name: str,
        datasets: Mapping[str, Dataset],
        rates: Mapping[str, float],
        gin_config: str = "",
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
        run = cls(folder, hparams, model_name, declarations, vocabularies, dict(rates))
        if (folder / "run.json").exists() and any((folder / "checkpoints").glob("*.index")):
            differences = run._differences(cls.open(folder))
            if differences:
                raise UserError(
                    f"--output_dir: {folder} holds a run with other settings: {'; '.join(differences)}. "
                    "Give the same settings to go on with it, or another --output_dir"
                )
            return run
        folder.mkdir(parents=True, exist_ok=True)
        hparams.save(folder / "hparams.json")
        (folder / "operative_config.gin").write_text(gin_config, encoding="utf8")
        # The last file written is the one that makes the folder a run.
        unfinished = folder / "run.json.unfinished"
        unfinished.write_text(json.dumps(run._json(), indent=2) + "\n", encoding="utf8")
        unfinished.rename(folder / "run.json")
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Reads the run in a folder.

        Raises:
          UserError: there is none.
        """
        try:
            stored = json.loads((folder / "run.json").read_text(encoding="utf8"))
        except FileNotFoundError:
            raise UserError(f"--output_dir: no run in {folder}; train one there with t2t-trainer") from None
        except ValueError as e:
            raise UserError(f"{folder / 'run.json'}: not a run's description: {e}") from e
        keys = ("model", "problems", "vocabularies", "rates")
        if not isinstance(stored, dict) or not stored.keys() >= set(keys):
            raise UserError(f"{folder / 'run.json'}: not a run's description: expected {', '.join(keys)}")
        return cls(folder, HParams.load(folder / "hparams.json"), *(stored[key] for key in keys))

    def _json(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "problems": self.declarations,
            "vocabularies": self.vocabularies,
            "rates": self.rates,
        }

    def _differences(self, stored: "Run") -> list[str]:
        """What differs from the stored run, a phrase each."""
        mine, theirs = dataclasses.asdict(self.hparams), dataclasses.asdict(stored.hparams)
        found = [f"{key} is {mine[key]}, was {theirs[key]}" for key in mine if mine[key] != theirs[key]]
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
        for name in self.vocabularies.keys() & stored.vocabularies.keys():
            if self.vocabularies[name] != stored.vocabularies[name]:
                found.append(f"vocabulary '{name}' differs from the one trained with")
        return found

    def problems(self) -> dict[str, Problem]:
        """The problems trained, with their declarations."""
        found = {}
        for name, declaration in self.declarations.items():
            found[name] = get_problem(name)
            found[name].adopt(declaration)
        return found

    def open_datasets(self, data_dir: Path, names: list[str]) -> dict[str, Dataset]:
        """Opens the data of some of the run's problems.

        Raises:
          UserError: a problem was not trained in this run, its data are missing, or a vocabulary is not the run's.
        """
        for name in names:
            if name not in self.declarations:
                raise UserError(
                    f"--problem: '{name}' was not trained in {self.folder}; it holds {', '.join(self.declarations)}"
                )
        datasets = {name: Dataset.open(data_dir, name) for name in names}
        for name, dataset in datasets.items():
            for vocab, vocabulary in dataset.vocabularies.items():
                trained = self.vocabularies[vocab]["checksum"]
                if vocabulary.checksum != trained:
                    raise UserError(
                        f"--data_dir: vocabulary '{vocab}' of problem '{name}' in {data_dir} differs from the one that "
                        f"{self.folder} was trained with; give the data folder it was trained on"
                    )
        return datasets

    def build_model(self) -> Any:
        """The model with fresh weights from the run's seed."""
        random.seed(self.hparams.seed)  # Keras's initializers draw their seeds from here
        sizes = {name: stored["size"] for name, stored in self.vocabularies.items()}
        return registry.models.get(self.model_name)(self.hparams, self.problems(), sizes)


def _table(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items())
