"""Models that cannot fit into the machine's memory are refused before they are built."""

import resource

import keras
import pytest
from conftest import USR_SESSION

from t2t_lite.bin import trainer
from t2t_lite.training import memory_check
from t2t_lite.training.shapes_only import shapes_only

pytestmark = pytest.mark.usefixtures("session_problems")


@pytest.fixture
def train(session_data, tmp_path, capsys):
    """Trains on pictures with some hparams; returns the exit status and the last line of standard error."""

    def train(hparams):
        flags = [f"--t2t_usr_dir={USR_SESSION}", f"--data_dir={session_data}", f"--output_dir={tmp_path}/run"]
        flags += ["--problem=session_pictures", "--hparams_set=session_tiny", f"--hparams={hparams}"]
        status = trainer.main([*flags, "--train_steps=1", "--eval_steps=1"])
        return status, capsys.readouterr().err.splitlines()[-1]

    return train


def test_a_model_of_terabytes_is_refused_in_one_line(train, tmp_path):
    status, line = train("hidden_size=8192,filter_size=1048576,num_experts=131072,optimizer=adam")
    assert status == 1
    assert line.startswith("t2t-trainer: error: memory does not suffice for the model: it needs at least ")
    assert "num_experts=131072, filter_size=1048576 or hidden_size=8192, or set optimizer=adafactor" in line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_optimizer_state_and_moving_average_count(train, monkeypatch):
    monkeypatch.setattr(memory_check, "available_memory", lambda: 1000)
    status, line = train("average_decay=0.9")
    assert (
        status == 1
        and "(weights " in line
        and "optimizer (two moments) " in line
        and "moving average " in line
        and "gradients " in line
    )
    status, line = train("optimizer=adafactor,use_experts=false,hidden_size=64")
    assert status == 1 and "rows and columns" in line and "set optimizer" not in line
    assert "lower hidden_size=64, filter_size=32, encoder_blocks=1 or decoder_blocks=1" in line


@pytest.mark.parametrize("kind,size", [(resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")])
def test_limits_of_the_process_count(kind, size):
    before = resource.getrlimit(kind)
    used = memory_check._proc_sizes("self/status")[size]
    assert used > 1 << 27
    for limit, most in ((1 << 46, 1 << 44), (used + (1 << 30), 1 << 30)):
        resource.setrlimit(kind, (limit, before[1]))
        try:
            assert 0 < memory_check.available_memory() <= most
        finally:
            resource.setrlimit(kind, before)


def test_out_of_memory_anywhere_in_training_is_one_line(train, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    cases = {
        "t2t_lite.training.train.make_optimizer": "the optimizer's state; set optimizer=adafactor",
        "t2t_lite.models.multi_model.Body": "the model's weights; lower num_experts=2",
        "t2t_lite.training.step.blank_batch": "the largest batch of problem 'session_pictures'; lower batch_tokens",
        "t2t_lite.training.step._backward": "a batch of problem 'session_pictures' with inputs (",
        "t2t_lite.training.train.evaluate_share": "the evaluation after step 1; raise accumulate_steps=1",
        "t2t_lite.training.train.make_sampler": "training; raise accumulate_steps=1",
    }
    monkeypatch.setattr("t2t_lite.training.train.check_memory", lambda *_: None)
    for place, what in cases.items():
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            status, line = train("dropout=0.0")
        assert status == 1 and line.startswith(f"t2t-trainer: error: memory does not suffice for {what}"), line


def test_a_model_of_shapes_only_never_gets_memory():
    with shapes_only():
        weight = keras.layers.Layer().add_weight(shape=(1 << 20, 1 << 20), name="four_terabytes")
    with keras.StatelessScope():  # on leaving, Keras allocates the variables that it finds pending
        pass
    assert tuple(weight.shape) == (1 << 20, 1 << 20) and weight._value is None
