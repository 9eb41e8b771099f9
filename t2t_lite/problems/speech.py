"""Speech recognition, from the user's own recordings."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.media.sound_files import read_sound
from t2t_lite.problems.features import Audio, Text
from t2t_lite.problems.files import read_table, split_file
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train.tsv and dev.tsv (test.tsv serves if there is no dev.tsv) with lines sound file<TAB>text"


class SpeechFromFiles(Problem):
    """Speech from sound files, which the workers read at the sample rate of `inputs`."""

    inputs: Audio = Audio()
    targets = Text()
    command = "to_english"
    metrics = ("wer", "cer")

    def convert(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replaces the path of the sound file by a function that reads it."""
        return {**item, "inputs": partial(read_sound, item["inputs"], self.inputs.sample_rate)}


@registry.problems.register
class SpeechFiles(SpeechFromFiles):
    """Your own recordings (WAV, FLAC, ...; any rate) with texts: train.tsv, dev.tsv; lines path<TAB>text."""

    needs_source = True

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the recording's path and the text of each line."""
        for line in read_table(split_file(split, raw_dir, ".tsv", _LAYOUT)):
            yield line if isinstance(line, UserError) else {"inputs": line[0], "targets": line[1]}
