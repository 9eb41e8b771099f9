"""Image classification, from the user's own folders of pictures."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Image, Label
from t2t_lite.problems.problem import Problem

_SUFFIXES = (".png", ".jpg", ".jpeg")
_LAYOUT = "expected train/CLASS/*.png|jpg and dev/CLASS/*.png|jpg (test/ serves where there is no dev/)"


@registry.problems.register
class ImageFolder(Problem):
    """Your own pictures, a folder for each class: train/CLASS/*.png|jpg, dev/CLASS/*.png|jpg."""

    inputs = Image()
    targets = Label()
    command = "classify"
    needs_source = True

    def resolve(self, raw_dir: Path) -> None:
        """Takes the names of the folders in train/ for classes."""
        classes = sorted(path.name for path in self._classes("train", raw_dir))
        self.targets = replace(self.targets, classes=tuple(classes))
        for path in self._classes("dev", raw_dir):
            if path.name not in classes:
                raise UserError(f"{path}: no class '{path.name}' in {raw_dir / 'train'}")

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the path and class of each picture, mixed so that a part of the records shows all classes."""
        folders = self._classes(split, raw_dir)
        found = [(path, folder.name) for folder in folders for path in sorted(filter(_is_picture, folder.iterdir()))]
        random.Random(0).shuffle(found)
        for path, name in found:
            yield {"inputs": path, "targets": name}

    def _classes(self, split: str, raw_dir: Path) -> list[Path]:
        """The folders of a split that hold pictures."""
        folder = raw_dir / split
        if split == "dev" and not folder.is_dir():
            folder = raw_dir / "test"
        if not folder.is_dir():
            raise UserError(f"problem '{self.name}': no folder {raw_dir / split}: {_LAYOUT}")
        folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(map(_is_picture, path.iterdir()))]
        if not folders:
            raise UserError(f"problem '{self.name}': no pictures in {folder}: {_LAYOUT}")
        return folders


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
