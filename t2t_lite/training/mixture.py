"""The rates of the mixture, and the table of examples, rates, epochs and batch sizes that follow from them."""

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.data.manifest import write_atomically
from t2t_lite.data.reading import Dataset
from t2t_lite.hparams import HParams
from t2t_lite.monitoring.training_display import format_table


@dataclass(frozen=True)
class MixtureRow:
    """One problem of the mixture: a row of its table."""

    examples: int  # in the training split, without those that are too long
    rate: float  # fraction of steps; the rates sum to 1
    batches: int  # in an epoch
    tokens: float  # positions of the longer side in a batch, on average, without padding; 196 for 224 x 224 pixels

    def epochs(self, steps: int) -> float:
        """Returns the expected number of epochs of this problem in `steps` steps of all problems together."""
        return steps * self.rate / max(1, self.batches)


class TrainingMixture:
    """The problems of a run and the fraction of steps that each one gets.

    `hparams.mixture` chooses the rates, which are then scaled to sum to 1:
      rates: the registered rates, or those of `mixture_rates`; problems named alone get equal rates.
      proportional: the number of training examples, capped at `mixture_cap`.
      temperature: the same to the power of 1 / `mixture_temperature`.
      adaptive: "rates", multiplied during training by a function of the losses (`sampler.AdaptiveSampler`).
    With `mixture_unit="tokens"` these are fractions of the tokens trained on, not of the steps: each rate is divided by
    the tokens of a batch.

    Args:
      names: problems and mixtures as the user named them.
      datasets: {problem: its data}, with mixtures expanded.
      hparams: the resolved hparams.

    Raises:
      UserError: mixture_rates or batch_multipliers name a problem that is not trained.
    """

    def __init__(self, names: Sequence[str], datasets: Mapping[str, Dataset], hparams: HParams):
        hparams.check_names("batch_multipliers", datasets)
        self.kind, self.unit = hparams.mixture, hparams.mixture_unit
        stored = {name: dataset.split("train").positions for name, dataset in datasets.items()}
        examples = {name: sum(positions.values()) for name, positions in stored.items()}
        batches, tokens = {}, {}
        for name, positions in stored.items():
            sizes = lengths.batch_sizes(datasets[name].problem, hparams, positions)
            batches[name] = lengths.batches_in_epoch(positions, sizes)
            trained = lengths.with_pictures(positions, datasets[name].problem, hparams)
            tokens[name] = sum(length * count for length, count in trained.items()) / max(1, batches[name])
        if self.kind in ("rates", "adaptive"):
            rates = registered_rates(names, hparams)
        else:
            power = 1.0 if self.kind == "proportional" else 1.0 / hparams.mixture_temperature
            cap = hparams.mixture_cap or max(examples.values())
            rates = _scaled({name: max(1, min(count, cap)) ** power for name, count in examples.items()})
        if self.unit == "tokens":
            rates = _scaled({name: rate / max(1.0, tokens[name]) for name, rate in rates.items()})
        self.rows = {
            name: MixtureRow(examples[name], rate, batches[name], tokens[name]) for name, rate in rates.items()
        }

    @property
    def rates(self) -> dict[str, float]:
        """{problem: fraction of steps}, summing to 1."""
        return {name: row.rate for name, row in self.rows.items()}

    def without(self, frozen: Collection[str]) -> "TrainingMixture":
        """Returns the mixture of the other problems, whose rates sum to 1 again."""
        if not frozen:
            return self
        rates = _scaled({name: rate for name, rate in self.rates.items() if name not in frozen})
        rest = copy.copy(self)
        rest.rows = {name: replace(self.rows[name], rate=rate) for name, rate in rates.items()}
        return rest

    def table(self, train_steps: int | None = None) -> str:
        """Returns a text with a row for each problem: examples, rate, epochs in `train_steps`, tokens per batch."""
        heading = ["problem", "examples", "rate", *(["epochs"] if train_steps else []), "tokens a batch"]
        lines = [heading]
        for name, row in self.rows.items():
            epochs = [f"{row.epochs(train_steps):,.2f}"] if train_steps else []
            lines.append([name, f"{row.examples:,}", f"{row.rate:.1%}", *epochs, f"{row.tokens:,.0f}"])
        text = format_table(lines)
        if self.kind == "adaptive":
            text += "\nrates for equal losses; the adaptive mixture changes them during training"
        return text

    def save(self, folder: Path, train_steps: int) -> None:
        """Writes mixture.json: the table, and the hparams that it follows from."""
        problems = {name: asdict(row) | {"epochs": row.epochs(train_steps)} for name, row in self.rows.items()}
        content = {"mixture": self.kind, "unit": self.unit, "train_steps": train_steps, "problems": problems}
        write_atomically(folder / "mixture.json", (json.dumps(content, indent=2) + "\n").encode("utf8"))


def registered_rates(names: Sequence[str], hparams: HParams) -> dict[str, float]:
    """Returns {problem: rate} by the registered rates of mixtures, summing to 1.

    A name gets a weight of the number of its problems: 1 for a problem, n for a mixture of n. A mixture divides its
    rate among its problems by their registered rates. A problem named both alone and in a mixture gets both rates.
    `hparams.mixture_rates` replaces these weights and registered rates, by name.

    Raises:
      UserError: mixture_rates names a problem or mixture that is not trained.
    """
    hparams.check_names("mixture_rates", set(_all_names(names)))
    replaced = hparams.per_problem("mixture_rates")
    rates: dict[str, float] = {}

    def divide(total: float, weights: Mapping[str, float]) -> None:
        weights = {name: replaced.get(name, weight) for name, weight in weights.items()}
        for name, weight in weights.items():
            rate = total * weight / sum(weights.values())
            if name in registry.mixtures:
                divide(rate, registry.mixtures.get(name).rates)
            else:
                rates[name] = rates.get(name, 0.0) + rate

    divide(1.0, {name: _size(name) for name in names})
    return rates


def _scaled(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _all_names(names: Sequence[str]) -> Iterator[str]:
    """Yields the names and, recursively, the names inside mixtures."""
    for name in names:
        yield name
        if name in registry.mixtures:
            yield from _all_names(list(registry.mixtures.get(name).rates))


def _size(name: str) -> int:
    """Returns the number of problems that a name stands for: 1, or those of a mixture."""
    return sum(map(_size, registry.mixtures.get(name).rates)) if name in registry.mixtures else 1
