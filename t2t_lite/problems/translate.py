"""Translation between two languages, from the user's own files of aligned lines."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Text
from t2t_lite.problems.files import try_lines
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
        self.languages = self._found_languages(raw_dir)
        target = self.languages[1]
        self.command = _COMMANDS.get(target.lower(), f"to_{target.lower()}")

    def declaration(self) -> dict[str, Any]:
        """The languages too."""
        return super().declaration() | {"languages": self.languages}

    def adopt(self, declaration: dict[str, Any]) -> None:
        """The languages too, unless it was kept before they were told."""
        super().adopt(declaration)
        if declaration.get("languages"):
            source, target = declaration["languages"]
            self.languages = source, target

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the pairs of lines; a pair of empty lines is passed over."""
        stem = _stem(split, raw_dir)
        source, target = (raw_dir / f"{stem}.{language}" for language in self._found_languages(raw_dir))
        _check_aligned(source, target)
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
        """The lines of the file, of which few should be empty."""
        return _count_lines(raw_dir / f"{_stem(split, raw_dir)}.{self._found_languages(raw_dir)[0]}")

    def _found_languages(self, raw_dir: Path) -> tuple[str, str]:
        """Source and target language."""
        if not raw_dir.is_dir():
            raise UserError(f"problem '{self.name}': no folder {raw_dir}: {_LAYOUT}")
        matches = (re.fullmatch(r"train\.([A-Za-z][\w-]*)", path.name) for path in raw_dir.iterdir())
        languages = sorted(match[1] for match in matches if match)
        if len(languages) != 2:
            found = f"found {', '.join(f'train.{language}' for language in languages)}" if languages else "no train.*"
            more = "; keep one pair of languages in a folder" if len(languages) > 2 else ""
            raise UserError(f"problem '{self.name}': {raw_dir}: {found}: {_LAYOUT}{more}")
        first, second = languages
        return (second, first) if self.reverse else (first, second)


@registry.problems.register
class TranslateFilesRev(TranslateFiles):
    """Your own parallel text, from the second language to the first."""

    reverse = True


def _stem(split: str, raw_dir: Path) -> str:
    """The name that the files of a split have: "test" serves where there is no "dev"."""
    if split == "dev" and not any(raw_dir.glob("dev.*")):
        return "test"
    return split


def _check_aligned(source: Path, target: Path) -> None:
    """Raises UserError unless both files are there and have as many lines, before any of them is worked on."""
    for path in (source, target):
        if not path.is_file():
            raise UserError(f"{path}: missing: {_LAYOUT} (test.* serves where there is no dev.*)")
    counts = {path: _count_lines(path) for path in (source, target)}
    if counts[source] != counts[target]:
        longer = max(counts, key=lambda path: counts[path])
        raise UserError(
            f"{source} has {counts[source]} lines, {target} has {counts[target]}: they must be aligned; "
            f"the first line without a partner is {longer}:{min(counts.values()) + 1}"
        )


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
