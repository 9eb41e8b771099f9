"""t2t-inspect: the report and the drawings of small data."""

import re
import subprocess
import sys

import conftest
import numpy as np
import pytest
from PIL import Image as PilImage

from t2t_lite import registry
from t2t_lite.bin import inspect
from t2t_lite.data.inspection import Inspection
from t2t_lite.data.records import parse, serialize
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.escapes import escape_controls
from t2t_lite.media.drawing import contact_sheet, spectrogram
from t2t_lite.problems import Label, Problem, Text

USR_DIR = conftest.USR
NAMES = ["tiny_reverse", "tiny_pictures", "tiny_sounds"]


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate(NAMES, folder, folder, num_workers=1)
    return folder


def test_the_command_draws_without_tensorflow(data_dir, tmp_path):
    flags = [f"--problem={','.join(NAMES)}", f"--data_dir={data_dir}", f"--t2t_usr_dir={USR_DIR}"]
    flags += [f"--out_dir={tmp_path}/drawn", "--split=dev", "--examples=1"]
    code = (
        f"import sys; from t2t_lite.bin import inspect; inspect.main({flags}); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["tiny_pictures-dev-inputs.png", *(f"tiny_sounds-dev-inputs-{n}.png" for n in range(8))]
    for name in drawn:
        assert f"  drawn: {tmp_path}/drawn/{name}" in done.stdout
        with PilImage.open(tmp_path / "drawn" / name) as picture:
            assert min(picture.size) > 100
    assert not (data_dir / "inspect").exists()


def test_text(data_dir):
    inspection = Inspection(data_dir, "tiny_reverse", "train")
    said = inspection.report(2)
    assert said.startswith("tiny_reverse: Reverses words.\n")
    assert re.search(r"  train   400 examples, 10 files, [\d.]+ kB\n  dev     90 examples, 1 file, ", said)
    stored = inspection.manifest.splits["train"]
    assert f"length of inputs: mean {stored.lengths['inputs']['mean']:,.1f}, longest" in said
    bars = [int(n.replace(",", "")) for n in re.findall(r"^  (?:up to +\d+|longer) +#* +([\d,]+)$", said, re.MULTILINE)]
    assert sum(bars) == 400
    assert bars[-1] == stored.too_long > 0
    assert re.search(r"tokens of targets, in 400 examples:\n  [\d,]+ tokens, \d\.\d\d characters each", said)
    first = "  ".join(line for line in said.splitlines() if line.startswith("  inputs "))
    assert "Text, vocab=tiny, vocab_size=8192, 0 symbols, max_length=40" in first
    inputs, targets = re.findall(r"^  (?:inputs|targets) +(.*)$", said, re.MULTILINE)[2:4]
    assert inputs.split() == targets.split()[::-1]


def test_classes_and_sounds(data_dir):
    said = Inspection(data_dir, "tiny_sounds", "train").report(1)
    assert "classes of targets, in 120 examples (3 of 3 occur):" in said
    assert re.search(r"^  yes  #{40}  40$", said, re.MULTILINE)
    assert re.search(r"^  inputs  \(sound, 0\.\d\d s\)\n  targets yes$", said, re.MULTILINE)


def test_control_characters_are_escaped(tmp_path, capsys):
    class Escapes(Problem):
        inputs = Text(vocab_size=300)
        targets = Label()

        def examples(self, split, raw_dir):
            return [{"inputs": "\x1b[31mred\x07\n\u202ehouse 👩‍🚀\x9b", "targets": "\x1b]0;title\x07\r"}] * 20

    with registry.problems.temporary():
        registry.problems.register(Escapes)
        generate(["escapes"], tmp_path, tmp_path, num_workers=1)
        flags = ["--problem=escapes", f"--data_dir={tmp_path}", f"--out_dir={tmp_path}/drawn"]
        assert inspect.main(flags) == 0
    report = capsys.readouterr().out
    assert not set("\x1b\x07\r\x9b\u202e") & set(report)
    assert r"  inputs  \x1b[31mred\x07\n\u202ehouse 👩‍🚀\x9b" in report
    assert r"  targets \x1b]0;title\x07\r" in report
    assert report.count(r"\x1b]0;title\x07\r  ####") == 1


@pytest.mark.parametrize("text", ["plain", "Häuser 日本 👩‍🚀\xa0\u200d", ""])
def test_other_characters_stay(text):
    assert escape_controls(text) == text


def test_wrong_names(data_dir):
    with pytest.raises(UserError, match="no split 'test'; it has train, dev"):
        Inspection(data_dir, "tiny_sounds", "test")
    with pytest.raises(UserError, match="has no data in"):
        Inspection(data_dir / "none", "tiny_sounds", "dev")
    assert inspect.main([]) == 2


def test_a_contact_sheet_keeps_colours_and_aspect():
    colours = ["red", "lime", "blue"]
    pictures = [(PilImage.new("RGB", (200, 100), colour), f"{colour} 日本 " * 9) for colour in colours]
    sheet = np.asarray(contact_sheet([*pictures, (PilImage.new("RGBA", (9, 9)), "")]))
    for colour in colours:
        rgb = PilImage.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert (sheet == rgb).all(-1).sum() == 128 * 64
    assert (sheet == 0).all(-1).sum() > 128 * 128  # the transparent picture, and labels


def test_a_spectrogram_shows_time_and_frequency_of_a_tone():
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * np.where(time < 0.5, 500, 3000) * time)
    picture = np.asarray(spectrogram(tone, 8000, "")).astype(int).sum(-1)[15:]
    height, width = picture.shape[0], 200
    for column, frequency in ((50, 500), (150, 3000)):
        row = int(picture[:, column].argmax())
        assert abs((1 - row / height) * 4000 - frequency) < 60
    assert (picture[:, width + 1 :] == 3 * 255).all()  # white after the end


def test_parse_inverts_serialize():
    values = {"inputs": [0, 1, 127, 128, 300, 70_000, 2**40], "targets": b"\0\xff" * 400, "none": [], "empty": b""}
    assert parse(serialize(values)) == values
