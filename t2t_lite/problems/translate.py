"""Translation between two languages, from the user's own files of aligned lines."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.problems.features import Text
from t2t_lite.problems.files import count_lines, held_out_hint, try_lines
from t2t_lite.problems.problem import Problem

_COMMANDS = {"en": "to_english", "de": "to_german", "fr": "to_french"}
_LAYOUT = "expected train.SRC, train.TGT, dev.SRC and dev.TGT, such as train.de and train.en, aligned by line"


@registry.problems.register
class TranslateFiles(Problem):
    """Your own parallel text: train.SRC, train.TGT, dev.SRC, dev.TGT; SRC is the first suffix in the alphabet."""

    inputs = Text()
    targets = Text()
    metrics = ("bleu", "chrf")
    needs_source = True
    reverse = False

    def resolve(self, raw_dir: Path) -> None:
        """Reads the languages off the suffixes of the files."""
        self.languages = self._read_languages(raw_dir)
        target = self.languages[1]
        self.command = _COMMANDS.get(target.lower(), f"to_{target.lower()}")

    def declaration(self) -> dict[str, Any]:
        """Returns also the languages."""
        return super().declaration() | {"languages": self.languages}

    def adopt(self, declaration: dict[str, Any]) -> None:
        """Restores also the languages; declarations of older versions have none."""
        super().adopt(declaration)
        if declaration.get("languages"):
            source, target = declaration["languages"]
            self.languages = source, target

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the pairs of lines; skips a pair of empty lines."""
        stem = _stem(split, raw_dir)
        source, target = (raw_dir / f"{stem}.{language}" for language in self._read_languages(raw_dir))
        _check_aligned(source, target, held_out_hint(split))
        for number, inputs, targets in zip(count(1), try_lines(source), try_lines(target), strict=False):
            if isinstance(inputs, UserError):
                yield inputs
            elif isinstance(targets, UserError):
                yield targets
            elif bool(inputs) != bool(targets):
                empty, other = (target, source) if inputs else (source, target)
                yield UserError(
                    f"{empty}:{number}: empty, but line {number} of {other} is not; fill or empty both lines"
                )
            elif inputs:
                yield {"inputs": inputs, "targets": targets}

    def count(self, split: str, raw_dir: Path) -> int:
        """Returns the number of lines, including those that `examples` skips because they are empty."""
        return count_lines(raw_dir / f"{_stem(split, raw_dir)}.{self._read_languages(raw_dir)[0]}")

    def _read_languages(self, raw_dir: Path) -> tuple[str, str]:
        """Returns the source and the target language."""
        if not raw_dir.is_dir():
            raise UserError(f"problem '{self.name}': no folder {printable(raw_dir)}: {_LAYOUT}")
        matches = (re.fullmatch(r"train\.([A-Za-z][\w-]*)", path.name) for path in raw_dir.iterdir())
        languages = sorted(match[1] for match in matches if match)
        if len(languages) != 2:
            found = f"found {', '.join(f'train.{language}' for language in languages)}" if languages else "no train.*"
            more = "; keep one pair of languages in a folder" if len(languages) > 2 else ""
            raise UserError(f"problem '{self.name}': {printable(raw_dir)}: {found}: {_LAYOUT}{more}")
        first, second = languages
        return (second, first) if self.reverse else (first, second)


@registry.problems.register
class TranslateFilesRev(TranslateFiles):
    """Your own parallel text, from the second language to the first."""

    reverse = True

    def held_out_key(self, item: dict[str, Any]) -> str:
        """Returns the text of the first language, so that both directions hold out the same pairs."""
        return str(item["targets"])


def _stem(split: str, raw_dir: Path) -> str:
    """Returns the name that the files of a split have: "test" serves if there is no "dev"."""
    if split == "dev" and not any(raw_dir.glob("dev.*")):
        return "test"
    return split


def _check_aligned(source: Path, target: Path, hint: str) -> None:
    """Raises UserError unless both files exist and have the same number of lines, before any line is processed."""
    for path in (source, target):
        if not path.is_file():
            raise UserError(f"{printable(path)}: missing: {_LAYOUT} (test.* serves if there is no dev.*){hint}")
    counts = {path: count_lines(path) for path in (source, target)}
    if counts[source] != counts[target]:
        longer = max(counts, key=lambda path: counts[path])
        raise UserError(
            f"{source} has {counts[source]} lines, {target} has {counts[target]}: they must be aligned; "
            f"the first line without a partner is {longer}:{min(counts.values()) + 1}"
        )
