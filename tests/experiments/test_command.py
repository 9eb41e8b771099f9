"""t2t-experiments as a command: a real run, killed and resumed; suites of fake runs; the page; mistakes."""

import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from t2t_lite import registry
from t2t_lite.bin import experiments
from t2t_lite.errors import DivergedError, Stopped
from t2t_lite.experiments import runner
from t2t_lite.experiments.suite import Suite, Task
from t2t_lite.hparams import HParams
from t2t_lite.training.step import TrainStep

SCORES = {"loss": 1.0, "log_perplexity": 1.0, "accuracy": 0.5, "accuracy_per_sequence": 0.1, "wer": 0.4}


@pytest.fixture(scope="module")
def suite(session_problems):
    """A suite of two problems, letters and pictures, and one of the pictures alone; they have a test split."""

    class WithTest:
        splits = ("train", "dev", "test")

        def examples(self, split, raw_dir):
            items = list(super().examples(split, raw_dir))
            return iter(items if split != "train" else items[:40])

    with registry.suites.temporary(), registry.problems.temporary():
        for name, base in (("letters", session_problems.SessionReverse), ("colours", session_problems.SessionPictures)):
            registry.problems.register(type(name, (WithTest, base), {}), name=name)
        tasks = {"letters": Task("Letters", "text"), "colours": Task("Colours", "image")}
        made = Suite(tasks, small="letters", foreign="colours", ablated=("letters",), train_steps=6, __doc__="Two.")
        registry.suites.register(made, name="two")
        one = Suite({"colours": tasks["colours"]}, "colours", "colours", (), __doc__="One.", train_steps=4)
        registry.suites.register(one, name="one")
        yield made


def run(folder, *flags, suite="two"):
    shared = [f"--suite={suite}", f"--output_dir={folder}", "--hparams_set=session_tiny", "--num_workers=1"]
    return experiments.main([*shared, *flags])


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


REAL = ["--only=joint_vs_alone", "--seeds=1", "--hparams=batch_max_examples=8"]


@pytest.fixture(scope="module")
def real(suite, tmp_path_factory):
    """The folder of a suite of one run, really trained."""
    folder = tmp_path_factory.mktemp("experiments") / "real"
    assert run(folder, *REAL, suite="one") == 0
    return folder


def test_a_run_is_trained_and_scored(real):
    results = results_of(real)
    (only,) = results["runs"]
    assert only["name"] == "joint-seed0" and only["problems"] == ["colours"]
    assert results["complete"] and results["notes"] == []
    assert only["parameters"] > 1000 and only["seconds"] > 0
    assert only["scores"]["colours"]["examples"] == 20
    assert results["data_dir"] == "data" and (real / "data" / "colours.manifest.json").exists()
    assert results["tables"][0]["claim"]["verdict"] == "one seed"
    assert "Colours, alone" in (real / "results.md").read_text()
    assert "1 run · seed 0 · 1 problem · models and answers of joint-seed0" in (real / "index.html").read_text()


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_end(real, tmp_path, monkeypatch):
    step, trained = TrainStep.__call__, []

    def stop_at_the_second(self, *args):
        trained.append(args[0])
        if len(trained) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    monkeypatch.setattr(TrainStep, "__call__", stop_at_the_second)
    data = f"--data_dir={real}/data"
    assert run(tmp_path / "E", *REAL, data, suite="one") == 143
    stopped = results_of(tmp_path / "E")
    assert [(each["status"], each["step"]) for each in stopped["runs"]] == [("cut short", 2)]
    assert "was cut short at step 2 of 4 and is left out" in stopped["notes"][0] and not stopped["complete"]
    assert stopped["tables"][0]["rows"][0]["cells"][1] is None
    assert run(tmp_path / "E", *REAL, data, suite="one") == 0
    assert results_of(tmp_path / "E")["runs"][0]["scores"] == results_of(real)["runs"][0]["scores"]


