"""Pictures: OpenMoji's emoji by group, and Tux Paint's stamps with their captions; as square PNG files on white."""

import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from real_sources import packages, splits
from t2t_lite.errors import UserError

EMOJI_SIZE = 48  # pixels on a side; datagen stores a little more than the 32 that the network sees
STAMP_SIZE = 64
_HELD_OUT = 0.1
_STAMPS = "usr/share/tuxpaint/stamps/"
_SKIN_TONES = {f"1F3F{digit}" for digit in "BCDEF"}
# Joiner, variation selector, female and male sign, arrow (facing right), man, woman, person: emoji that differ in
# these, or in the tone of the skin, are drawn alike.
_VARIANTS = _SKIN_TONES | {"200D", "FE0F", "2640", "2642", "27A1", "1F468", "1F469", "1F9D1"}


@dataclass(frozen=True)
class Picture:
    """A picture that is to be written.

    Attributes:
      name: its path without suffix.
      label: its class or caption.
      keys: of its near-duplicates (splits.assign), the first one is its own.
      png: the picture, square, RGB.
    """

    name: str
    label: str
    keys: tuple[str, ...]
    png: bytes


def rasterizer() -> str | None:
    """The name of the program or module that draws SVG here; None if there is none."""
    if shutil.which("rsvg-convert"):
        return "rsvg-convert"
    return "cairosvg" if importlib.util.find_spec("cairosvg") else None


def need_rasterizer() -> None:
    """Raises UserError if nothing here draws SVG."""
    if rasterizer() is None:
        raise UserError(
            "openmoji: its pictures are SVG: install rsvg-convert (apt-get install librsvg2-bin) or CairoSVG (pip "
            "install cairosvg); --only leaves this problem out"
        )


def emoji(file: packages.PackageFile) -> tuple[dict[str, list[Picture]], str]:
    """Reads OpenMoji.

    Pictures that are equal (outlines of all tones of the skin) are taken once. Dev and test hold no tones of the skin.

    Returns:
      {split: pictures}, and a note on what was left out.
    """
    contents = dict(
        packages.read_files(
            file, lambda name: name.startswith("package/") and name.endswith((".svg", "/openmoji.json"))
        )
    )
    try:
        entries = json.loads(contents["package/data/openmoji.json"])
        known = {entry["hexcode"]: entry["group"] for entry in entries}
    except (KeyError, ValueError, TypeError) as e:
        raise UserError(f"{file.path}: no list of emoji in data/openmoji.json ({type(e).__name__}: {e})") from e
    drawings = [
        (f"{code}-{style}", group, code, contents[path])
        for code, group in sorted(known.items())
        for style in ("color", "black")
        if (path := f"package/{style}/svg/{code}.svg") in contents
    ]
    if not drawings:
        raise UserError(f"{file.path}: no pictures in color/svg and black/svg")
    # The outlines of an emoji in all tones of the skin are equal.
    distinct = sorted({svg for *_, svg in drawings})
    drawn = _draw_all([lambda svg=svg: _square(svg_to_png(svg, EMOJI_SIZE), EMOJI_SIZE) for svg in distinct])
    pngs = dict(zip(distinct, drawn, strict=True))
    pictures, seen, copies = [], set(), 0
    for name, group, code, svg in drawings:
        png = pngs[svg]
        if (group, png) in seen:  # the same picture in two groups stays in both
            copies += 1
            continue
        seen.add((group, png))
        pictures.append(Picture(name, group, (f"name:{name}", f"emoji:{_base(code)}", f"png:{_digest(png)}"), png))
    result, moved = _split("openmoji", pictures)
    toned = 0
    for split in ("dev", "test"):
        kept = [each for each in result[split] if not _SKIN_TONES & set(each.name.rpartition("-")[0].split("-")[1:])]
        toned += len(result[split]) - len(kept)
        result[split] = kept
    return result, (f"left out: {copies:,} equal pictures, {toned:,} tones of the skin in dev and test; {moved}")


def _base(code: str) -> str:
    """The code points of an emoji without those of its variants."""
    points = code.split("-")
    return "-".join(point for point in points if point not in _VARIANTS) or points[0]


