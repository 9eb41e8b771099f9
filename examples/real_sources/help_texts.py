"""Paragraphs of LibreOffice's help in three languages, aligned by their ids, and the sentences in them."""

import html
import re
from collections import defaultdict
from dataclasses import dataclass

from real_sources import packages, splits
from t2t_lite.errors import UserError

# Machine-made HTML: the element of a paragraph or heading holds no other of its kind.
_PARAGRAPH = re.compile(r'<(p|h[1-6])\b[^>]*?\bid="((?:par|hd)_[^"]*)"[^>]*>(.*?)</\1>', re.DOTALL)
_BREAK = re.compile(r"<br\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MAX_WORDS = 50  # of a side; longer paragraphs make batches of a CPU small
_HELD_OUT = 0.02  # the fraction of dev, and of test

Paragraphs = dict[tuple[str, str], list[str]]  # (file, id): the texts with this id


@dataclass(frozen=True)
class Pair:
    """A paragraph in English and in another language."""

    english: str
    translation: str
    split: str


@dataclass
class HelpTexts:
    """The pairs of both languages, split together: an English paragraph has one split in all languages.

    Attributes:
      pairs: {language: pairs}.
      notes: {language: what was left out or moved}.
    """

    pairs: dict[str, list[Pair]]
    notes: dict[str, str]

    @property
    def english(self) -> dict[str, str]:
        """The split of each English paragraph."""
        return {pair.english: pair.split for pairs in self.pairs.values() for pair in pairs}


def read(files: dict[str, packages.PackageFile]) -> HelpTexts:
    """Reads the packages: {language: package}, with "en-US" among them."""
    english = _paragraphs(files["en-US"], "en-US")
    pairs: dict[str, list[tuple[str, str]]] = {}
    counts: dict[str, dict[str, int]] = {}
    for language in files:
        if language != "en-US":
            pairs[language], counts[language] = _align(english, _paragraphs(files[language], language))
    keys = [_keys(language, *pair) for language in pairs for pair in pairs[language]]
    drawn = splits.assign(keys, _HELD_OUT)
    drawn_splits, texts = iter(drawn.splits), HelpTexts({}, {})
    for language, each in pairs.items():
        texts.pairs[language] = [Pair(*pair, split) for pair, split in zip(each, drawn_splits, strict=False)]
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in counts[language].items())
        texts.notes[language] = f"left out: {left_out}; both languages together: {drawn.note}"
        splits.check(
            f"real_en{language}",
            ((pair.split, _keys(language, pair.english, pair.translation)) for pair in texts.pairs[language]),
        )
    return texts


def _keys(language: str, english: str, translation: str) -> list[str]:
    name = f"pair:{language}\t{english}\t{translation}"
    return [name, f"en:{splits.normal(english)}", f"{language}:{splits.normal(translation)}"]


def _paragraphs(file: packages.PackageFile, language: str) -> Paragraphs:
    """The paragraphs of one language, in the order of the package."""
    folder = f"usr/share/libreoffice/help/{language}/text/"
    paragraphs: Paragraphs = defaultdict(list)
    for name, content in packages.read_files(file, lambda name: name.startswith(folder) and name.endswith(".html")):
        for _, identity, inside in _PARAGRAPH.findall(content.decode("utf8", errors="replace")):
            text = html.unescape(_TAG.sub("", _BREAK.sub(" ", inside)))
            paragraphs[name.removeprefix(folder), identity].append(" ".join(text.split()))
    if not paragraphs:
        raise UserError(f"{file.path}: no paragraphs in {folder}: not a package of LibreOffice's help as expected")
    return paragraphs


def _align(english: Paragraphs, other: Paragraphs) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Pairs of texts with the same ids, and {reason: number of those left out}."""
    counts = dict.fromkeys(
        ("duplicates", "not translated", f"of more than {_MAX_WORDS} words", "of one word or of signs", "unaligned"), 0
    )
    duplicates, untranslated, long, short, unaligned = counts
    pairs, seen = [], set()
    for key in sorted(english):
        translations = other.get(key, [])
        if len(translations) != len(english[key]):
            counts[unaligned] += 1
            continue
        for pair in zip(english[key], translations, strict=True):
            normal = tuple(map(splits.normal, pair))
            if not all(len(_WORD.findall(side)) > 1 for side in pair):
                counts[short] += 1
            elif normal[0] == normal[1]:
                counts[untranslated] += 1
            elif max(len(side.split()) for side in pair) > _MAX_WORDS:
                counts[long] += 1
            elif normal in seen:
                counts[duplicates] += 1
            else:
                seen.add(normal)
                pairs.append(pair)
    return pairs, counts
