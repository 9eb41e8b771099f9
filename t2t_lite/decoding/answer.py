"""Answer, a decoded output, and the warnings that are shown with it."""

from typing import NamedTuple


class Answer(NamedTuple):
    """One decoded output."""

    text: str  # or the name of a class
    score: float  # log-probability in nats
    finished: bool  # False if the length limit cut it
    alternatives: tuple["Answer", ...] = ()  # the next best, if more than one answer was asked for
    input_cut: bool = False  # the input was longer than the model's maximum and was cut


def warnings_of(answer: Answer) -> list[str]:
    """The warnings about an answer and its alternatives."""
    answers = (answer, *answer.alternatives)
    warnings = {
        "reached the length limit": not all(each.finished for each in answers),
        "empty": not all(each.text.strip() for each in answers),
        "to an input that was too long and cut": answer.input_cut,
    }
    return [text for text, applies in warnings.items() if applies]
