"""French recordings with their texts: the spoken descriptions of Tux Paint's stamps, and Asterisk's prompts."""

import gzip
import hashlib
import re
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real_sources import packages, splits
from real_sources.pictures import captions, write_lines
from t2t_lite.errors import UserError
from t2t_lite.media.sound_files import read_sound

_RATE = 16000  # samples a second, as the problem reads them
_HELD_OUT = 0.1
_MAX_SECONDS = 20.0
_MAX_LETTERS = 25.0  # a second; more is a text that the recording does not say to the end
_STAMPS = "usr/share/tuxpaint/stamps/"
_STAMP_SOUND = "_desc_fr.ogg"
_PROMPTS = "usr/share/asterisk/sounds/"
_PROMPT_TEXTS = "core-sounds-fr.txt.gz"
_NO_SPEECH = re.compile(r"\[[^]]*\]|\([^)]*\)")  # "[ascending tones]", "(emphase)": notes that nobody speaks
_OTHER_PROMPT = re.compile(r"\b[a-z]+(-[a-z]+)+:")  # a line of the list of texts that lacks its line break


@dataclass(frozen=True)
class Recording:
    """A recording with its text.

    Attributes:
      name: of its file, without suffix.
      text: what it says.
      samples: int16, at 16,000 samples a second.
    """

    name: str
    text: str
    samples: np.ndarray

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / _RATE

    @property
    def keys(self) -> tuple[str, str, str]:
        """The keys of its near-duplicates (splits.assign)."""
        digest = hashlib.sha256(self.samples.tobytes()).hexdigest()[:16]
        return f"name:{self.name}", f"fr:{splits.normal(self.text)}", f"sound:{digest}"


def read(
    stamps: packages.PackageFile, prompts: packages.PackageFile, prompt_texts: packages.PackageFile
) -> tuple[dict[str, list[Recording]], str]:
    """Reads the recordings of three packages.

    Returns:
      {split: recordings}, and a note on what was left out.
    """
    sounds = _stamp_sounds(stamps) | _prompt_sounds(prompts, prompt_texts)
    counts = {"without a text": 0, "equal": 0, "too long": 0, "with more text than they can say": 0}
    without, equal, long, fast = counts
    recordings, seen = [], set()
    for name, (sound, text) in sorted(sounds.items()):
        text = clean(text)
        if not text:
            counts[without] += 1
            continue
        samples = np.rint(read_sound(sound, _RATE) * 32767).astype("<i2")
        recording = Recording(name, text, samples)
        if recording.seconds > _MAX_SECONDS:
            counts[long] += 1
        elif len(text) > _MAX_LETTERS * recording.seconds:
            counts[fast] += 1
        elif recording.keys[2] in seen:
            counts[equal] += 1
        else:
            seen.add(recording.keys[2])
            recordings.append(recording)
    drawn = splits.assign([recording.keys for recording in recordings], _HELD_OUT)
    result: dict[str, list[Recording]] = {split: [] for split in splits.SPLITS}
    for recording, split in zip(recordings, drawn.splits, strict=True):
        result[split].append(recording)
    splits.check("recordings", ((split, each.keys) for split in result for each in result[split]))
    minutes = sum(recording.seconds for recording in recordings) / 60
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return result, f"{minutes:.1f} minutes; left out: {left_out}; {drawn.note}"


def clean(text: str) -> str:
    """A text without notes in brackets, quotes and dots that mark a part of a sentence; "" if it is no text."""
    if _OTHER_PROMPT.search(text):
        return ""
    spoken = re.sub(r"\.\.\.|…|--|[\"“”«»]", " ", _NO_SPEECH.sub(" ", text))
    spoken = re.sub(r" +([.,])", r"\1", " ".join(spoken.split())).strip(" ,-")
    return spoken if re.search(r"\w", spoken) else ""


def _stamp_sounds(file: packages.PackageFile) -> dict[str, tuple[bytes, str]]:
    """{name: (OGG file, text)} of the stamps that are described in French."""
    contents = dict(
        packages.read_files(file, lambda name: name.startswith(_STAMPS) and name.endswith((_STAMP_SOUND, ".txt")))
    )
    sounds = {}
    for path, content in contents.items():
        if path.endswith(_STAMP_SOUND):
            stem = path.removesuffix(_STAMP_SOUND)
            text = captions(contents.get(f"{stem}.txt", b"")).get("fr", "")
            sounds[f"stamps-{stem.removeprefix(_STAMPS).replace('/', '-')}"] = content, text
    if not sounds:
        raise UserError(f"{file.path}: no recordings *{_STAMP_SOUND} in {_STAMPS}")
    return sounds


def _prompt_sounds(file: packages.PackageFile, texts_file: packages.PackageFile) -> dict[str, tuple[bytes, str]]:
    """{name: (WAV file, text)} of Asterisk's prompts."""
    lists = [content for _, content in packages.read_files(texts_file, lambda name: name.endswith(_PROMPT_TEXTS))]
    if not lists:
        raise UserError(f"{texts_file.path}: no {_PROMPT_TEXTS} in it")
    lines = gzip.decompress(lists[0]).decode("utf8", errors="replace").splitlines()
    texts = {name.strip(): text.strip() for name, colon, text in (line.partition(":") for line in lines) if colon}
    sounds = {}
    for path, content in packages.read_files(file, lambda name: name.startswith(_PROMPTS) and name.endswith(".wav")):
        name = path.removeprefix(_PROMPTS).partition("/")[2].removesuffix(".wav")  # after the folder of the voice
        sounds[f"asterisk-{name.replace('/', '-')}"] = content, texts.get(name, "")
    if not sounds:
        raise UserError(f"{file.path}: no recordings *.wav in {_PROMPTS}")
    return sounds


def write(folder: Path, recordings: dict[str, list[Recording]]) -> None:
    """Writes sounds/NAME.wav, and SPLIT.tsv with lines recording<TAB>text."""
    (folder / "sounds").mkdir(parents=True)
    for split, each in recordings.items():
        for recording in each:
            with wave.open(str(folder / "sounds" / f"{recording.name}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(_RATE)
                file.writeframes(recording.samples.tobytes())
        write_lines(folder / f"{split}.tsv", (f"sounds/{recording.name}.wav\t{recording.text}" for recording in each))
