"""A run most of whose steps are skipped: its exit status, what it saves, and the JSON that it writes."""

import json
import math

import pytest
from conftest import USR_SESSION

from t2t_lite.bin import trainer
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.runs.checkpoints import finished_steps


def not_json(word):
    raise AssertionError(f"{word} is not JSON")


@pytest.mark.usefixtures("session_problems")
@pytest.mark.slow
def test_it_saves_writes_json_and_fails_and_does_so_again_when_resumed(session_data, tmp_path, monkeypatch, capsys):
    score = MultiModel.score

    def poisoned(self, problem, *rest):
        scores = score(self, problem, *rest)
        return scores._replace(loss=scores.loss * (math.nan if problem == "session_pictures" else 1.0))

    monkeypatch.setattr(MultiModel, "score", poisoned)
    flags = [f"--t2t_usr_dir={USR_SESSION}", f"--data_dir={session_data}", f"--output_dir={tmp_path}/run"]
    flags += ["--problem=session_pictures,session_reverse", "--hparams_set=session_tiny", "--eval_steps=1"]
    flags += ["--hparams=mixture=adaptive,mixture_rates=session_pictures:9,max_bad_steps=99"]
    for steps, skipped in ((5, "of the 5 steps"), (9, "of the 4 steps")):
        assert trainer.main([*flags, f"--train_steps={steps}"]) == 1
        *_, last = capsys.readouterr().err.splitlines()
        assert last.startswith("t2t-trainer: error: ") and skipped in last and f"step {steps} is saved" in last
        assert steps in finished_steps(tmp_path / "run")
    texts = [path.read_text() for path in (tmp_path / "run").rglob("*.json")]
    texts += (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()
    assert len(texts) > 10
    rows = [json.loads(text, parse_constant=not_json) for text in texts]
    assert any(row.get("split") == "dev" and row["loss"] is None for row in rows)