def test_its_folder_is_that_of_the_trainer(real):
    lines = (real / "runs" / "joint-seed0" / "scalars.jsonl").read_text().splitlines()
    assert [row["step"] for row in map(json.loads, lines) if row["split"] == "train"] == [1, 2, 3, 4]
    hparams = json.loads((real / "runs" / "joint-seed0" / "hparams.json").read_text())
    assert (hparams["batch_max_examples"], hparams["seed"], hparams["mixture_rates"]) == (8, 0, "")
    assert hparams["warmup_steps"] == 0


@pytest.fixture
def fake(suite, monkeypatch):
    """Training and scoring take no time; returns the list of what was trained."""
    trained = []

    def train(problem, data_dir, output_dir, **options):
        trained.append((output_dir.name, options))
        output_dir.mkdir(parents=True, exist_ok=True)
        options["hparams"].replace(decay_steps=options["train_steps"]).save(output_dir / "hparams.json")
        return SimpleNamespace(
            parameters=9, evaluate=lambda names, *_, **__: {"problems": dict.fromkeys(names, SCORES)}
        )

    monkeypatch.setattr(runner.api, "train", train)
    monkeypatch.setattr(runner.Experiments, "_generate", lambda *_: None)
    monkeypatch.setattr("t2t_lite.report.write_report", lambda *_, **__: None)
    return trained


def test_what_is_missing_is_trained(fake, tmp_path, capsys):
    assert run(tmp_path / "E", "--only=small_problem", "--seeds=1") == 0
    assert [name for name, _ in fake] == ["alone-letters-seed0", "joint-seed0"]
    options = fake[1][1]
    assert (options["train_steps"], options["eval_every"], options["hparams"].seed) == (6, 2, 0)
    assert options["hparams"].per_problem("mixture_rates").keys() == {"letters", "colours"}
    results = results_of(tmp_path / "E")
    assert [list(each["scores"]) for each in results["runs"]] == [["letters"]] * 2
    assert run(tmp_path / "E", "--only=small_problem", "--seeds=1") == 0
    assert len(fake) == 2
    assert "0 of 2 runs to train" in capsys.readouterr().err
    assert run(tmp_path / "E", "--only=ablation", "--seeds=2") == 0
    assert len(fake) == 2 + 6
    results = results_of(tmp_path / "E")
    assert [table["name"] for table in results["tables"]] == ["small_problem", "ablation"]
    assert results["complete"] and len(results["runs"]) == 2 + 6
    assert results["notes"] == ["table small_problem: no call has asked for 2 of its 4 runs (seed 1)"]
    assert run(tmp_path / "E", "--seeds=2", "--transfer_method=pair,leave_one_out") == 0
    results = results_of(tmp_path / "E")
    assert results["complete"] and not results["notes"] and len(results["transfer"]) == 2
    assert run(tmp_path / "E", "--seeds=2", "--only=ablation") == 0
    assert results_of(tmp_path / "E")["transfer"] == results["transfer"]


def test_a_call_keeps_seeds_and_targets_of_earlier_calls(fake, tmp_path):
    assert run(tmp_path / "E", "--only=small_problem,transfer", "--seeds=2", "--transfer_targets=all") == 0
    before = results_of(tmp_path / "E")
    assert run(tmp_path / "E", "--only=ablation,transfer", "--seeds=1") == 0
    results = results_of(tmp_path / "E")
    assert results["tables"][0] == before["tables"][0] and results["transfer"] == before["transfer"]
    assert results["tables"][1]["rows"][0]["cells"][2]["values"] == [1.0, None]
    assert results["complete"] and len(results["runs"]) == len(before["runs"]) + 3
    assert results["notes"] == ["table ablation: no call has asked for 3 of its 6 runs (seed 1)"]


def test_an_earlier_call_that_was_stopped_is_not_complete(fake, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runner.Experiments, "_generate", lambda *_: (_ for _ in ()).throw(Stopped("stopped", 143)))
        assert run(tmp_path / "E", "--only=small_problem", "--seeds=2") == 143
    assert run(tmp_path / "E", "--only=small_problem", "--seeds=1") == 0
    results = results_of(tmp_path / "E")
    assert not results["complete"] and len(results["notes"]) == 2
    assert "run alone-letters-seed1 (small_problem) is not trained yet" in results["notes"][0]