def stamps(file: packages.PackageFile) -> tuple[dict[str, list[Picture]], str]:
    """Reads the pictures of Tux Paint's stamps that have a text in English, which is the caption.

    Returns:
      {split: pictures}, and a note on what was left out.
    """
    contents = dict(
        packages.read_files(file, lambda name: name.startswith(_STAMPS) and name.endswith((".png", ".svg", ".txt")))
    )
    can_draw = rasterizer() is not None
    names, svg_only = [], 0
    for path in sorted(contents):
        stem, _, suffix = path.rpartition(".")
        if f"{stem}.txt" not in contents or suffix == "txt" or (suffix == "svg" and f"{stem}.png" in contents):
            continue
        if suffix == "svg" and not can_draw:
            svg_only += 1
        elif captions(contents[f"{stem}.txt"]).get("en"):
            names.append(path)
    if not names:
        raise UserError(f"{file.path}: no pictures with texts in {_STAMPS}")
    drawn = _draw_all([lambda path=path: _stamp(path, contents[path]) for path in names])
    pictures = []
    for path, png in zip(names, drawn, strict=True):
        stem = path.rpartition(".")[0]
        caption = captions(contents[f"{stem}.txt"])["en"]
        keys = (f"name:{path}", f"en:{splits.normal(caption)}", f"png:{_digest(png)}")
        pictures.append(Picture(stem.removeprefix(_STAMPS).replace("/", "-"), caption, keys, png))
    result, moved = _split("stamps", pictures)
    hint = f"{svg_only:,} SVG pictures, as nothing draws them (apt-get install librsvg2-bin)" if svg_only else "nothing"
    return result, f"left out: {hint}; {moved}"


def captions(text: bytes) -> dict[str, str]:
    """The texts of a stamp by language: the first line is English, the others are LANGUAGE.utf8=TEXT."""
    lines = text.decode("utf8", errors="replace").splitlines()
    found = {
        match[1]: " ".join(match[2].split()) for line in lines if (match := re.match(r"([\w@]+)\.utf8=(.*)", line))
    }
    return found | {"en": " ".join(lines[0].split()) if lines else ""}


def _stamp(path: str, content: bytes) -> bytes:
    try:
        return _square(svg_to_png(content, STAMP_SIZE) if path.endswith(".svg") else content, STAMP_SIZE)
    except OSError as e:
        raise UserError(f"{path}: not a readable picture ({e})") from e


def _split(name: str, pictures: list[Picture]) -> tuple[dict[str, list[Picture]], str]:
    drawn = splits.assign([picture.keys for picture in pictures], _HELD_OUT)
    result: dict[str, list[Picture]] = {split: [] for split in splits.SPLITS}
    for picture, split in zip(pictures, drawn.splits, strict=True):
        result[split].append(picture)
    splits.check(name, ((split, picture.keys) for split in result for picture in result[split]))
    return result, drawn.note


def _draw_all(jobs: list[Callable[[], bytes]]) -> list[bytes]:
    """Runs the jobs on all cores; a rasterizer is a process of its own."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: job(), jobs))


def svg_to_png(svg: bytes, size: int) -> bytes:
    """Draws an SVG picture so that its longer side has `size` pixels; transparent where nothing is drawn."""
    if rasterizer() == "cairosvg":
        import cairosvg  # type: ignore[import-not-found]

        return cairosvg.svg2png(bytestring=svg, output_width=size, output_height=size)
    command = ["rsvg-convert", "--keep-aspect-ratio", f"--width={size}", f"--height={size}", "--unlimited"]
    done = subprocess.run(command, input=svg, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"rsvg-convert cannot draw a picture: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout


def _square(picture: bytes, size: int) -> bytes:
    """Fits a picture into a white square; returns it as PNG."""
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (size, size), "white")
    canvas.alpha_composite(image, ((size - image.width) // 2, (size - image.height) // 2))
    out = io.BytesIO()
    canvas.convert("RGB").save(out, "PNG")
    return out.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def write_folders(folder: Path, pictures: dict[str, list[Picture]]) -> None:
    """Writes SPLIT/CLASS/NAME.png."""
    for split, each in pictures.items():
        for picture in each:
            path = folder / split / picture.label / f"{picture.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture.png)


def write_table(folder: Path, pictures: dict[str, list[Picture]]) -> None:
    """Writes pictures/NAME.png, and SPLIT.tsv with lines picture<TAB>caption."""
    (folder / "pictures").mkdir(parents=True)
    for split, each in pictures.items():
        for picture in each:
            (folder / "pictures" / f"{picture.name}.png").write_bytes(picture.png)
        write_lines(folder / f"{split}.tsv", (f"pictures/{picture.name}.png\t{picture.label}" for picture in each))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
