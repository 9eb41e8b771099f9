"""An answer, and what its reader should know of it."""

from typing import NamedTuple


class Answer(NamedTuple):
    """One decoded output."""

    text: str  # or the name of a class
    score: float  # log-probability in nats
    finished: bool  # False where the length limit cut it
    alternatives: tuple["Answer", ...] = ()  # the next best, where more than one answer was asked for
    input_cut: bool = False  # the input was longer than the network is given


def faults(answer: Answer) -> list[str]:
    """What a reader of an answer should know of it."""
    told = {
        "reached the length limit": not answer.finished,
        "empty": not answer.text.strip(),
        "of an input that was too long and cut": answer.input_cut,
    }
    return [text for text, holds in told.items() if holds]