def test_a_kill_between_two_runs_keeps_the_first(fake, tmp_path, monkeypatch, capsys):
    train = runner.api.train

    def stopped(problem, data_dir, output_dir, **options):
        if len(fake) == 1:
            fake.append(("stopped", {}))
            (output_dir / "checkpoints").mkdir(parents=True)
            (output_dir / "checkpoints" / "ckpt-2.json").write_text("{}")
            raise Stopped("stopped by SIGTERM; step 2 is saved", 143)
        return train(problem, data_dir, output_dir, **options)

    monkeypatch.setattr(runner.api, "train", stopped)
    flags = ["--only=small_problem", "--seeds=1"]
    assert run(tmp_path / "E", *flags) == 143
    err = capsys.readouterr().err
    assert "step 2 is saved. To continue:\nt2t-experiments --suite=two" in err
    assert [each["status"] for each in results_of(tmp_path / "E")["runs"]] == ["finished", "cut short"]
    assert run(tmp_path / "E", "--plan", *flags) == 0
    assert "1 of 2 runs to train" in capsys.readouterr().out
    assert run(tmp_path / "E", *flags) == 0
    assert [name for name, _ in fake] == ["alone-letters-seed0", "stopped", "joint-seed0"]


def test_ctrl_c_while_scoring(fake, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.api, "train", interrupted)
    assert run(tmp_path / "E") == 130
    assert "interrupted; finished runs are kept. To continue:" in capsys.readouterr().err


def test_the_plan_trains_nothing(fake, tmp_path, capsys):
    assert run(tmp_path / "new", "--plan", "--only=small_problem,ablation") == 0
    assert "15 of 15 runs to train" in capsys.readouterr().out
    assert not (tmp_path / "new").exists() and not fake


def test_a_seed_that_diverged_is_recorded_and_the_others_go_on(fake, tmp_path, monkeypatch, capsys):
    train = runner.api.train

    def diverges(problem, data_dir, output_dir, **options):
        if options["hparams"].seed == 1:
            raise DivergedError("the loss is not finite, as at all of the last 10 steps")
        return train(problem, data_dir, output_dir, **options)

    monkeypatch.setattr(runner.api, "train", diverges)
    assert run(tmp_path / "E", "--only=small_problem") == 0
    results = results_of(tmp_path / "E")
    assert [each["status"] for each in results["runs"]] == ["finished"] * 2 + ["diverged"] * 2 + ["finished"] * 2
    assert len(results["notes"]) == 2 and "diverged and is left out: the loss is not finite" in results["notes"][0]
    assert results["tables"][0]["rows"][0]["cells"][1]["values"] == [1.0, None, 1.0]
    assert "run alone-letters-seed1 (small_problem) diverged" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_on_the_test_split_is_divergence(fake, tmp_path, monkeypatch):
    monkeypatch.setitem(SCORES, "loss", float("nan"))
    assert run(tmp_path / "E", "--only=ablation", "--seeds=1") == 0
    results = results_of(tmp_path / "E")
    assert {each["status"] for each in results["runs"]} == {"diverged"}
    assert results["tables"][0]["claim"]["verdict"] == "missing"


