"""examples/tour.ipynb: its code cells run in order, and each of its calls exists."""

import ast
import json
import re
from pathlib import Path

import pytest

import t2t_lite

NOTEBOOK = json.loads((Path(__file__).parents[1] / "examples" / "tour.ipynb").read_text(encoding="utf8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_its_cells_parse_and_call_what_there_is():
    for node in ast.walk(ast.parse("\n\n".join(CELLS))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = {"t2t_lite": t2t_lite, "run": t2t_lite.TrainedRun, "export": t2t_lite.Export}.get(node.value.id)
            assert owner is None or hasattr(owner, node.attr), ast.unparse(node)
    assert not any(cell.get("outputs") for cell in NOTEBOOK["cells"])


def test_the_calls_of_the_page_exist():
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf8")
    owners = {"t2t_lite": t2t_lite, "run": t2t_lite.TrainedRun, "export": t2t_lite.Export}
    calls = re.findall(rf"\b({'|'.join(owners)})\.(\w+)", page)
    assert len(calls) > 15
    for owner, name in calls:
        assert hasattr(owners[owner], name), f"{owner}.{name}"


@pytest.mark.slow
def test_its_cells_run_in_order(capsys):
    names: dict = {}
    for cell in CELLS:
        exec(cell.replace("train_steps = 1000", "train_steps = 4"), names)
    assert names["run"].step == 4
    assert "The star is red." in capsys.readouterr().out
    assert names["served"].shape[0] == 2
