"""Image classification, from the user's own folders of pictures."""

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.media.picture_files import picture_suffixes
from t2t_lite.problems.features import Image, Label
from t2t_lite.problems.files import held_out_hint, is_hidden, walk_files
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train/CLASS/*.png|jpg|... and dev/CLASS/*.png|jpg|... (test/ serves if there is no dev/)"
_SHOWN = 5  # names of files in a message


@registry.problems.register
class ImageFolder(Problem):
    """Your own pictures, a folder for each class: train/CLASS/*.png|jpg|..., dev/CLASS/*.png|jpg|...

    All pictures in a class's folder and in folders below it are taken, of any format that Pillow reads. Hidden files
    and folders (.ipynb_checkpoints, ._photo.png) are skipped; other files that are no pictures are skipped with a
    message. Class names are stored in Unicode's NFC form, so that folders copied from macOS are the same classes.
    """

    inputs = Image()
    targets = Label()
    command = "classify"
    needs_source = True

    def resolve(self, raw_dir: Path) -> None:
        """Takes the names of the folders in train/ as the classes."""
        classes = sorted({_class_name(path) for path in self._class_folders("train", raw_dir)})
        self.targets = replace(self.targets, classes=tuple(classes))
        for path in [] if self.held_out else self._class_folders("dev", raw_dir):
            if _class_name(path) not in classes:
                raise UserError(f"{printable(path)}: no class '{_class_name(path)}' in {printable(raw_dir / 'train')}")

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the path and the class of each picture, shuffled so that any part of the records shows all classes."""
        split_folder = self._split_folder(split, raw_dir)
        pictures: list[tuple[Path, str]] = []
        skipped = []
        classes = set()
        for path in walk_files(split_folder):
            folder = split_folder / path.relative_to(split_folder).parts[0]
            if folder == path or not _is_picture(path):
                skipped.append(path)
            else:
                classes.add(folder)
                pictures.append((path, _class_name(folder)))
        self._report_skipped(split, "file", skipped, "not in a class's folder, or no picture format that Pillow reads")
        empty = [folder for folder in _visible_folders(split_folder) if folder not in classes]
        self._report_skipped(split, "folder", empty, "no pictures in it")
        random.Random(0).shuffle(pictures)
        for path, name in pictures:
            yield {"inputs": path, "targets": name}

    def _split_folder(self, split: str, raw_dir: Path) -> Path:
        folder = raw_dir / split
        if split == "dev" and not folder.is_dir():
            folder = raw_dir / "test"
        if not folder.is_dir():
            raise UserError(
                f"problem '{self.name}': no folder {printable(raw_dir / split)}: {_LAYOUT}{held_out_hint(split)}"
            )
        return folder

    def _class_folders(self, split: str, raw_dir: Path) -> list[Path]:
        """The folders of a split that hold pictures."""
        split_folder = self._split_folder(split, raw_dir)
        folders = [path for path in _visible_folders(split_folder) if any(map(_is_picture, walk_files(path)))]
        if not folders:
            raise UserError(f"problem '{self.name}': no pictures in {printable(split_folder)}: {_LAYOUT}")
        return folders

    def _report_skipped(self, split: str, unit: str, paths: list[Path], reason: str) -> None:
        """Prints how many files or folders of a split are skipped, with the first names."""
        if paths:
            names = ", ".join(printable(Path(*path.parts[-2:])) for path in paths[:_SHOWN])
            plural = "s" if len(paths) > 1 else ""
            more = ", ..." if len(paths) > _SHOWN else ""
            self.print_once(
                f"{self.name}, {split}: {len(paths):,} {unit}{plural} passed over: {names}{more} ({reason})"
            )


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in picture_suffixes()


def _class_name(folder: Path) -> str:
    """The name of a class's folder in Unicode's NFC form.

    Raises:
      UserError: the name is not UTF-8.
    """
    name = unicodedata.normalize("NFC", folder.name)
    if printable(name) != name:
        raise UserError(f"{printable(folder)}: the folder's name is not UTF-8, so it cannot name a class; rename it")
    return name
