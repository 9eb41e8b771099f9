"""An answer, and what its reader should know of it."""

from typing import NamedTuple


class Answer(NamedTuple):
    """One decoded output."""

    text: str  # or the name of a class
    score: float  # log-probability in nats
    finished: bool  # False where the length limit cut it
    alternatives: tuple["Answer", ...] = ()  # the next best, where more than one answer was asked for
    input_cut: bool = False  # the input was longer than the network is given


def warnings_of(answer: Answer) -> list[str]:
    """What a reader of an answer and its alternatives should know of them."""
    all_ = (answer, *answer.alternatives)
    told = {
        "reached the length limit": not all(each.finished for each in all_),
        "empty": not all(each.text.strip() for each in all_),
        "of an input that was too long and cut": answer.input_cut,
    }
    return [text for text, holds in told.items() if holds]
