"""t2t-decoder's ways of reading and writing with a stand-in for the model, as a program of its own.

python fake_answers.py file SOURCE TARGET [DIE_AFTER] | pipe | interactive

Its answer to a text is the text backwards. With DIE_AFTER the process kills itself once that many batches have been
answered."""

import os
import signal
import sys
import types
from pathlib import Path

from t2t_lite.decoding import files, live
from t2t_lite.decoding.decode import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.problems import Text

PROBLEM = types.SimpleNamespace(name="backwards", inputs=Text())


class FakeAnswerer:
    """Answers at once; remembers what it was asked."""

    step = 7
    asked: list[dict[str, str]]  # a dict a batch
    die_after = 1 << 30

    def __init__(self, names, data_dir, output_dir, decode_hparams, checkpoint):
        type(self).asked = []
        self.beams = decode_hparams.return_beams

    def answer(self, name, inputs):
        """Backwards; "long..." is cut, "bad" cannot be read."""
        if len(self.asked) == self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(dict(inputs))
        for place, text in inputs.items():
            if text == "bad":
                raise UserError(f"{place}: bad")
            others = [Answer(f"{text[::-1]}{i}", -i - 0.5, True) for i in range(1, self.beams)]
            yield Answer(text[::-1], -0.5, not text.startswith("long"), tuple(others))


def options(decode_hparams="batch_size=2", return_scores=False, checkpoint="latest"):
    """The keyword arguments that all ways share."""
    return {
        "data_dir": Path("data"),
        "output_dir": Path("run"),
        "decode_hparams": DecodeHParams.parse(decode_hparams),
        "checkpoint": checkpoint,
        "return_scores": return_scores,
    }


if __name__ == "__main__":
    files.Answerer = live.Answerer = FakeAnswerer
    way, *arguments = sys.argv[1:]
    print("ready", file=sys.stderr, flush=True)
    if way == "file":
        FakeAnswerer.die_after = int(arguments[2]) if len(arguments) > 2 else FakeAnswerer.die_after
        files.decode_file(PROBLEM, source=Path(arguments[0]), target=Path(arguments[1]), **options())
    elif way == "pipe":
        live.decode_pipe(PROBLEM, **options())
    else:
        live.decode_interactive(PROBLEM, **options())
