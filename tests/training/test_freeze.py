"""--freeze: named parts do not change, and a new problem leaves the answers of frozen ones as they were, to the bit."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from checks import problem

import t2t_lite
from t2t_lite.bin import trainer
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.problems import Image, Label, Text
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run
from t2t_lite.training.freeze import freeze

OLD = ["session_reverse", "session_pictures"]


PARTS = ("body.encoder", "body.decoder", "image", "text_words", "commands")


def fake_model():
    """A model of weights alone; `classes` uses body.encoder and image, `words` all but image, `other` the same."""
    parts = {name: [SimpleNamespace(trainable=True)] for name in PARTS}
    used = {"classes": ("body.encoder", "image"), **dict.fromkeys(("words", "other"), set(parts) - {"image"})}
    return SimpleNamespace(parts=lambda name="": {part: parts[part] for part in used.get(name, parts)})


TEXT = Text("words")
PROBLEMS = {
    "classes": problem("classes", Image(), Label(("cat",))),
    "words": problem("words", TEXT, TEXT, "copy"),
    "other": problem("other", TEXT, TEXT, "reverse"),
}


def trainable(model):
    return {name for name, (weight,) in model.parts().items() if weight.trainable}


@pytest.mark.parametrize(
    ("names", "left", "kept"),
    [
        ("", set(PARTS), set()),
        ("image, text", {"body.encoder", "body.decoder", "commands"}, set()),
        ("classes", {"body.decoder", "text_words", "commands"}, {"classes"}),
        ("words", {"image", "commands"}, {"words"}),
    ],
)
def test_parts_and_problems(names, left, kept, monkeypatch):
    monkeypatch.setattr("t2t_lite.training.freeze.get_problems", lambda names: {name: None for name in names})
    models = [fake_model(), fake_model()]
    assert freeze(models, PROBLEMS, names).problems == kept
    assert [trainable(model) for model in models] == [left, left]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("encodr", "--freeze: no part or problem 'encodr' in this run; did you mean 'encoder'"),
        ("encoder,image", "--freeze=encoder,image: nothing is left to train for problem 'classes'"),
        ("classes,words,other", "no problem is left to train"),
    ],
)
def test_mistakes(names, message, monkeypatch):
    def look_up(names):
        if names[0] not in PROBLEMS:
            raise UserError("unknown")
        return {name: None for name in names}

    monkeypatch.setattr("t2t_lite.training.freeze.get_problems", look_up)
    with pytest.raises(UserError, match=message):
        freeze([fake_model()], PROBLEMS, names)


def test_the_command_of_a_frozen_problem_does_not_change(monkeypatch):
    monkeypatch.setattr("t2t_lite.training.freeze.get_problems", lambda names: {name: None for name in names})
    same = PROBLEMS | {"again": problem("again", Image(), TEXT, "copy")}
    del same["other"]
    model = fake_model()
    parts = model.parts
    model.parts = lambda name="": parts("" if name == "again" else name)
    assert freeze([model], same, "words").problems == {"words"}
    assert trainable(model) == {"image"}
    with pytest.raises(UserError, match="the command 'copy' belongs to a frozen problem and to one that is trained"):
        freeze([fake_model()], PROBLEMS | same, "words")


def test_a_dry_run_counts_what_is_trained(session_data, session_problems, capsys):
    def gibibytes(flags):
        names = {"hparams_set": "session_tiny", "hparams": {"filter_size": 2**20}, **flags}
        t2t_lite.api.dry_run("session_reverse,session_pictures", session_data, **names)
        lines = capsys.readouterr().out.splitlines()
        peak = next(line.split() for line in lines if line.split()[:1] == ["session_reverse"] and "GiB" in line)
        return [float(peak[place]) for place in (3, 5)], lines  # weights with the optimizer's state, gradients

    (all_weights, all_gradients), _ = gibibytes({})
    (weights, gradients), lines = gibibytes({"freeze": ["session_pictures", "decoder"]})
    assert weights < 0.6 * all_weights and gradients < 0.1
    assert all_gradients > 0.2
    assert any(line.strip().startswith("frozen: ") and line.endswith("not trained: session_pictures") for line in lines)
    assert [line.split()[2] for line in lines if line.startswith("session_reverse") and "%" in line] == ["100.0%"]
    with pytest.raises(UserError, match="--freeze: no part or problem 'decodr'"):
        gibibytes({"freeze": "decodr"})


@pytest.mark.slow
def test_a_new_problem_leaves_the_answers_of_the_old_ones(session_data, session_problems, tmp_path, capsys):
    datasets = {name: Dataset.open(session_data, name) for name in OLD}
    hparams = session_problems.session_tiny()
    old_model = Run.create(tmp_path / "old", hparams, "multi_model", datasets, dict.fromkeys(OLD, 0.5)).build_model()
    rng = np.random.default_rng(0)
    for weight in old_model.weights:
        weight.assign_add(0.1 * rng.normal(size=weight.shape))
    Checkpoints(tmp_path / "old", old_model).save(4)
    flags = [f"--data_dir={session_data}", f"--output_dir={tmp_path}/new", f"--warm_start_from={tmp_path}/old"]
    flags += ["--hparams_set=session_tiny", "--eval_steps=1", "--problem=session", f"--freeze={','.join(OLD)}"]
    for steps in (2, 3):  # the second call resumes
        assert trainer.main([*flags, f"--train_steps={steps}"]) == 0
    runs = [t2t_lite.open_run(tmp_path / folder) for folder in ("old", "new")]
    pictures = [session_problems.picture("red"), session_problems.picture("blue", 1)]
    for name, inputs in (("session_reverse", ["a b c", "d d", "c"]), ("session_pictures", pictures)):
        before, after = (run.answer(name, inputs, beam_size=2, max_length=3) for run in runs)
        assert before == after, name  # scores too, to the bit
    assert "not trained: session_pictures, session_reverse" in capsys.readouterr().err
    weights = _weights(runs[1])
    for path, value in _weights(runs[0]).items():
        if path != "commands":
            np.testing.assert_array_equal(weights[path], value, err_msg=path)
    mixture = json.loads((tmp_path / "new" / "mixture.json").read_text())["problems"]
    assert {name: row["rate"] for name, row in mixture.items()} == pytest.approx({"session_tones": 1.0})
    lines = (tmp_path / "new" / "scalars.jsonl").read_text()
    assert '"session_tones"' in lines and '"train", "problem": "session_reverse"' not in lines
    assert trainer.main([*flags[:-1], "--train_steps=9"]) == 1
    assert "freeze is , was session_reverse,session_pictures" in capsys.readouterr().err


def _weights(run):
    model = run._loaded[0]
    return {weight.path.removeprefix(f"{model.name}/"): weight.numpy() for weight in model.weights}