def test_the_page_is_written(fake, monkeypatch, tmp_path):
    written, folder = [], tmp_path / "E"
    monkeypatch.setattr("t2t_lite.report.write_report", lambda *args, **options: written.append((*args, options)))
    assert run(folder, "--only=small_problem", "--seeds=1") == 0
    folders, path, results, _ = written[0]
    assert folders == [folder / "runs" / "joint-seed0"]
    assert path == folder / "index.html" and results["suite"] == "two"
    runs = [folder / "runs" / name for name in ("alone-letters-seed0", "joint-seed0")]
    for each in runs:
        (each / "run.json").write_text("{}")
    runs = f"--report={runs[0]},{runs[1]}"
    assert experiments.main([runs, f"--output_dir={tmp_path}/page", f"--data_dir={tmp_path}/data"]) == 0
    folders, path, results, options = written[1]
    assert len(folders) == 2 and path == tmp_path / "page" / "index.html" and results is None
    assert options == {"data_dir": tmp_path / "data"}


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--output_dir=E"], 2, "--suite is required"),
        (["--suite=microworl", "--output_dir=E"], 1, "unknown suite 'microworl'; did you mean 'microworld'?"),
        (
            ["--suite=two", "--output_dir=E", "--only=ablations"],
            2,
            "--only: unknown 'ablations'; did you mean 'ablation'?",
        ),
        (
            ["--suite=two", "--output_dir=E", "--transfer_method=pairs"],
            2,
            "--transfer_method: unknown 'pairs'; did you",
        ),
        (["--suite=two", "--output_dir=E", "--transfer_targets=letter"], 2, "did you mean 'letters'?"),
        (["--suite=two", "--output_dir=E", "--seeds=0"], 2, "--seeds=0: expected a whole number, at least 1"),
        (
            ["--suite=two", "--output_dir=E", "--train_steps=1"],
            1,
            "--train_steps=1: leaves no step for problem 'colours'",
        ),
        (["--suite=two", "--output_dir=E", "--hparams=mixture=adaptive"], 2, "--hparams: mixture, mixture_unit and"),
        (
            ["--suite=two", "--output_dir=E", "--hparams_set=tiny"],
            1,
            "unknown hparams set 'tiny'; known: multimodel_base,",
        ),
        (["--suite=two", "--output_dir=E", "--model=multi_modl"], 1, "unknown model 'multi_modl'; did you mean"),
        (
            ["--suite=two", "--output_dir=E", "--hparams_set=transformer_tiny"],
            1,
            "--hparams_set=transformer_tiny is for --model=transformer, not for multi_model",
        ),
        (
            ["--suite=two", "--output_dir=E", "--model=transformer"],
            1,
            "--model=transformer: this model does not read the hparams use_experts=True,",
        ),
        (["--suite=two", "--output_dir=E", "--hparams=loss_weights=letter:2"], 1, "did you mean 'letters'?"),
        (["--suite=two", "--output_dir=E", "--hparams=batch_multipliers=letter:2"], 1, "did you mean 'letters'?"),
        (
            ["--suite=real_eight", "--output_dir=E", "--hparams_set=multimodel_tiny"],
            2,
            "--tmp_dir is required: problem 'real_recordings' has no",
        ),
        (
            ["--suite=real_eight", "--output_dir=E", "--hparams_set=multimodel_tiny", "--tmp_dir=none"],
            1,
            "--tmp_dir: no folder 'none'; python examples/real_",
        ),
        (
            ["--report=nothing", "--output_dir=E"],
            1,
            "--report: no folder 'nothing'; give folders that t2t-trainer wrote",
        ),
    ],
)
def test_mistakes(suite, flags, status, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert experiments.main(flags) == status
    err = capsys.readouterr().err
    assert message in err and err.count("error:") == 1 and "Traceback" not in err


def test_a_folder_of_something_else(fake, capsys, tmp_path, monkeypatch):
    assert run(tmp_path / "E", "--only=small_problem", "--seeds=1") == 0
    assert run(tmp_path / "E", "--only=small_problem", "--train_steps=8") == 1
    assert "holds a suite with other settings: train_steps is 8, was 6. Give the same" in capsys.readouterr().err
    assert run(tmp_path / "E", suite="one") == 1
    assert "suite is one, was two" in capsys.readouterr().err
    assert run(tmp_path / "E", "--only=small_problem", "--hparams=dropout=0.3") == 1
    assert (
        "alone-letters-seed0 was trained with other hparams: dropout is 0.3, was 0.0. Give the same"
        in capsys.readouterr().err
    )
    assert run(tmp_path / "E" / "runs" / "alone-letters-seed0") == 1
    assert "holds experiment.json and no suite.json, so it is not the folder of a suite" in capsys.readouterr().err
    (tmp_path / "new" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert run("new", f"--data_dir={tmp_path}/new/data", "--plan") == 0
    (tmp_path / "suite.json").write_text("{")
    assert run(tmp_path) == 1
    assert "suite.json: not the settings of a suite (JSONDecodeError" in capsys.readouterr().err


def test_a_set_that_has_changed_since(fake, capsys, tmp_path):
    folder = tmp_path / "E"
    assert run(folder, "--only=small_problem", "--seeds=1") == 0
    for path in folder.glob("runs/*/hparams.json"):  # as if an earlier version had clipped elsewhere
        HParams.load(path).replace(clip_norm=1.5).save(path)
    assert run(folder, "--only=small_problem", "--seeds=2") == 1
    assert re.search(r"was trained with other hparams: clip_norm is [\d.]+, was 1\.5\. Give", capsys.readouterr().err)
    assert len(fake) == 2
    assert run(folder, "--only=small_problem", "--seeds=2", "--hparams=clip_norm=1.5") == 0
    assert [name for name, _ in fake[2:]] == ["alone-letters-seed1", "joint-seed1"]


def test_data_without_a_test_split(suite, session_data, monkeypatch, tmp_path, capsys):
    made = Suite(
        {"session_reverse": Task("Letters", "text"), "session_tones": Task("Tones", "speech")},
        small="session_reverse",
        foreign="session_tones",
        ablated=(),
        __doc__="Without test.",
    )
    with registry.suites.temporary():
        registry.suites.register(made, name="no_test")
        flags = ["--suite=no_test", f"--data_dir={session_data}", "--hparams_set=session_tiny", "--num_workers=1"]
        assert experiments.main([f"--output_dir={tmp_path}/E", *flags]) == 1
    err = capsys.readouterr().err
    assert f"problem 'session_reverse' has no test split in {session_data}" in err
    assert 'a problem of your own declares `splits = ("train", "dev", "test")`' in err


def test_help_does_without_tensorflow():
    code = (
        "import sys\nfrom t2t_lite.bin import experiments\nassert experiments.main(['--help']) == 0\n"
        "assert experiments.main(['--suite=microworld', '--output_dir=E', '--only=x']) == 2\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("t2t-experiments: ") and "--transfer_targets=" in done.stdout


def test_a_run_begins_without_the_log_lines_of_tensorflow(tmp_path):
    code = (
        "import sys\nfrom t2t_lite import api\nfrom t2t_lite.bin import experiments\n"
        "from t2t_lite.errors import DivergedError\nfrom t2t_lite.experiments.runner import Experiments\n"
        "def train(*args, **options):\n    raise DivergedError('the loss is NaN')\n"
        "api.train, Experiments._has_data = train, lambda self, name: True\n"
        "sys.exit(experiments.main(sys.argv[1:]))"
    )
    flags = ["--suite=microworld", f"--output_dir={tmp_path}/E", "--only=joint_vs_alone", "--seeds=1"]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "joint-seed0: diverged: the loss is NaN" in done.stderr
    assert "oneDNN" not in done.stderr


def test_transformers_get_the_suites_hparams(fake, tmp_path, capsys):
    assert run(tmp_path / "E", "--only=models", "--seeds=1", "--hparams=hidden_size=32") == 0
    assert [name for name, _ in fake] == ["joint-seed0", "transformer_parameters-seed0", "transformer_flops-seed0"]
    assert [options["model"] for _, options in fake] == ["multi_model", "transformer", "transformer"]
    assert {options["hparams"].hidden_size for _, options in fake} == {32}
    blocks = [options["hparams"].encoder_blocks for _, options in fake]
    assert blocks[1] >= blocks[2] and not fake[1][1]["hparams"].use_experts
    assert "The MultiModel against Transformers" in (tmp_path / "E" / "results.md").read_text()


def test_another_model_has_no_tables_of_the_multi_model(fake, tmp_path, capsys):
    flags = ["--suite=two", f"--output_dir={tmp_path}/E", "--model=transformer", "--hparams_set=transformer_tiny"]
    assert experiments.main([*flags, "--seeds=1"]) == 0
    names = [table["name"] for table in results_of(tmp_path / "E")["tables"]]
    assert names == ["joint_vs_alone", "small_problem"]
    assert {options["model"] for _, options in fake} == {"transformer"}
    for table in ("models", "ablation"):
        assert experiments.main([*flags, f"--only={table}"]) == 2
        assert f"--only={table}: that table is of the MultiModel; leave out --model=" in capsys.readouterr().err
