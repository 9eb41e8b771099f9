"""Writes eight real problems out of packages of Debian and npm, as raw files for t2t-datagen.

    python examples/real_eight.py raw --output=RAW
    t2t-datagen --problem=real_eight --tmp_dir=RAW --data_dir=DATA
    python examples/real_eight.py baselines --raw=RAW

Needs apt-get and npm, unless the packages lie in --packages; rsvg-convert (librsvg2-bin) and link-parser
(link-grammar). docs/real-eight.md describes the data, its licences and what to expect.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from real_sources import baselines, help_texts, packages, parser_trees, pictures, recordings  # noqa: E402

from t2t_lite import registry  # noqa: E402
from t2t_lite.data.manifest import write_atomically  # noqa: E402
from t2t_lite.errors import UserError, did_you_mean  # noqa: E402
from t2t_lite.problems import trees  # noqa: E402

MANIFEST = "real_eight.json"
HELP = {"en-US": "libreoffice-help-en-us", "de": "libreoffice-help-de", "fr": "libreoffice-help-fr"}
STAMPS, SOUNDS, SOUND_TEXTS = "tuxpaint-stamps-default", "asterisk-core-sounds-fr-wav", "asterisk-core-sounds-fr"
# {folder: the packages that it is made of}
SOURCES = {
    "real_ende": list(HELP.values()),
    "real_enfr": list(HELP.values()),
    "openmoji": ["openmoji"],
    "stamps": [STAMPS],
    "recordings": [STAMPS, SOUNDS, SOUND_TEXTS],
    "linkgrammar": list(HELP.values()),
}
Written = tuple[dict[str, int], str]  # the number of examples in each split, and what was left out


class Raw:
    """The folder of raw files that is being written.

    Args:
      folder: its path.
      files: {name: package}.
    """

    def __init__(self, folder: Path, files: dict[str, packages.PackageFile]):
        self.folder = folder
        self._files = files
        self._texts: help_texts.HelpTexts | None = None

    @property
    def texts(self) -> help_texts.HelpTexts:
        """The paragraphs of the help, which three folders need."""
        if self._texts is None:
            self._texts = help_texts.read({language: self._files[name] for language, name in HELP.items()})
        return self._texts

    def write(self, name: str, part: Path) -> Written:
        """Writes the files of a folder into `part`."""
        writers: dict[str, Callable[[Path], Written]] = {
            "real_ende": lambda part: self._translation(part, "de"),
            "real_enfr": lambda part: self._translation(part, "fr"),
            "openmoji": self._openmoji,
            "stamps": self._stamps,
            "recordings": self._recordings,
            "linkgrammar": self._linkgrammar,
        }
        return writers[name](part)

    def _translation(self, part: Path, language: str) -> Written:
        counts = {}
        for split in ("train", "dev", "test"):
            pairs = [pair for pair in self.texts.pairs[language] if pair.split == split]
            pictures.write_lines(part / f"{split}.en", (pair.english for pair in pairs))
            pictures.write_lines(part / f"{split}.{language}", (pair.translation for pair in pairs))
            counts[split] = len(pairs)
        return counts, self.texts.notes[language]

    def _openmoji(self, part: Path) -> Written:
        found, note = pictures.emoji(self._files["openmoji"])
        pictures.write_folders(part, found)
        return {split: len(each) for split, each in found.items()}, note

    def _stamps(self, part: Path) -> Written:
        found, note = pictures.stamps(self._files[STAMPS])
        pictures.write_table(part, found)
        return {split: len(each) for split, each in found.items()}, note

    def _recordings(self, part: Path) -> Written:
        found, note = recordings.read(*(self._files[name] for name in SOURCES["recordings"]))
        recordings.write(part, found)
        return {split: len(each) for split, each in found.items()}, note

    def _linkgrammar(self, part: Path) -> Written:
        candidates, ambiguous = parser_trees.sentences(self.texts.english)
        found, note = parser_trees.parse(candidates)
        for split, each in found.items():
            pictures.write_lines(part / f"{split}.mrg", map(trees.Tree.__str__, each))
        counts = {split: len(each) for split, each in found.items()}
        return counts, f"{note}, {ambiguous:,} sentences in paragraphs of several splits"


def raw(flags: argparse.Namespace) -> None:
    """Writes the folders that are not there yet, and the manifest."""
    known = packages.read_lock(flags.lock)
    only = flags.only.split(",") if flags.only else list(SOURCES)
    for name in only:
        if name not in SOURCES:
            raise UserError(f"--only: no folder '{name}'{did_you_mean(name, SOURCES, listing='--help')}")
    names = {name: None for folder in only for name in SOURCES[folder]}
    if missing := [name for name in names if name not in known]:
        raise UserError(f"--lock: {flags.lock} does not record {', '.join(missing)}")
    manifest = _read_manifest(flags.output)
    folder = flags.packages or flags.output / "packages"
    tools = {}
    if "openmoji" in only:
        pictures.need_rasterizer()
    if {"openmoji", "stamps"} & set(only):
        tools["rasterizer"] = pictures.rasterizer() or "none"
    if "linkgrammar" in only:
        tools["parser"] = parser_trees.need_parser()
    packages.check_clients([known[name] for name in names], folder)
    files = {}
    for name in names:
        files[name] = packages.get(known[name], folder, flags.accept_new_versions)
        new = "" if files[name].sha256 == known[name].sha256 else f": not the recorded version {known[name].version}"
        print(f"{files[name].path.name}{new}", flush=True)
    made = Raw(flags.output, files)
    for name in only:
        _write_folder(made, name, {each: files[each].entry for each in SOURCES[name]}, manifest, tools)


def _write_folder(
    made: Raw, name: str, sources: dict[str, Any], manifest: dict[str, Any], tools: dict[str, str]
) -> None:
    """Writes one folder, unless it is there already, made of the same packages."""
    target, entry = made.folder / name, manifest.get(name, {})
    if target.exists():
        if entry.get("packages") != sources:
            raise UserError(f"{target}: exists, but was not made of these packages; delete it, and it is made again")
        print(f"{target}: there already ({_counts(entry['examples'])})")
        return
    start = time.monotonic()
    part = made.folder / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    counts, note = made.write(name, part)
    manifest[name] = {"packages": sources, "examples": counts, "note": note, "tools": tools}
    # Before the folder has its name: a folder without an entry would be taken for one of other packages.
    write_atomically(made.folder / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    part.rename(target)
    print(f"{target}: {_counts(counts)}; {note} ({time.monotonic() - start:.0f} s)", flush=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        return json.loads(path.read_text(encoding="utf8")) if path.exists() else {}
    except ValueError as e:
        raise UserError(f"{path}: not JSON ({e}); delete it together with the folders beside it") from e


def score_trivial_answers(flags: argparse.Namespace) -> None:
    """Prints the figures of trivial answers; writes them as JSON."""
    figures = {}
    for name, problem in baselines.problems_of(registry.mixtures.get("real_eight"), flags.raw).items():
        figures[name] = baselines.score(problem, flags.raw, flags.split)
    print(baselines.table(figures))
    if flags.json_out:
        flags.json_out.write_text(
            json.dumps({"split": flags.split, "problems": figures}, indent=2) + "\n", encoding="utf8"
        )


def main(arguments: list[str] | None = None) -> None:
    """Parses the flags and runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="raw|baselines")
    first = commands.add_parser("raw", help="write the raw files")
    first.add_argument("--output", type=Path, required=True, help="where they go: the --tmp_dir of t2t-datagen")
    first.add_argument(
        "--packages", type=Path, help="a folder of packages; those in it are not downloaded. Default: OUTPUT/packages"
    )
    first.add_argument("--only", help=f"the folders to write: of {','.join(SOURCES)}")
    first.add_argument(
        "--accept_new_versions", action="store_true", help="take packages of other versions than the recorded ones"
    )
    first.add_argument(
        "--lock", type=Path, default=HERE / "real_sources" / "packages.json", help="the recorded packages"
    )
    first.set_defaults(run=raw)
    second = commands.add_parser("baselines", help="score trivial answers")
    second.add_argument("--raw", type=Path, required=True, help="the folder that `raw` wrote")
    second.add_argument("--split", default="dev", choices=("dev", "test"), help="the split to score")
    second.add_argument("--json_out", type=Path, help="file for the figures")
    second.set_defaults(run=score_trivial_answers)
    flags = parser.parse_args(arguments)
    try:
        flags.run(flags)
    except UserError as e:
        raise SystemExit(f"real_eight.py: error: {e}") from e
    except OSError as e:
        raise SystemExit(f"real_eight.py: error: {e.filename or 'writing'}: {e.strerror}") from e
    except KeyboardInterrupt:
        raise SystemExit("real_eight.py: stopped; the same command goes on") from None


if __name__ == "__main__":
    main()
