"""examples/gpu_check.py runs on a CPU at a tiny size."""

import importlib
import json
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.usefixtures("session_problems")
def test_every_figure_is_printed_and_written(session_data, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    written = tmp_path / "check.json"
    flags = ["--tiny", f"--json_out={written}", "--problem=session_reverse", f"--data_dir={session_data}"]
    importlib.import_module("gpu_check").main(flags)
    result, printed = json.loads(written.read_text()), capsys.readouterr().out
    assert result["devices"] and result["tensorflow"] in printed
    cases = {(row["set"], row["precision"], row["data"]) for row in result["training"]}
    kinds = ("text", "pictures", "sound")
    assert cases == {(s, p, d) for s in ("small", "base") for p in ("float32", "bfloat16") for d in kinds}
    for row in result["training"]:
        assert row["steps_per_second"] > 0 and 0 < row["share_of_peak"] < 1 and row["estimated_memory"] > 0
    assert result["losses"]["equal"] and len(result["losses"]["device"]) == 20
    assert result["decoding"]["base"]["tokens_per_second"] > 0
    assert 0 <= result["input"]["waiting"] < 1
    assert "losses of 20 steps in float32 beside the CPU's: equal" in printed
    for column in ("steps/s", "tokens/s", "of peak", "memory", "estimated"):
        assert column in printed
