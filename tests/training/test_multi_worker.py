"""Two worker processes over loopback, through the command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import conftest
import numpy as np
import pytest

from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.run import Run

USR_DIR = conftest.USR_SESSION
PATIENCE = 600  # seconds to wait for a checkpoint or an exit, on a busy machine

pytestmark = pytest.mark.slow


@pytest.fixture
def start(session_data):
    """Starts the trainer as worker `index` of a cluster, or alone; kills those still running at the end."""
    started = []

    def start(output_dir, steps, ports=(), index=0, hparams="gating_noise=false", problem="session_pictures"):
        flags = [f"--t2t_usr_dir={USR_DIR}", f"--data_dir={session_data}", f"--output_dir={output_dir}"]
        flags += [f"--problem={problem}", "--hparams_set=session_tiny", f"--hparams={hparams}"]
        flags += [f"--train_steps={steps}", "--eval_every=5", "--save_minutes=1"]
        flags += ["--eval_steps=1"] if problem == "session_pictures" else ["--eval_decoded"]
        environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
        if ports:
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        process = subprocess.Popen(
            [sys.executable, "-m", "t2t_lite.bin.trainer", *flags],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def free_ports():
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1]


def finish(*processes):
    """[(exit status, standard error)]"""
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def weights(folder, step):
    model = Run.open(folder).build_model()
    assert Checkpoints(folder, model).restore_weights() == step
    return model.get_weights()


def wait_for_checkpoint(run, workers):
    before = time.monotonic()
    while not finished_steps(run):
        assert all(worker.poll() is None for worker in workers) and time.monotonic() - before < PATIENCE
        time.sleep(0.2)


def last_step(run):
    return max(finished_steps(run))


@pytest.mark.chosen
def test_two_workers_train_as_one(start, tmp_path, session_problems):
    ports = free_ports()
    chief, other = finish(start(tmp_path / "chief", 5, ports, 0), start(tmp_path / "other", 5, ports, 1))
    assert chief[0] == other[0] == 0, chief[1] + other[1]
    assert "2 replicas, 1 on each of 2 workers" in chief[1] and "step 5 of 5" in chief[1]
    assert not (tmp_path / "other").exists() and "step 5" not in other[1]
    ((status, said),) = finish(start(tmp_path / "alone", 5))
    assert status == 0, said
    expected, found = weights(tmp_path / "alone", 5), weights(tmp_path / "chief", 5)
    assert len(expected) > 20
    for mine, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(mine - theirs) <= 1e-5 * np.linalg.norm(theirs) + 1e-7 * theirs.size**0.5


def test_two_workers_share_an_evaluation_and_score_as_one(start, tmp_path):
    """With a learning rate of 0 both runs have the same weights, to the bit."""
    settings = {"hparams": "learning_rate=0,batch_max_examples=3", "problem": "session_reverse"}
    ports = free_ports()
    results = finish(*(start(tmp_path / str(i), 5, ports, i, **settings) for i in range(2)))
    results += finish(start(tmp_path / "alone", 5, **settings))
    assert [status for status, _ in results] == [0, 0, 0], results

    def scores(folder):
        rows = map(json.loads, (tmp_path / folder / "scalars.jsonl").read_text().splitlines())
        return [row for row in rows if row["split"] == "dev"]

    assert scores("0") == scores("alone")
    (row,) = scores("alone")[-1:]
    assert row["examples"] == 20 and "wer" in row


def test_a_killed_worker_ends_the_others_and_the_run_goes_on_when_started_again(start, tmp_path):
    run, ports = tmp_path / "run", free_ports()
    chief, other = start(run, 10**6, ports, 0), start(run, 10**6, ports, 1)
    wait_for_checkpoint(run, [chief, other])
    other.send_signal(signal.SIGKILL)
    ((status, said),) = finish(chief)
    assert status == 1
    assert re.search(r"^t2t-trainer: error: another worker has ended.*start all of them again", said, re.MULTILINE), (
        said
    )
    assert "Traceback" not in said
    step = last_step(run)
    ports = free_ports()
    again = finish(start(run, step + 5, ports, 0), start(run, step + 5, ports, 1))
    assert [status for status, _ in again] == [0, 0], again
    assert f"resuming from step {step}" in again[0][1]


@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_one_worker_saves_and_stops_both(start, tmp_path, signalled):
    run, ports = tmp_path / "run", free_ports()
    workers = start(run, 10**6, ports, 0), start(run, 10**6, ports, 1)
    wait_for_checkpoint(run, workers)
    workers[signalled].send_signal(signal.SIGTERM)
    results = finish(*workers)
    step = last_step(run)
    for index, (status, said) in enumerate(results):
        assert status == 143, said
        by = "SIGTERM" if index == signalled else "SIGTERM to another worker"
        assert f"stopped by {by}; step {step} is saved. To continue:" in said
        assert "Traceback" not in said
    ports = free_ports()
    again = finish(start(run, step + 5, ports, 0), start(run, step + 5, ports, 1))
    assert [status for status, _ in again] == [0, 0], again
    assert f"resuming from step {step}" in again[0][1]


def test_workers_with_different_hparams_are_an_error(start, tmp_path):
    ports = free_ports()
    results = finish(
        start(tmp_path / "a", 5, ports, 0), start(tmp_path / "b", 5, ports, 1, hparams="gating_noise=false,seed=3")
    )
    for status, said in results:
        assert status == 1 and "worker 1 was started with other flags, hparams or data than worker 0" in said, said
