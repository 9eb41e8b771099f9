"""Generation with Apache Beam writes the same files as worker processes."""

import sys

import conftest
import pytest

from t2t_lite.bin import datagen
from t2t_lite.data.verify import verify
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError

pytestmark = pytest.mark.filterwarnings("default")  # Beam raises warnings of its own
USR_DIR = conftest.USR


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture
def pairs(tmp_path):
    """1,050 pairs, some of them broken or empty, including the first of a chunk."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, number in (("train", 1050), ("dev", 20)):
        for language, word in (("de", b"Haus"), ("en", b"house")):
            lines = [b"%s %d" % (word, n % 41) for n in range(number)]
            if split == "train":
                lines[5] = b""
                for bad in (65, 66, 700) if language == "de" else ():
                    lines[bad] = b"\xff"
            (raw / f"{split}.{language}").write_bytes(b"\n".join(lines) + b"\n")
    return raw


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "options",
    [
        "--runner=DirectRunner",
        pytest.param(
            "--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_files_equal_those_of_worker_processes(tmp_path, pairs, options):
    names = ["tiny_pictures", "tiny_reverse", "tiny_sounds", "translate_files"]
    generate(names, tmp_path / "local", pairs, num_workers=1, max_bad=0.01)
    flags = [f"--problem={','.join(names)}", f"--tmp_dir={pairs}", "--max_bad=1%", f"--t2t_usr_dir={USR_DIR}"]
    assert datagen.main([*flags, f"--data_dir={tmp_path}/beam", f"--beam_options={options}"]) == 0
    local, beam = files_of(tmp_path / "local"), files_of(tmp_path / "beam")
    assert local.keys() == beam.keys()
    for name, content in local.items():
        assert beam[name] == content, name
    assert len(beam["translate_files.broken.tsv"].splitlines()) == 3
    assert len(verify(tmp_path / "beam")) == 4


def test_too_many_broken_examples_stop_generation(tmp_path, pairs):
    with pytest.raises(UserError, match=r"train.de:66: not UTF-8 .*\(3 of 1,049 examples of split 'train' are broken"):
        generate(["translate_files"], tmp_path / "data", pairs, beam_options=[])
    assert list(files_of(tmp_path / "data")) == ["translate_files.broken.tsv"]


def test_an_error_in_a_worker_is_one_line(tmp_path, pairs, capsys, tiny_problems, monkeypatch):
    def examples(self, split, raw_dir):
        yield {"inputs": "a", "targets": "b"}
        raise UserError("raw/x: cannot be read")

    monkeypatch.setattr(tiny_problems.TinyReverse, "examples", examples)
    flags = ["--problem=tiny_reverse", f"--t2t_usr_dir={USR_DIR}", f"--data_dir={tmp_path}/data"]
    assert datagen.main([*flags, "--beam_options=--runner=DirectRunner"]) == 1
    *progress, line = capsys.readouterr().err.splitlines()
    assert line == "t2t-datagen: error: raw/x: cannot be read"
    assert progress == ["tiny_reverse, train: first pass, with Beam"]


def test_without_beam_the_error_says_how_to_install_it(tmp_path, pairs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "t2t_lite.datagen.beam_engine", raising=False)
    flags = ["--problem=translate_files", f"--tmp_dir={pairs}", f"--data_dir={tmp_path}/data"]
    assert datagen.main([*flags, "--beam_options=--runner=DirectRunner"]) == 1
    error = capsys.readouterr().err
    assert "--beam_options: Apache Beam cannot be imported" in error and 'pip install "t2t_lite[beam]"' in error
