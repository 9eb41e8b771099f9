"""examples/real_eight.py on made-up packages: what it takes out of them, splits, trivial answers and bad input."""

import base64
import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2t_lite import registry
from t2t_lite.problems.problem import get_problem

SCRIPT = Path(__file__).parents[1] / "examples" / "real_eight.py"
SPEC = importlib.util.spec_from_file_location("real_eight", SCRIPT)
real_eight = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(real_eight)

from real_sources import packages, parser_trees, recordings, splits  # noqa: E402  # real_eight.py puts it on the path

HELP = "usr/share/libreoffice/help"
STAMPS = "usr/share/tuxpaint/stamps"
SOUNDS = "usr/share/asterisk/sounds/fr_CA_f_June"
# In place of rsvg-convert and link-parser: the made-up "SVG" is a PNG in base64, and all sentences have one form.
RASTERIZER = "#!/bin/sh\nexec base64 -d\n"
PARSER = r"""#!/bin/sh
[ "$1" = --version ] && exec echo "Version: link-grammar-9"
exec sed -E 's/^The ([a-z]+) opens the file\.$/&\n(S (NP the \1{!}.n) (VP opens.v (NP the file.n)) .)/'
"""
TONE = "1F3FB"


def word(number):
    """A different word without digits for each number."""
    return "w" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def tar(files, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def deb(files, suffix="gz", data=None):
    data = data or tar(files, f"w:{suffix}")
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar.{suffix}": data}
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


def png(number, size=(20, 10)):
    out = io.BytesIO()
    Image.new("RGBA", size, (number * 37 % 256, number * 91 % 256, number % 256, 255)).save(out, "PNG")
    return out.getvalue()


def wav(number, seconds=0.5, rate=8000):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.sin(np.arange(int(seconds * rate)) * 0.01 * (number + 1)) * 9000).astype("<i2").tobytes())
    return out.getvalue()


def help_page(paragraphs):
    body = "\n".join(f'<p id="{key}" class="paragraph">{text}</p>' for key, text in paragraphs)
    return {"text/shared/a.html": f"<html><p>No id</p>\n{body}<pre id='x'>code</pre></html>".encode()}


def help_pages(language):
    verb = {"en-US": "The {} opens the file", "de": "Das {} öffnet die Datei", "fr": "Le {} ouvre le fichier"}[language]
    lines = [(f"par_id{n}", f'<a name="x"></a>{verb.format(word(n)).replace(" ", "<br/>", 1)}.') for n in range(300)]
    lines += [(f"par_id_again{n}", f"{verb.format(word(n).upper())}!") for n in range(60)]  # near-duplicates
    lines += [("par_same", "Basic IDE &amp; more"), ("par_short", "12"), ("par_long", f"{language} word " * 60)]
    lines += [("par_one", f"{verb.format('first')} one")] * (1 if language == "en-US" else 2)
    if language == "de":  # the other translation of a near-duplicate
        lines += [("par_other", "Ganz andere Worte hier")]
    if language == "en-US":
        lines += [("par_other", f"{verb.format(word(7))}?")]
    return {f"{HELP}/{language}/{name}": content for name, content in help_page(lines).items()}


def stamp_files():
    files = {}
    for n in range(80):
        text = f"A {word(n // 2)}.\nde.utf8=Ein {word(n)}.\nfr.utf8=Un {word(n)}.\n"
        files[f"{STAMPS}/animals/{word(n)}.txt"] = text.encode()
        suffix, content = ("svg", base64.b64encode(png(n))) if n % 10 == 0 else ("png", png(n))
        files[f"{STAMPS}/animals/{word(n)}.{suffix}"] = content
        files[f"{STAMPS}/animals/{word(n)}_desc_fr.ogg"] = wav(n, rate=16000)
    return files | {f"{STAMPS}/animals/no-text.png": png(99)}


def prompt_texts():
    lines = ["; French", "beep: (ahooga)", 'part-in: "Un moment..."', "glued: un.other-one: deux", f"fast: {'a' * 80}"]
    lines += [f"digits/{word(n)}: {word(n)} {word(n + 1)}" for n in range(30)]
    return gzip.compress("\n".join(lines).encode())


