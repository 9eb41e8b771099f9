"""Writes real data from Python packages as raw files for `image_folder` and `translate_files`.

    pip install ".[dev]"
    python examples/own_data.py raw

raw/digits: the handwritten digits of scikit-learn, 1,797 grey pictures of 8x8 pixels, in folders of PNGs.
raw/ende, raw/enfr: Django's messages in English and their German or French translations, aligned by line.

The same versions of the packages give the same files.
"""

import argparse
import gettext
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

LANGUAGES = ("de", "fr")
DIGITS_DEV = 5  # one in five pictures goes to dev
MESSAGES_DEV = 10  # about one in ten English messages goes to dev


def write_digits(folder: Path) -> dict[str, int]:
    """Writes SPLIT/DIGIT/NUMBER.png.

    Returns:
      The number of pictures in each split.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise SystemExit(f'own_data.py: error: scikit-learn cannot be imported ({e}): pip install ".[dev]"') from e
    digits = load_digits()
    counts = {"train": 0, "dev": 0}
    for number, (picture, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "dev" if number % DIGITS_DEV == 0 else "train"
        path = folder / split / str(digit) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.rint(picture * (255 / 16)).astype(np.uint8)  # scikit-learn's pixels range from 0 to 16
        Image.fromarray(grey).save(path)
        counts[split] += 1
    return counts


def write_messages(folder: Path, language: str) -> dict[str, int]:
    """Writes SPLIT.en and SPLIT.LANGUAGE.

    Returns:
      The number of pairs in each split.
    """
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "dev": []}
    for english, translation in read_messages(language):
        splits[split_of(english)].append((english, translation))
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in splits.items():
        for suffix, lines in zip(("en", language), zip(*pairs, strict=True), strict=True):
            (folder / f"{split}.{suffix}").write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
    return {split: len(pairs) for split, pairs in splits.items()}


def read_messages(language: str) -> list[tuple[str, str]]:
    """Reads Django's messages as (English, translation), white space collapsed, without duplicates on either side.

    Case is ignored, so that with either language as input no text of dev occurs in training.
    """
    try:
        import django
    except ImportError as e:
        raise SystemExit(f'own_data.py: error: Django cannot be imported ({e}): pip install ".[dev]"') from e
    pairs = []
    seen: set[tuple[str, str]] = set()
    for path in sorted(Path(django.__file__).parent.glob(f"**/locale/{language}/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # no public way to list it
        for key, text in catalogue.items():
            message, form = key if isinstance(key, tuple) else (key, 0)
            # A message may follow its context ("month\x04May"); the first form of a plural is the message's own.
            english, translation = (" ".join(side.split()) for side in (message.rpartition("\x04")[2], text))
            sides = {("en", english.casefold()), (language, translation.casefold())}
            if form == 0 and english and translation and not sides & seen:
                seen |= sides
                pairs.append((english, translation))
    if not pairs:
        raise SystemExit(f"own_data.py: error: {Path(django.__file__).parent} has no locale/{language}/**/*.mo")
    return pairs


def split_of(english: str) -> str:
    """Returns the split of a message, the same for every language: English of German dev is not in French train."""
    return "dev" if zlib.crc32(english.casefold().encode("utf8")) % MESSAGES_DEV == 0 else "train"


def main() -> None:
    """Writes all files and prints their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the raw files go: the --tmp_dir of t2t-datagen")
    folder = parser.parse_args().folder
    try:
        counts = {"digits": write_digits(folder / "digits")}
        for language in LANGUAGES:
            counts[f"en{language}"] = write_messages(folder / f"en{language}", language)
    except OSError as e:
        raise SystemExit(f"own_data.py: error: {e.filename}: {e.strerror}") from e
    for name, splits in counts.items():
        print(f"{folder / name}: " + ", ".join(f"{count:,} {split}" for split, count in splits.items()))


if __name__ == "__main__":
    main()
