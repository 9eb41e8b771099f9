"""The Wall Street Journal speech corpora (WSJ0 and WSJ1), as the LDC delivers them or in Kaldi's layout."""

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Audio
from t2t_lite.problems.files import read_lines, walk_files
from t2t_lite.problems.speech import SpeechFromFiles

# Folders of the LDC's discs: (corpus, "" for both; set). Kaldi calls them si284, dev93 and eval92.
_SETS = {"train": ("", "si_tr_s"), "dev": ("wsj1", "si_dt_20"), "test": ("wsj0", "si_et_20")}
_KALDI = {"train": ("train_si284", "train"), "dev": ("test_dev93", "dev"), "test": ("test_eval92", "test")}
_LAYOUT = "expected the LDC's discs (LDC93S6A, LDC94S13A) anywhere below it, or Kaldi's train_si284/wav.scp and text"

_NOISE = re.compile(r"\[[^]]*\]|<(?:SPOKEN_)?NOISE>|<UNK>", re.IGNORECASE)  # such as [door_slam]; Kaldi's <NOISE>
# Verbalised punctuation: ,COMMA is spoken "comma".
_SPOKEN_MARK = re.compile(r"(?<!\S)(?:[^\w\s'<*]+(?=[A-Z]{2})|'(?=SINGLE-QUOTE))")


@registry.problems.register(name="speech_wsj")
class SpeechWsj(SpeechFromFiles):
    """Read newspaper English to its words in lower case (Wall Street Journal, 81 hours).

    Source: LDC93S6A (WSJ0) and LDC94S13A (WSJ1), https://catalog.ldc.upenn.edu. Train is si_tr_s of both, about
    37,400 utterances; dev is si_dt_20 of WSJ1, 503; test is si_et_20 of WSJ0, 333. First microphone (.wv1).
    Licence: the LDC's; for its members, or for a fee. A free stand-in: `speech_librispeech`.
    Get it: copy the discs into --tmp_dir, in any folders. The transcripts are .dot files, or .ptx if there is
    none. The recordings are compressed: sph2pipe (Kaldi's tools have it) must be on PATH. Or put Kaldi's folders
    train_si284, test_dev93, test_eval92 (or train, dev, test) there, each with wav.scp and text.
    Command: t2t-datagen --problem=speech_wsj --tmp_dir=wsj --data_dir=data
    Disk: 20 GB of discs, 9.5 GB of records. Time: half an hour on 8 cores (an estimate).
    """

    inputs = Audio(sample_rate=16000, max_seconds=25.0)
    splits = ("train", "dev", "test")

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields recordings and words, shuffled over the speakers.

        Skips recordings without a transcript, and prints their number.
        """
        if not raw_dir.is_dir():
            raise UserError(f"problem '{self.name}': no folder {raw_dir}: {_LAYOUT}")
        kaldi = next((raw_dir / name for name in _KALDI[split] if (raw_dir / name / "wav.scp").is_file()), None)
        sounds = kaldi_sounds(kaldi / "wav.scp") if kaldi else _ldc_sounds(raw_dir, split)
        texts = dict(_kaldi_texts(kaldi / "text")) if kaldi else _ldc_texts(raw_dir)
        if not sounds:
            raise UserError(f"problem '{self.name}': no .wv1 file of split '{split}' below {raw_dir}: {_LAYOUT}")
        missing = [utterance for utterance in sounds if utterance not in texts]
        if len(missing) == len(sounds):
            raise UserError(f"problem '{self.name}', split '{split}': no .dot, .ptx or text below {raw_dir}")
        if missing:
            self.print_once(
                f"{self.name}, {split}: {len(missing)} recordings without transcript, such as {missing[0]}, left out"
            )
        utterances = sorted(sounds.items())
        random.Random(0).shuffle(utterances)
        for utterance, path in utterances:
            text = normalise(texts.get(utterance, ""))
            if text:
                yield {"inputs": path, "targets": text}


def normalise(transcript: str) -> str:
    """Returns the spoken words, in lower case, of a line of a .dot or .ptx file or of Kaldi's text.

    Removes noises ([door_slam]), pauses (. and ~), punctuation, and the marks of misread words (*word*), of words that
    are not in the prompt (<word>), and of stress. Verbalised punctuation stays as the word that is spoken.
    """
    text = _SPOKEN_MARK.sub("", _NOISE.sub(" ", transcript.replace("\\", "")).upper())
    words = (re.sub(r"[<>*~:!]", "", word).strip('",?;.') for word in text.split())
    return " ".join(word for word in words if re.search(r"\w", word)).lower()


def kaldi_sounds(path: Path) -> dict[str, Path]:
    """Reads {utterance: sound file} from a wav.scp, with lines `utterance FILE` or `utterance sph2pipe ... FILE |`.

    Commands are not run; only their file is used.

    Raises:
      UserError: a line has another form, or its file is missing.
    """
    sounds = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        utterance, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("|"):
            words = rest.rstrip("| ").split()
            if "sph2pipe" not in words[0] or len(words) < 2:
                raise UserError(f"{path}:{number}: only files and 'sph2pipe ... FILE |' are read, not '{rest[:60]}'")
            rest = words[-1]
        file = path.parent / rest
        if not rest or not os.path.isfile(file):
            raise UserError(f"{path}:{number}: no file '{file}'")
        sounds[utterance] = file
    return sounds


def _kaldi_texts(path: Path) -> Iterator[tuple[str, str]]:
    for line in read_lines(path):
        utterance, _, text = line.partition(" ")
        yield utterance, text


def _ldc_sounds(raw_dir: Path, split: str) -> dict[str, Path]:
    """Finds {utterance: .wv1 file} of a split, in any folder below `raw_dir`."""
    corpus, wanted = _SETS[split]
    sounds = {}
    for path in walk_files(raw_dir):
        if path.suffix.lower() == ".wv1":
            folders = [part.lower() for part in path.relative_to(raw_dir).parts[:-1]]
            if wanted in folders and (not corpus or corpus in folders):
                sounds[path.stem.lower()] = path
    return sounds


def _ldc_texts(raw_dir: Path) -> dict[str, str]:
    """Reads {utterance: transcript}: lines `TEXT (utterance)` in .dot, `TEXT (utterance prompt)` in .ptx files."""
    texts: dict[str, str] = {}
    files = [path for path in walk_files(raw_dir) if path.suffix.lower() in (".dot", ".ptx")]
    for path in sorted(files, key=lambda path: path.suffix.lower() == ".dot"):  # .dot files override .ptx
        for line in read_lines(path):
            match = re.fullmatch(r"(.*?)\s*\((\w+)(?:\s[^()]*)?\)", line)
            if match:
                texts[match[2].lower()] = match[1]
    return texts