def emoji_files():
    entries, files = [], {}
    for n in range(40):
        code, group = f"{0x1F600 + n:X}", ("faces", "food")[n % 2]
        for each in (code, f"{code}-{TONE}"):
            entries.append({"hexcode": each, "group": group})
            tone = 100 if TONE in each else 0
            files[f"package/color/svg/{each}.svg"] = base64.b64encode(png(n + tone, (72, 72)))
            files[f"package/black/svg/{each}.svg"] = base64.b64encode(png(n + 200, (72, 72)))  # equal in all tones
    return files | {"package/data/openmoji.json": json.dumps(entries).encode()}


@cache
def contents():
    """{package: (file name, content)}."""
    names = [SOUNDS + f"/digits/{word(n)}.wav" for n in range(30)]
    prompts = {name: wav(n + 100) for n, name in enumerate(names)}
    for n, name in enumerate(("beep", "part-in", "glued", "fast", "unlisted")):
        prompts[f"{SOUNDS}/{name}.wav"] = wav(200 + n)
    debs = {
        **{
            f"libreoffice-help-{name}": help_pages(code)
            for name, code in (("en-us", "en-US"), ("de", "de"), ("fr", "fr"))
        },
        "tuxpaint-stamps-default": stamp_files(),
        "asterisk-core-sounds-fr-wav": prompts,
        "asterisk-core-sounds-fr": {"usr/share/doc/asterisk-core-sounds-fr/core-sounds-fr.txt.gz": prompt_texts()},
    }
    xz = "asterisk-core-sounds-fr"  # the others are gzipped, which is faster
    files = {name: (f"{name}_1%3a2-3_all.deb", deb(each, "xz" if name == xz else "gz")) for name, each in debs.items()}
    return files | {"openmoji": ("openmoji-1.2.3.tgz", tar(emoji_files(), "w:gz"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with packages/, their lock.json, bin/ with the programs and RAW in raw/; and the command's output."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "packages").mkdir()
    (folder / "bin").mkdir()
    lock = {}
    for name, (file, content) in contents().items():
        (folder / "packages" / file).write_bytes(content)
        client, version = ("npm", "1.2.3") if name == "openmoji" else ("apt-get", "1:2-3")
        lock[name] = {"client": client, "version": version, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "lock.json").write_text(json.dumps({"packages": lock}))
    program(folder / "bin", "rsvg-convert", RASTERIZER)
    program(folder / "bin", "link-parser", PARSER)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(SCRIPT.parents[1])}
    command = [sys.executable, SCRIPT, "raw", "--output", folder / "raw", *flags(folder)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def program(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def flags(folder):
    return [f"--packages={folder / 'packages'}", f"--lock={folder / 'lock.json'}"]


@pytest.fixture
def only_bin(made, tmp_path, monkeypatch):
    """PATH with one folder that holds the programs that the test puts there, and those of every system."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    for name in ("sh", "sed", "base64", "cat", "cp"):
        (tmp_path / "bin" / name).symlink_to(
            Path("/usr/bin") / name if Path("/usr/bin", name).exists() else f"/bin/{name}"
        )
    return tmp_path / "bin"


def failure(*arguments):
    """The one line that the command prints."""
    with pytest.raises(SystemExit) as caught:
        real_eight.main([str(each) for each in arguments])
    text = str(caught.value)
    assert text.startswith("real_eight.py: error: ") and "\n" not in text
    return text


def lines(path):
    return path.read_text(encoding="utf8").splitlines()


def test_paragraphs_are_aligned_by_their_ids(made):
    folder, said = made
    for language, verb in (("de", "Das {} öffnet die Datei"), ("fr", "Le {} ouvre le fichier")):
        raw = folder / "raw" / f"real_en{language}"
        pairs = [
            pair
            for split in splits.SPLITS
            for pair in zip(lines(raw / f"{split}.en"), lines(raw / f"{split}.{language}"), strict=True)
        ]
        assert {(f"The {word(n)} opens the file.", f"{verb.format(word(n))}.") for n in range(300)} <= set(pairs)
        # Untranslated, too short, too long, of another number of texts with the id; and equal but for case.
        assert len(pairs) == (301 if language == "de" else 300)
    assert "60 duplicates, 1 not translated, 1 of more than 50 words, 1 of one word or of signs, 1 unaligned" in said


def test_a_text_and_its_near_duplicates_have_one_split_in_all_languages(made):
    folder, said = made
    places = {}
    for language in ("de", "fr"):
        for split in splits.SPLITS:
            for line in lines(folder / "raw" / f"real_en{language}" / f"{split}.en"):
                places.setdefault(splits.normal(line), set()).add(split)
    assert len(places) == 300 and all(len(each) == 1 for each in places.values())
    assert "(largest group: 3)" in said  # the two German translations of one text, and the French one


def test_emoji_are_split_by_code_point(made):
    folder, _ = made
    places, codes = {}, {split: [] for split in splits.SPLITS}
    for path in (folder / "raw" / "openmoji").rglob("*.png"):
        split, group, name = path.relative_to(folder / "raw" / "openmoji").parts
        code = name.rpartition("-")[0]
        codes[split].append(code)
        places.setdefault(code.split("-")[0], set()).add((split, group))
        with Image.open(path) as picture:
            assert picture.size == (48, 48) and picture.mode == "RGB"
    assert len(places) == 40 and all(len(each) == 1 for each in places.values())
    assert any(TONE in code for code in codes["train"])
    assert not any(TONE in code for code in codes["dev"] + codes["test"])


def test_captions_are_the_english_texts(made):
    folder, _ = made
    raw = folder / "raw" / "stamps"
    rows = [(split, *line.split("\t")) for split in splits.SPLITS for line in lines(raw / f"{split}.tsv")]
    assert {caption for _, _, caption in rows} == {f"A {word(n)}." for n in range(40)}
    assert len(rows) == 80  # one more picture has no text
    assert len({(split, caption) for split, _, caption in rows}) == 40
    with Image.open(raw / f"pictures/animals-{word(1)}.png") as picture:
        assert picture.size == (64, 64)
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert picture.getpixel((32, 32)) == (37, 91, 1)


def test_recordings_have_their_texts(made):
    folder, said = made
    raw = folder / "raw" / "recordings"
    texts = dict(line.split("\t") for split in splits.SPLITS for line in lines(raw / f"{split}.tsv"))
    assert texts[f"sounds/stamps-animals-{word(5)}.wav"] == f"Un {word(5)}."
    assert texts[f"sounds/asterisk-digits-{word(5)}.wav"] == f"{word(5)} {word(6)}"
    assert texts["sounds/asterisk-part-in.wav"] == "Un moment"
    assert len(texts) == 80 + 30 + 1
    with wave.open(str(raw / f"sounds/asterisk-digits-{word(5)}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16000, 1, 8000)
    assert "3 without a text, 0 equal, 0 too long, 1 with more text than they can say" in said


def test_trees_are_of_the_english_sentences(made):
    folder, _ = made
    found = [line for split in splits.SPLITS for line in lines(folder / "raw" / "linkgrammar" / f"{split}.mrg")]
    assert f"(S (NP (DT The) (NN {word(5)})) (VP (VB opens) (NP (DT the) (NN file))) (. .))" in found


def test_the_problems_of_the_mixture_read_all_splits(made):
    folder, _ = made
    commands = {}
    for name in registry.mixtures.get("real_eight").rates:
        problem = get_problem(name)
        raw = folder / "raw" / problem.source
        problem.resolve(raw)
        commands[name] = problem.command
        for split in problem.splits:
            assert list(problem.examples(split, raw))
    to = {"real_ende": "to_german", "real_deen": "to_english", "real_enfr": "to_french", "real_fren": "to_english"}
    assert commands.items() >= (to | {"real_recordings": "to_french"}).items()


def test_trivial_answers_are_scored(made, tmp_path, capsys):
    folder, _ = made
    real_eight.main(["baselines", f"--raw={folder / 'raw'}", f"--json_out={tmp_path / 'figures.json'}"])
    figures = json.loads((tmp_path / "figures.json").read_text())["problems"]
    assert set(figures) == set(registry.mixtures.get("real_eight").rates)
    counts = {
        (split, group): len(list((folder / "raw/openmoji" / split / group).glob("*")))
        for split in ("train", "dev")
        for group in ("faces", "food")
    }
    best = max(("faces", "food"), key=lambda group: counts["train", group])
    expected = counts["dev", best] / (counts["dev", "faces"] + counts["dev", "food"])
    assert figures["real_openmoji"]["the most frequent answer"] == {"accuracy": expected}
    assert figures["real_linkgrammar"]["the most frequent answer"]["bracket_f1"] == 1.0
    assert figures["real_ende"]["the input repeated"]["bleu"] < 10
    assert 0 < figures["real_recordings"]["the most frequent answer"]["wer"] <= 1
    assert "| real_openmoji | the most frequent answer | accuracy " in capsys.readouterr().out


def test_what_is_there_is_not_made_again(made, only_bin, capsys):
    folder, _ = made
    program(only_bin, "link-parser", PARSER)
    real_eight.main(["raw", f"--output={folder / 'raw'}", "--only=stamps,linkgrammar", *flags(folder)])
    assert capsys.readouterr().out.count("there already (") == 2


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_beside_the_renaming_of_a_folder(made, tmp_path, only_bin, monkeypatch, capsys, after):
    program(only_bin, "rsvg-convert", RASTERIZER)
    command = ["raw", f"--output={tmp_path / 'raw'}", "--only=stamps", *flags(made[0])]

    def killed(path, target):
        if after:
            os.rename(path, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(SystemExit, match="stopped; the same command goes on"):
        patched.setattr(Path, "rename", killed)
        real_eight.main(command)
    real_eight.main(command)
    assert ("there already (" in capsys.readouterr().out) == after
    assert (tmp_path / "raw" / "stamps" / "train.tsv").exists()


def test_a_folder_of_other_packages_is_not_mixed_in(made, tmp_path):
    folder, _ = made
    (tmp_path / "raw" / "stamps").mkdir(parents=True)
    text = failure("raw", f"--output={tmp_path / 'raw'}", "--only=stamps", *flags(folder))
    assert "raw/stamps: exists, but was not made of these packages; delete it" in text


def copy_package(made, tmp_path, name, content=None, file=None):
    """A folder that holds one package, perhaps with other contents or under another name."""
    folder, _ = made
    real_file, real_content = contents()[name]
    (tmp_path / "packages").mkdir(exist_ok=True)
    (tmp_path / "packages" / (file or real_file)).write_bytes(real_content if content is None else content)
    return [
        "raw",
        f"--output={tmp_path / 'raw'}",
        f"--packages={tmp_path / 'packages'}",
        f"--lock={folder / 'lock.json'}",
    ]


def test_a_damaged_package_is_refused(made, tmp_path):
    command = copy_package(made, tmp_path, "tuxpaint-stamps-default", content=b"!<arch>\nbroken")
    for more in ([], ["--accept_new_versions"]):
        text = failure(*command, "--only=stamps", *more)
        assert "tuxpaint-stamps-default_1%3a2-3_all.deb: SHA-256 " in text and "damaged or altered; delete it" in text


def test_another_version_needs_a_flag_and_is_recorded(made, tmp_path, only_bin):
    program(only_bin, "rsvg-convert", RASTERIZER)
    other = deb(stamp_files() | {"usr/share/doc/new": b""})
    command = copy_package(made, tmp_path, "tuxpaint-stamps-default", other, "tuxpaint-stamps-default_9-9_all.deb")
    text = failure(*command, "--only=stamps")
    assert (
        "tuxpaint-stamps-default_9-9_all.deb: not the recorded version 1:2-3" in text
        and "--accept_new_versions" in text
    )
    real_eight.main([*command, "--only=stamps", "--accept_new_versions"])
    manifest = json.loads((tmp_path / "raw" / "real_eight.json").read_text())
    assert manifest["stamps"]["packages"]["tuxpaint-stamps-default"] == {
        "file": "tuxpaint-stamps-default_9-9_all.deb",
        "sha256": hashlib.sha256(other).hexdigest(),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "a damaged package: no ar archive"),
        (b"!<arch>\n", "a damaged package: no data.tar in it"),
        (deb({}, data=b"no tar"), "a damaged package: "),
        (deb({"usr/share/doc/other": b"x"}), "no pictures with texts in usr/share/tuxpaint/stamps/"),
    ],
)
def test_a_package_without_the_data_is_named(made, tmp_path, content, message):
    name = "tuxpaint-stamps-default_9-9_all.deb"
    command = copy_package(made, tmp_path, "tuxpaint-stamps-default", content, name)
    assert f"{name}: {message}" in failure(*command, "--only=stamps", "--accept_new_versions")
    assert not (tmp_path / "raw" / "stamps").exists()


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("linkgrammar", "link-parser is missing: apt-get install link-grammar; --only leaves this problem out"),
        ("openmoji", "install rsvg-convert (apt-get install librsvg2-bin) or CairoSVG"),
        ("stamp", "--only: no folder 'stamp'; did you mean 'stamps'?"),
    ],
)
def test_a_missing_program_or_a_wrong_name_is_named_first(made, tmp_path, only_bin, monkeypatch, only, message):
    monkeypatch.setattr(real_eight.pictures.importlib.util, "find_spec", lambda name: None)
    assert message in failure("raw", f"--output={tmp_path / 'raw'}", f"--only={only}", *flags(made[0]))


def test_without_a_rasterizer_stamps_are_those_in_png(made, tmp_path, only_bin, monkeypatch, capsys):
    monkeypatch.setattr(real_eight.pictures.importlib.util, "find_spec", lambda name: None)
    real_eight.main(["raw", f"--output={tmp_path / 'raw'}", "--only=stamps", *flags(made[0])])
    assert "left out: 8 SVG pictures, as nothing draws them (apt-get install librsvg2-bin)" in capsys.readouterr().out


def client(name, package, version=""):
    """A package client that fails as the real one."""
    texts = {
        "not offered": f"E: Version '{version}' for '{package}' was not found",
        "no network": "Err:1 http://deb.debian.org\n  Temporary failure resolving 'deb.debian.org'\nE: Failed to fetch "
        f"http://deb.debian.org/{package}  Temporary failure resolving 'deb.debian.org'",
    }
    return f"#!/bin/sh\ncat >&2 <<'END'\n{texts[name]}\nEND\nexit 100\n"


def test_a_download_that_fails_is_one_line(made, tmp_path, only_bin):
    command = ["raw", f"--output={tmp_path / 'raw'}", "--only=stamps", f"--lock={made[0] / 'lock.json'}"]
    text = failure(*command)
    assert "apt-get is missing; it downloads tuxpaint-stamps-default" in text
    assert "put tuxpaint-stamps-default_*.deb from https://packages.debian.org/tuxpaint-stamps-default into" in text
    program(only_bin, "apt-get", client("no network", "tuxpaint-stamps-default"))
    assert "cannot download it: is there a network? E: Failed to fetch" in failure(*command)
    program(only_bin, "apt-get", client("not offered", "tuxpaint-stamps-default", "1:2-3"))
    text = failure(*command)
    assert "apt-get does not offer tuxpaint-stamps-default 1:2-3: apt-get update may bring it; --accept_new" in text
    assert not list((tmp_path / "raw" / "packages").iterdir())


def test_a_package_is_downloaded_by_its_client(made, tmp_path, only_bin, capsys):
    file = contents()["openmoji"][0]
    source = made[0] / "packages" / file
    program(only_bin, "npm", f'#!/bin/sh\ncase "$*" in pack*openmoji@1.2.3) cp {source} . ;; *) exit 1 ;; esac\n')
    program(only_bin, "rsvg-convert", RASTERIZER)
    command = ["raw", f"--output={tmp_path / 'raw'}", "--only=openmoji", f"--lock={made[0] / 'lock.json'}"]
    real_eight.main(command)
    assert (tmp_path / "raw" / "packages" / file).is_file()
    again = {
        path.relative_to(folder): path.read_bytes()
        for folder in (tmp_path / "raw" / "openmoji", made[0] / "raw" / "openmoji")
        for path in folder.rglob("*.png")
    }
    first = {p.relative_to(made[0] / "raw/openmoji"): p.read_bytes() for p in (made[0] / "raw/openmoji").rglob("*.png")}
    assert first == again


def test_baselines_without_data_say_what_to_do(tmp_path):
    text = failure("baselines", f"--raw={tmp_path}")
    assert f"`real_eight.py raw --output={tmp_path}` makes them" in text


def test_a_lock_that_is_none_is_named(made, tmp_path):
    (tmp_path / "lock.json").write_text("[]")
    command = ["raw", f"--output={tmp_path}", f"--packages={made[0] / 'packages'}", f"--lock={tmp_path / 'lock.json'}"]
    assert "lock.json: not a record of packages" in failure(*command)


def test_the_recorded_packages_are_those_that_are_used():
    recorded = packages.read_lock(SCRIPT.parent / "real_sources" / "packages.json")
    assert set(recorded) == {name for names in real_eight.SOURCES.values() for name in names}
    assert all(re.fullmatch("[0-9a-f]{64}", package.sha256) for package in recorded.values())


def test_items_that_share_a_key_share_the_split():
    keys = [(f"name:{n}", f"a:{n // 3}", f"b:{n % 50}") for n in range(3000)]
    alone = [(f"name:{n}", f"c:{n}") for n in range(3000)]
    joined = splits.assign(keys, 0.1)
    assert len(set(joined.splits)) == 1  # all hang together
    drawn = splits.assign(alone, 0.1)
    assert all(240 < drawn.splits.count(split) < 360 for split in ("dev", "test"))
    backwards = splits.assign(alone[::-1], 0.1)
    assert backwards.splits[::-1] == drawn.splits
    with pytest.raises(real_eight.UserError, match="'a:1' is in train and in dev"):
        splits.check("x", [("train", ["a:1"]), ("dev", ["a:1"])])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("(S (NP the page.n) {of} (VP opens.v) .)", "The page of opens."),  # a word without links
        (
            "(S (NP the page.n) (VP opens.v (NP the file.n .)))",
            "The page opens the file.",
        ),  # the mark is not at the top
        ("(S (NP the page.n .))", "The page."),  # no verb
        ("(S (NP the page.n) (VP opens.v) .)", "The pages open."),  # another sentence
        ("(S (NP the page.n) (VP opens.v) .", "The page opens."),
    ],
)
def test_incomplete_trees_are_left_out(line, sentence):
    assert parser_trees.read_tree(line, sentence) is None


def test_the_parsers_marks_become_tags():
    tree = parser_trees.read_tree(
        "(S (NP LibreOffice{!}) (VP can't (VP be.v (VP closed.v-d ,.j (PP by.r (NP the foo-bar{?}.n-u))))) ?)",
        "LibreOffice can't be closed, by the foo-bar?",
    )
    assert list(tree.leaves()) == [
        *(("NNP", "LibreOffice"), ("XX", "can't"), ("VB", "be"), ("VBD", "closed"), (",", ",")),
        *(("IN", "by"), ("DT", "the"), ("NN", "foo-bar"), (".", "?")),
    ]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("[ascending tones]", ""),
        ("Pour (emphase)", "Pour"),
        ('...pour quitter."', "pour quitter."),
        ("Un train … long", "Un train long"),
        ("faites 4.vm-review-nonurgent: Pour", ""),
        ("l'heure, s'il vous plaît", "l'heure, s'il vous plaît"),
    ],
)
def test_texts_are_what_is_spoken(text, cleaned):
    assert recordings.clean(text) == cleaned
