"""Freezing (`--freeze`): parts of the model and problems that training leaves as they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text
from t2t_lite.problems.problem import get_problems

_COMMANDS = "commands"  # the part that has a row for each command; a step changes the row of its own problem alone


class Frozen(NamedTuple):
    """What training leaves as it is."""

    parts: list[str]  # parts of the model
    problems: set[str]  # problems that no step trains

    def __str__(self) -> str:
        not_trained = f"; not trained: {', '.join(sorted(self.problems))}" if self.problems else ""
        return f"frozen: {', '.join(self.parts)}{not_trained}"


def freeze(models: Sequence[Any], problems: Mapping[str, Problem], names: str) -> Frozen:
    """Makes the weights of frozen parts not trainable, and returns what is frozen.

    A frozen problem keeps its answers: all parts that it uses are frozen, and no step trains it.

    Args:
      models: the model of each replica.
      problems: the problems of the run.
      names: parts of the model, problems and mixtures, separated by commas. "encoder" stands for the part body.encoder,
        "audio" for audio_8000 and all other nets of that kind.

    Raises:
      UserError: a name is unknown, a problem that is still trained has the command of a frozen one but others too, or
        nothing is left to train.
    """
    items = [name.strip() for name in names.split(",") if name.strip()]
    if not items:
        return Frozen([], set())
    parts = models[0].parts() if hasattr(models[0], "parts") else {}
    known = [*(part.removeprefix("body.") for part in parts), *problems]
    frozen, kept = set(), set[str]()
    for name in items:
        if matching := [part for part in parts if part in (name, f"body.{name}") or part.startswith(f"{name}_")]:
            frozen.update(matching)
        elif expanded := _trained(name, problems):
            kept |= expanded
        else:
            raise UserError(f"--freeze: no part or problem '{name}' in this run{did_you_mean(name, known)}")
    for name in kept:
        frozen |= models[0].parts(name).keys() - {_COMMANDS}
    trained = [name for name in problems if name not in kept]
    if _share_commands([problems[name] for name in trained], [problems[name] for name in kept]):
        frozen.add(_COMMANDS)
    for model in models:
        for name, weights in model.parts().items():
            for weight in weights if name in frozen else ():
                weight.trainable = False
    for name in trained:
        if not any(weight.trainable for part in models[0].parts(name).values() for weight in part):
            raise UserError(f"--freeze={names}: nothing is left to train for problem '{name}'")
    if not trained:
        raise UserError(f"--freeze={names}: no problem is left to train")
    return Frozen([part for part in parts if part in frozen], kept)


def _trained(name: str, problems: Mapping[str, Problem]) -> set[str]:
    """Returns the problems of the run that a problem's or mixture's name stands for."""
    try:
        return set(get_problems([name])) & problems.keys()
    except UserError:
        return set()


def _share_commands(trained: Sequence[Problem], kept: Sequence[Problem]) -> bool:
    """Returns whether a trained problem has the command of a frozen one, whose row must not change.

    Raises:
      UserError: another trained problem has a command of its own, whose row must.
    """
    commands, theirs = ({p.command for p in each if isinstance(p.targets, Text)} for each in (trained, kept))
    if commands & theirs and commands - theirs:
        raise UserError(
            f"--freeze: the command '{min(commands & theirs)}' belongs to a frozen problem and to one that is trained; "
            f"train that one in a run of its own, or give it another command, as '{min(commands - theirs)}' has"
        )
    return bool(commands & theirs)
