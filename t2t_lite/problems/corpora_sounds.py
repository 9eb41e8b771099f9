"""Public speech corpora, read through tfds: LibriSpeech and Speech Commands.

Generation times are estimates for 8 cores without the download.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from t2t_lite import registry
from t2t_lite.problems.features import Audio, Label, Text
from t2t_lite.problems.tfds_source import TfdsProblem


@registry.problems.register(name="speech_librispeech")
class SpeechLibrispeech(TfdsProblem):
    """Read English speech to its words in lower case (LibriSpeech, all 960 hours).

    Source: https://www.openslr.org/12, through tfds `librispeech`. 281,241 train; dev is dev-clean, 2,703; test is
    test-clean, 2,620; test_other 2,939.
    Licence: CC BY 4.0.
    Get it: pip install "t2t_lite[speech]", and ffmpeg, which tfds needs to read FLAC.
    Command: t2t-datagen --problem=speech_librispeech --tmp_dir=raw --data_dir=data
    Disk: 61 GB downloaded and 61 GB unpacked, 115 GB of tfds, 112 GB of records. Time: hours for tfds, then an hour.
    """

    inputs = Audio(sample_rate=16000, max_seconds=35.0)
    targets = Text()
    command = "to_english"
    metrics = ("wer", "cer")
    splits = ("train", "dev", "test", "test_other")
    shards = 200
    dataset = "librispeech"
    tfds_splits: ClassVar[dict[str, str]] = {
        "train": "train_clean100+train_clean360+train_other500",
        "dev": "dev_clean",
        "test": "test_clean",
        "test_other": "test_other",
    }

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the samples and the words."""
        for row in self.rows(split, raw_dir):
            yield {"inputs": row["speech"].astype(np.int16), "targets": row["text"].decode("utf8").strip().lower()}


@registry.problems.register(name="speech_commands")
class SpeechCommands(TfdsProblem):
    """A spoken English word to its class: ten words, silence, or another word (Speech Commands 0.02).

    Source: https://arxiv.org/abs/1804.03209, through tfds `speech_commands`. 85,511 train, 10,102 dev, 4,890 test.
    Licence: CC BY 4.0.
    Get it: pip install "t2t_lite[speech]".
    Command: t2t-datagen --problem=speech_commands --tmp_dir=raw --data_dir=data
    Disk: 2.5 GB downloaded, 2.8 GB of tfds, 3.2 GB of records. Time: 10 minutes for tfds, then a minute.
    """

    inputs = Audio(sample_rate=16000, max_seconds=1.0)
    targets = Label(
        classes=(
            *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
            *("_silence_", "_unknown_"),
        )
    )
    command = "classify"
    splits = ("train", "dev", "test")
    dataset = "speech_commands"
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "validation", "test": "test"}

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the samples and the name of the class."""
        for row in self.rows(split, raw_dir):
            yield {"inputs": row["audio"].astype(np.int16), "targets": self.targets.classes[row["label"]]}
