"""The user's own files from end to end, on the real data that examples/own_data.py writes."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

SCRIPT = Path(__file__).parents[2] / "examples" / "own_data.py"
LANGUAGES = ("de", "fr")
TRANSLATION = [f"{name}.en{language}" for language in LANGUAGES for name in ("translate_files", "translate_files_rev")]
PROBLEMS = ["image_folder.digits", *TRANSLATION]
MISSING = [name for name in ("sklearn", "django") if importlib.util.find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f'{" and ".join(MISSING)} missing: pip install ".[dev]"')


def run(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The folder that the script writes, and its output."""
    folder = tmp_path_factory.mktemp("own") / "raw"
    return folder, run(SCRIPT, folder)


def lines(path):
    content = path.read_bytes().decode("utf8")
    assert content.endswith("\n")
    return content.removesuffix("\n").split("\n")


def test_each_digit_of_scikit_learn_is_written_once(raw):
    from sklearn.datasets import load_digits

    folder, said = raw
    digits = load_digits()
    found = {}
    for path in (folder / "digits").glob("*/*/*.png"):
        split, digit, number = path.relative_to(folder / "digits").with_suffix("").parts
        found[int(number)] = split
        assert int(digit) == digits.target[int(number)]
        with PilImage.open(path) as picture:
            assert picture.mode == "L"
            np.testing.assert_allclose(np.asarray(picture) / 255, digits.images[int(number)] / 16, atol=0.5 / 255)
    assert sorted(found) == list(range(1797))
    assert Counter(found.values()) == {"train": 1437, "dev": 360}
    assert "digits: 1,437 train, 360 dev" in said


@pytest.mark.parametrize(
    ("language", "pairs", "accent"),
    [
        (
            "de",
            {
                ("Monday", "Montag"),
                ("This field is required.", "Dieses Feld ist zwingend erforderlich."),
            },
            "ß",
        ),
        ("fr", {("Monday", "lundi"), ("This field is required.", "Ce champ est obligatoire.")}, "é"),
    ],
)
def test_messages_are_aligned(raw, language, pairs, accent):
    folder, said = raw
    found = {}
    for split in ("train", "dev"):
        source, target = (lines(folder / f"en{language}" / f"{split}.{suffix}") for suffix in ("en", language))
        found[split] = list(zip(source, target, strict=True))
    together = found["train"] + found["dev"]
    assert pairs <= set(together)
    assert any(accent in target for _, target in together)
    for pair in together:
        assert all(side == " ".join(side.split()) != "" and "\x04" not in side for side in pair)
    assert len(found["train"]) > 650
    assert 0.05 < len(found["dev"]) / len(together) < 0.15
    assert f"en{language}: {len(found['train'])} train, {len(found['dev'])} dev" in said


def test_dev_and_train_are_disjoint(raw):
    folder, _ = raw
    texts = {"train": set(), "dev": set()}
    for split, seen in texts.items():
        for language in LANGUAGES:
            for suffix in ("en", language):
                found = [line.casefold() for line in lines(folder / f"en{language}" / f"{split}.{suffix}")]
                assert len(set(found)) == len(found)
                # English of both pairs together: what one pair holds back must not be learnt from the other.
                seen.update((suffix, line) for line in found)
    assert not texts["train"] & texts["dev"]


def test_output_is_reproducible(raw, tmp_path):
    run(SCRIPT, tmp_path)
    first, again = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in (raw[0], tmp_path)
    )
    assert first == again


@pytest.mark.parametrize("package", ["sklearn", "django"])
def test_a_missing_package_is_named(tmp_path, package):
    code = (
        "import runpy, sys; sys.modules[sys.argv.pop(1)] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, package, SCRIPT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "own_data.py: error: " in done.stderr and 'pip install ".[dev]"' in done.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "file"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"own_data.py: error: {tmp_path}/file/digits/dev/0: Not a directory\n"


def test_the_problems_read_the_files(raw):
    from t2t_lite.problems.problem import get_problem

    commands = {}
    for name in PROBLEMS:
        problem = get_problem(name)
        problem.resolve(raw[0] / problem.source)
        commands[name] = problem.command
        assert len(list(problem.examples("train", raw[0] / problem.source))) > 650
    assert list(commands.values()) == ["classify", "to_english", "to_german", "to_french", "to_english"]


@pytest.mark.slow
def test_one_model_learns_digits_and_messages(raw, tmp_path):
    data, output, scores = tmp_path / "data", tmp_path / "run", tmp_path / "scores.json"
    shared = (f"--problem={','.join(PROBLEMS)}", f"--data_dir={data}")
    run("-m", "t2t_lite.bin.datagen", *shared, f"--tmp_dir={raw[0]}")
    run(
        *("-m", "t2t_lite.bin.trainer", *shared, f"--output_dir={output}"),
        *("--hparams_set=multimodel_tiny", "--hparams=dropout=0.2", "--train_steps=2000"),
    )
    run("-m", "t2t_lite.bin.eval", *shared, f"--output_dir={output}", f"--json_out={scores}")
    figures = json.loads(scores.read_text())["problems"]
    assert figures["image_folder.digits"]["examples"] == 360
    assert figures["image_folder.digits"]["accuracy"] >= 0.97
    for name in TRANSLATION:
        assert figures[name]["accuracy"] > 1.5 * share_of_most_frequent_target(data, name), name
        assert 0 < figures[name]["bleu"] <= 100


def share_of_most_frequent_target(data, name):
    """The accuracy of the best constant answer."""
    from t2t_lite.data.reading import Dataset
    from t2t_lite.hparams import HParams

    counts = Counter()
    for batch in Dataset.open(data, name).batches("dev", HParams()):
        counts.update(batch["targets"].numpy()[batch["targets"].numpy() != 0].tolist())
    return max(counts.values()) / sum(counts.values())
