"""--demo and --export_dir: answers and the server with a packaged export, here a fake one; the script that makes it."""

import importlib.util
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import t2t_lite
from t2t_lite.bin import decoder, server
from t2t_lite.evaluation.curve import EvaluationCurve
from t2t_lite.serving.model_card import BEGIN, END

ROOT = Path(__file__).parents[2]
ENDE = "--problem=microworld_ende"


@pytest.fixture
def demo(fake_export, monkeypatch):
    monkeypatch.setattr("t2t_lite.api.demo_dir", lambda: fake_export)


def test_a_file_is_answered(demo, fake_export, tmp_path, capsys):
    (tmp_path / "in").write_text("the cat\n\nx\n")
    files = [f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
    assert decoder.main(["--demo", ENDE, *files, "--return_scores"]) == 0
    first = (tmp_path / "out").read_text().splitlines()[0]
    assert first == "de: THE CAT\t-0.1094\tde: the cat\t-1.1094"
    assert decoder.main([f"--export_dir={fake_export}", ENDE, *files]) == 0
    assert (tmp_path / "out").read_text().startswith("de: THE CAT\tde: the cat\n")


def test_typed_lines_are_answered(demo, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
    assert decoder.main(["--demo", ENDE, "--decode_interactive"]) == 0
    assert capsys.readouterr().out.startswith("de: THE CAT\n")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--demo"], 2, "--problem is required"),
        (["--demo", ENDE, "--output_dir=run"], 2, "--output_dir: not with an export"),
        (["--demo", ENDE, "--show=3"], 2, "--show: not with an export"),
        (["--demo", ENDE, "--data_dir=d"], 2, "--data_dir: not with an export"),
        (["--demo", ENDE, "--checkpoint=best"], 2, "--checkpoint: not with an export"),
        (["--demo", ENDE, "--decode_to_file=out"], 2, "--decode_to_file: only with a file of inputs"),
        (["--demo", ENDE, f"--decode_from_file={__file__}", f"--decode_to_file={__file__}"], 1, "is the file that"),
        (["--demo", ENDE, "--export_dir=e"], 2, "give one of --demo, --export_dir"),
        (["--demo", "--problem=microworld_end"], 1, "did you mean 'microworld_ende'"),
        (["--demo", "--problem=microworld_ende,microworld_enfr"], 2, "one problem at a time"),
    ],
)
def test_mistakes(demo, flags, status, message, capsys):
    assert decoder.main(flags) == status
    assert message in capsys.readouterr().err


def test_without_a_model_the_error_says_how_to_make_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(t2t_lite, "__file__", str(tmp_path / "__init__.py"))
    for command, flags in ((server, ["--demo"]), (decoder, ["--demo", ENDE])):
        assert command.main(flags) == 1
        assert "demo_model holds no model; make one with examples/make_demo_model.py RUN" in capsys.readouterr().err
    assert server.main(["--demo", "--export_dir=e"]) == 2


def test_the_server_takes_the_demo(demo, fake_export, monkeypatch):
    served = []
    monkeypatch.setattr("t2t_lite.serving.server.serve", lambda folder, *_: served.append(folder))
    assert server.main(["--demo", "--port=0"]) == 0
    assert served == [fake_export]


def test_the_script_exports_with_figures_and_commands(monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("make_demo_model", ROOT / "examples" / "make_demo_model.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    exported = []

    def export(folder, **options):
        exported.append(options)
        folder.mkdir(exist_ok=True)
        if not (folder / "MODEL_CARD.md").exists():
            (folder / "MODEL_CARD.md").write_text(f"{BEGIN}\nfigures\n{END}\n")

    scores = {"step": 9, "problems": {"microworld_image": {"examples": 4, "accuracy": 0.5}}}
    run = SimpleNamespace(step=9, evaluate=lambda **_: scores, export=export)
    monkeypatch.setattr(t2t_lite, "open_run", lambda *_, **__: run, raising=False)
    (tmp_path / "run").mkdir()
    for _ in range(2):
        argv = ["make_demo_model.py", str(tmp_path / "run"), "--data_dir=data", f"--export_dir={tmp_path}/demo"]
        monkeypatch.setattr("sys.argv", argv)
        script.main()
    assert exported[0] == {"data_dir": Path("data"), "weights": "int8", "beam_size": 4, "return_beams": 3}
    card = (tmp_path / "demo" / "MODEL_CARD.md").read_text()
    assert card.count("--train_steps=9") == card.count("figures") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "eval_curve.jsonl").read_text().splitlines()]
    assert lines[0]["problems"] == scores["problems"]
    assert EvaluationCurve(tmp_path / "run" / "eval_curve.jsonl", {}).scores == {}


def test_the_packaged_files_are_installed():
    text = (ROOT / "setup.py").read_text(encoding="utf8")
    assert '"demo_model/*"' in text and '"demo_model/*/*"' in text  # variables/ holds the weights
