"""Runs in processes of their own: shares of processors, logs, errors, signals."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t2t_lite.bin import experiments
from t2t_lite.errors import Stopped, UserError
from t2t_lite.experiments.parallel_runs import LOG, in_processes
from t2t_lite.processors import processors


def write_share(folder, name):
    print("this is", name)
    (folder / f"{name}.txt").write_text(str(sorted(os.sched_getaffinity(0))))


def fail_or_wait(folder, name):
    if name == "fails":
        while not (folder / "waits").exists():
            time.sleep(0.02)
        raise UserError("no such thing")
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(Stopped("", 143).status))
        (folder / "waits").write_text("")
        time.sleep(60)
    except SystemExit:
        (folder / "saved").write_text("")
        raise


def end_itself(folder, name):
    os.kill(os.getpid(), signal.SIGKILL)


def run(function, names, folder, number=2):
    return list(in_processes(names, functools.partial(function, folder), lambda name: folder / "runs" / name, number))


def test_each_run_has_its_share_of_the_processors_and_its_log(tmp_path):
    events = run(write_share, ["a", "b", "c"], tmp_path)
    assert events[:2] == [("a", False), ("b", False)] and {name for name, ended in events if ended} == {"a", "b", "c"}
    shares = [json.loads((tmp_path / f"{name}.txt").read_text()) for name in "abc"]
    if len(processors()) > 1:
        assert sorted(shares[0] + shares[1]) == processors()
    assert [(tmp_path / "runs" / name / LOG).read_text() for name in "abc"] == [
        "this is a\n",
        "this is b\n",
        "this is c\n",
    ]
    assert sorted(os.sched_getaffinity(0)) == processors()


def test_an_error_stops_the_others_after_they_have_saved(tmp_path):
    with pytest.raises(UserError, match=rf"run fails: error: no such thing \(see {tmp_path}/runs/fails/{LOG}\)"):
        run(fail_or_wait, ["waits", "fails"], tmp_path)
    assert (tmp_path / "saved").exists()


def test_a_run_that_was_killed_is_named(tmp_path):
    with pytest.raises(UserError, match=r"run a was ended by SIGKILL, perhaps because memory ran out"):
        run(end_itself, ["a"], tmp_path)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_parent_stops_all(tmp_path, kill):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_parallel_runs import fail_or_wait, run\n"
        "run(fail_or_wait, ['waits'], Path(sys.argv[2]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)])
    wait_for(tmp_path / "waits")
    parent.send_signal(kill)
    assert parent.wait(20) != 0
    wait_for(tmp_path / "saved")


def wait_for(path):
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.02)


USR = """
import sys
sys.path.insert(0, {session!r})
import session_problems
from t2t_lite import registry
from t2t_lite.experiments.suite import Suite, Task

@registry.problems.register
class WithTest(session_problems.SessionPictures):
    splits = ("train", "dev", "test")

    def examples(self, split, raw_dir):
        return iter(list(super().examples(split, raw_dir))[:40])

suite = Suite({{"with_test": Task("Colours", "image")}}, "with_test", "with_test", (), __doc__="One.", train_steps=4)
registry.suites.register(suite, name="of_user")
"""


@pytest.mark.slow
def test_two_at_a_time_equal_one_after_the_other(tmp_path, session_problems):
    usr = tmp_path / "usr"
    usr.mkdir()
    (usr / "mine.py").write_text(USR.format(session=str(Path(session_problems.__file__).parent)))
    flags = [
        "--suite=of_user", "--hparams_set=session_tiny", f"--t2t_usr_dir={usr}", f"--data_dir={tmp_path}/data",
        "--only=joint_vs_alone", "--seeds=2", "--num_workers=1",
    ]  # fmt: skip
    scores = []
    for number in (1, 2):
        command = [sys.executable, "-m", experiments.__name__, f"--output_dir={tmp_path}/{number}", *flags]
        done = subprocess.run([*command, f"--processes={number}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / str(number) / "results.json").read_text())
        assert results["complete"]
        scores.append([each["scores"]["with_test"]["loss"] for each in results["runs"]])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert "[2/2] joint-seed1: finished after" in done.stderr
    log = (tmp_path / "2" / "runs" / "joint-seed0" / LOG).read_text()
    assert "per sequence" in log and "per sequence" not in done.stdout + done.stderr  # the table of scores
