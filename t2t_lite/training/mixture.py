"""How much each problem is trained: the rates of the mixture, and the table that tells what they come to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.data.manifest import write_atomically
from t2t_lite.data.reading import Dataset
from t2t_lite.hparams import HParams


@dataclass(frozen=True)
class MixtureRow:
    """What training has of one problem."""

    examples: int  # in the training split, less those that are too long
    rate: float  # the share of steps; they sum to 1
    batches: int  # in an epoch
    tokens: float  # positions of the longer side in a batch, on average and without padding

    def epochs(self, steps: int) -> float:
        """How often `steps` steps of all problems together are expected to pass over the problem's examples."""
        return steps * self.rate / max(1, self.batches)


class TrainingMixture:
    """The problems of a run and the share of steps that each one gets.

    `hparams.mixture` says by what, always scaled to sum to 1:
      rates: as registered, or as `mixture_rates` puts in their place; problems named alone share equally.
      proportional: the number of training examples, at most `mixture_cap` of them.
      temperature: the same to the power of 1 / `mixture_temperature`.
      adaptive: as "rates" to begin with; then the losses weigh in (`draw.AdaptiveSampler`).
    With `mixture_unit="tokens"` these are shares of the tokens trained on: the share of steps is divided by the tokens
    that a batch has.

    Args:
      names: problems and mixtures as the user named them.
      datasets: the data of the problems that they stand for.
      hparams: the resolved hparams.

    Raises:
      UserError: mixture_rates or batch_multipliers name what is not trained.
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
            tokens[name] = sum(length * count for length, count in positions.items()) / max(1, batches[name])
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
        """{problem: share of steps}, summing to 1."""
        return {name: share.rate for name, share in self.rows.items()}

    def table(self, train_steps: int | None = None) -> str:
        """A row a problem: examples, rate, the epochs that `train_steps` come to, tokens a batch."""
        heading = ["problem", "examples", "rate", *(["epochs"] if train_steps else []), "tokens a batch"]
        rows = [heading]
        for name, share in self.rows.items():
            epochs = [f"{share.epochs(train_steps):,.2f}"] if train_steps else []
            rows.append([name, f"{share.examples:,}", f"{share.rate:.1%}", *epochs, f"{share.tokens:,.0f}"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([f"{first:{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(others, widths[1:], strict=True))])
            for first, *others in rows
        ]
        if self.kind == "adaptive":
            lines.append("rates are those of equal losses: the adaptive mixture moves them as it trains")
        return "\n".join(lines)

    def save(self, folder: Path, train_steps: int) -> None:
        """Writes mixture.json: the table and what it was made by."""
        problems = {name: asdict(share) | {"epochs": share.epochs(train_steps)} for name, share in self.rows.items()}
        content = {"mixture": self.kind, "unit": self.unit, "train_steps": train_steps, "problems": problems}
        write_atomically(folder / "mixture.json", (json.dumps(content, indent=2) + "\n").encode("utf8"))


def registered_rates(names: Sequence[str], hparams: HParams) -> dict[str, float]:
    """The share of each problem by registered rates: {problem: rate}, summing to 1.

    A mixture's share is that of as many problems as it has, and is divided among them by their rates; a problem that is
    named alone and in a mixture gets both shares. `hparams.mixture_rates` replaces the rate of a problem or mixture
    wherever it stands: inside a mixture the registered one, alone the number of problems that it stands for.

    Raises:
      UserError: mixture_rates names a problem or mixture that is not trained.
    """
    hparams.check_names("mixture_rates", set(_all_names(names)))
    instead = hparams.per_problem("mixture_rates")
    rates: dict[str, float] = {}

    def divide(share: float, weights: Mapping[str, float]) -> None:
        weights = {name: instead.get(name, weight) for name, weight in weights.items()}
        for name, weight in weights.items():
            part = share * weight / sum(weights.values())
            if name in registry.mixtures:
                divide(part, registry.mixtures.get(name).rates)
            else:
                rates[name] = rates.get(name, 0.0) + part

    divide(1.0, {name: _size(name) for name in names})
    return rates


def _scaled(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _all_names(names: Sequence[str]) -> Iterator[str]:
    """The names, and those inside their mixtures."""
    for name in names:
        yield name
        if name in registry.mixtures:
            yield from _all_names(list(registry.mixtures.get(name).rates))


def _size(name: str) -> int:
    """How many problems a name stands for, so that `--problem=mixture,p` gives p its fair share."""
    return sum(map(_size, registry.mixtures.get(name).rates)) if name in registry.mixtures else 1
