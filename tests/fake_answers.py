"""t2t-decoder's ways of reading and writing with a stand-in for the model, as a program of its own.

python fake_answers.py file SOURCE TARGET [DIE_AFTER] | pipe | interactive

Its answer to a text is the text backwards. With DIE_AFTER the process kills itself once that many batches have been
answered. TensorFlow is not imported, so that it starts at once."""

import os
import signal
import sys
import types
from pathlib import Path

from t2t_lite.decoding import files, interactive
from t2t_lite.decoding.answer import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.problems import Text

PROBLEM = types.SimpleNamespace(name="backwards", inputs=Text())


class FakeAnswerer:
    """Answers at once; remembers what it was asked."""

    step = 7
    brackets = False
    asked: list[dict[str, str]]  # a dict a batch
    die_after = 1 << 30

    def __init__(self, decode_hparams="batch_size=2"):
        type(self).asked = []
        self.output_dir, self.decode_hparams = Path("run"), DecodeHParams.parse(decode_hparams)

    def answer(self, name, inputs):
        """Backwards; "long..." is cut, "bad" cannot be read."""
        if len(self.asked) == self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(dict(inputs))
        for place, text in inputs.items():
            if text == "bad":
                raise UserError(f"{place}: bad")
            others = [Answer(f"{text[::-1]}{i}", -i - 0.5, True) for i in range(1, self.decode_hparams.return_beams)]
            yield Answer(text[::-1], -0.5, not text.startswith("long"), tuple(others))


if __name__ == "__main__":
    answerer = FakeAnswerer()
    way, *arguments = sys.argv[1:]
    print("ready", file=sys.stderr, flush=True)
    if way == "file":
        FakeAnswerer.die_after = int(arguments[2]) if len(arguments) > 2 else FakeAnswerer.die_after
        files.decode_file(answerer, PROBLEM, source=Path(arguments[0]), target=Path(arguments[1]), return_scores=False)
    elif way == "pipe":
        interactive.decode_pipe(answerer, PROBLEM, return_scores=False)
    else:
        interactive.decode_interactive(answerer, PROBLEM, return_scores=False)
