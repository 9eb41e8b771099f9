"""The scores of a run's checkpoints: t2t-eval --checkpoint=all and watch. Model and evaluation are stand-ins."""

import json

import pytest

from t2t_lite.api import trained_run
from t2t_lite.bin import eval as evaluator
from t2t_lite.evaluation.curve import EvaluationCurve

pytestmark = pytest.mark.usefixtures("session_problems")


class TestFile:
    def test_keeps_scores_by_settings(self, tmp_path):
        path = tmp_path / "curve"
        EvaluationCurve(path, {"split": "dev"}).add(3, {"p": {"loss": 1.5}})
        with path.open("a") as file:
            file.write('{"split": "dev", "st')  # of a process that was killed
        curve = EvaluationCurve(path, {"split": "dev"})
        curve.add(6, {"p": {"loss": float("nan"), "bleu": 20.0, "bleu_signature": "x"}})
        curve.add(7, {"q": {"loss": 2.0}})
        again = EvaluationCurve(path, {"split": "dev"})
        expected = {3: {"p": {"loss": 1.5}}, 6: {"p": {"loss": None, "bleu": 20.0, "bleu_signature": "x"}}}
        assert again.scores == curve.scores == {**expected, 7: {"q": {"loss": 2.0}}}
        assert EvaluationCurve(path, {"split": "test"}).scores == {}
        assert again.table() == (
            "p\n  step  loss  bleu\n     3   1.5      \n     6          20\n\nq\n  step  loss\n     7     2"
        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run folder with checkpoints of steps 3 and 6; each evaluation is counted."""
    (tmp_path / "checkpoints").mkdir()
    for step in (6, 3):
        (tmp_path / "checkpoints" / f"ckpt-{step}.json").write_text("{}")
    evaluated = []

    class Run(trained_run.TrainedRun):
        problems = ("session_reverse",)
        _run = type("", (), {"build_model": lambda self: "model"})()

        def evaluate(self, names, data_dir=None, **options):
            evaluated.append(self._loaded[1])
            return {"step": self._loaded[1], "problems": {name: {"loss": self._loaded[1] / 2} for name in names}}

    class Checkpoints:
        def __init__(self, folder, model):
            pass

        def restore_weights(self, step):
            return step

    monkeypatch.setattr(trained_run, "TrainedRun", Run)
    monkeypatch.setattr("t2t_lite.runs.checkpoints.Checkpoints", Checkpoints)
    return tmp_path, evaluated


def flags(folder, *more):
    return ["--problem=session_reverse", f"--data_dir={folder}", f"--output_dir={folder}", *more]


def test_each_checkpoint_is_scored_once(folder, capsys, tmp_path):
    folder, evaluated = folder
    assert evaluator.main(flags(folder, "--checkpoint=all", f"--json_out={tmp_path}/out")) == 0
    assert evaluated == [3, 6]
    assert capsys.readouterr().out.endswith("session_reverse\n  step  loss\n     3   1.5\n     6     3\n\n")
    (folder / "checkpoints" / "ckpt-9.json").write_text("{}")
    assert evaluator.main(flags(folder, "--checkpoint=all")) == 0
    assert evaluated == [3, 6, 9]
    assert evaluator.main(flags(folder, "--checkpoint=all")) == 0  # nothing new: the table alone
    assert evaluated == [3, 6, 9] and "     9   4.5" in capsys.readouterr().out
    assert json.loads((tmp_path / "out").read_text())["3"] == {"session_reverse": {"loss": 1.5}}
    assert evaluator.main(flags(folder, "--checkpoint=all", "--split=test")) == 0
    assert evaluated == [3, 6, 9, 3, 6, 9]


def test_watch_waits_until_it_is_interrupted(folder, monkeypatch, capsys):
    folder, evaluated = folder
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt
        (folder / "checkpoints" / "ckpt-9.json").write_text("{}")

    monkeypatch.setattr(trained_run.time, "sleep", sleep)
    assert evaluator.main(flags(folder, "--checkpoint=watch")) == 0
    assert evaluated == [3, 6, 9] and len(waits) == 2


def test_mistakes(folder, capsys):
    folder, _ = folder
    (folder / "in").write_text("a\n")
    files = [f"--eval_from_file={folder}/in", f"--reference={folder}/in", "--checkpoint=all"]
    assert evaluator.main(flags(folder, *files)) == 2
    assert "--checkpoint=all: not with --eval_from_file" in capsys.readouterr().err
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    assert evaluator.main(flags(folder, "--checkpoint=all")) == 1
    assert "no checkpoint in" in capsys.readouterr().err
