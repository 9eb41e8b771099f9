"""Runs t2t-decoder's modes with a fake model, as a program of its own.

python fake_answers.py file SOURCE TARGET [KILL_AFTER] | pipe | interactive

The fake model reverses a text. With KILL_AFTER the process kills itself after that many batches. TensorFlow is not
imported, so that the program starts at once."""

import os
import signal
import sys
import types
from pathlib import Path

from t2t_lite.bin import command
from t2t_lite.decoding import files, interactive
from t2t_lite.decoding.answer import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.output_file import OutputFile
from t2t_lite.problems import Text

PROBLEM = types.SimpleNamespace(name="backwards", inputs=Text())


class FakeAnswerer:
    """Answers at once, and records the batches."""

    step = 7
    brackets = False
    asked: list[dict[str, str]]  # one dict per batch
    kill_after = 1 << 30

    def __init__(self, decode_hparams="batch_size=2"):
        type(self).asked = []
        self.output_dir, self.decode_hparams = Path("run"), DecodeHParams.parse(decode_hparams)

    def answer(self, name, inputs):
        """Yields the reversed texts; "long..." reaches the length limit, "bad" cannot be read."""
        if len(self.asked) == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(dict(inputs))
        for place, text in inputs.items():
            if text == "bad":
                raise UserError(f"{place}: bad")
            others = [Answer(f"{text[::-1]}{i}", -i - 0.5, True) for i in range(1, self.decode_hparams.return_beams)]
            yield Answer(text[::-1], -0.5, not text.startswith("long"), tuple(others))


if __name__ == "__main__":
    answerer = FakeAnswerer()
    mode, *arguments = sys.argv[1:]
    command.escape_unencodable()
    print("ready", file=sys.stderr, flush=True)
    if mode == "file":
        FakeAnswerer.kill_after = int(arguments[2]) if len(arguments) > 2 else FakeAnswerer.kill_after
        target = OutputFile(Path(arguments[1]), "decode_to_file")
        files.decode_file(answerer, PROBLEM, source=Path(arguments[0]), target=target, return_scores=False)
    elif mode == "pipe":
        interactive.decode_pipe(answerer, PROBLEM, return_scores=False)
    else:
        interactive.decode_interactive(answerer, PROBLEM, return_scores=False)
