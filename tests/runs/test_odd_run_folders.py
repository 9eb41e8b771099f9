"""Run folders whose names TensorFlow would read as patterns, or could not read at all."""

import json

import keras
import pytest
import tensorflow as tf
from conftest import USR_SESSION

from t2t_lite.bin import avg_all, trainer
from t2t_lite.bin import eval as evaluator
from t2t_lite.monitoring.profiler import Profiler
from t2t_lite.monitoring.scalar_writer import ScalarWriter
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.moving_average import load_moving_average

NOT_UTF8 = b"caf\xe9".decode("utf8", "surrogateescape")
NAMES = ["run[1]", "*", "a?b", "{a,b}", "back\\slash", "two words", "q'uo\"te", "-dash", "\u00fcber", NOT_UTF8]
each_name = pytest.mark.parametrize("name", NAMES, ids=ascii)


@each_name
def test_everything_that_tensorflow_writes_and_reads(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (tmp_path / "run1").mkdir()  # matches run[1]
    model = keras.layers.Layer()
    variable = model.weight = model.add_weight(name="weight", shape=(2,))
    variable.assign([1.0, 2.0])
    optimizer = tf.Module()
    optimizer.average = tf.Module()
    optimizer.average.shadows = [tf.Variable([5.0, 6.0])]
    Checkpoints(folder, model, optimizer).save(3)
    assert finished_steps(folder) == {3}
    variable.assign([0.0, 0.0])
    assert Checkpoints(folder, model, optimizer).restore().step == 3
    assert variable.numpy().tolist() == [1.0, 2.0]
    assert load_moving_average(model, folder / "checkpoints" / "ckpt-3")
    assert variable.numpy().tolist() == [5.0, 6.0]
    with ScalarWriter(folder, 0) as scalars:
        scalars.add(1, "train", "one", {"loss": 1.0})
    with Profiler(folder, (1, 1), 0, 3) as profiler:
        for step in (1, 2, 3):
            profiler.begin(step)
    assert len(list(folder.glob("events.*"))) == len(list(folder.glob("plugins/profile/*/*.xplane.pb"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "run1"])


@pytest.mark.usefixtures("session_problems")
@pytest.mark.slow
def test_train_resume_evaluate_average_and_warm_start(session_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    odd = "-run [1] *?{a,b} '\"\u00fc"
    shared = [f"--t2t_usr_dir={USR_SESSION}", "--problem=session_pictures", f"--data_dir={session_data}"]
    train = [*shared, "--hparams_set=session_tiny", "--eval_steps=1", "--save_every=1", "--hparams=average_decay=0.9"]
    assert trainer.main([*train, f"--output_dir={odd}", "--train_steps=2", "--profile_steps=2,2"]) == 0
    assert trainer.main([*train, f"--output_dir={odd}", "--train_steps=3"]) == 0
    assert "resuming from step 2" in capsys.readouterr().err
    assert evaluator.main([*shared, f"--output_dir={odd}", "--eval_steps=1"]) == 0
    assert avg_all.main([f"--output_dir={odd}", "--n=2"]) == 0
    assert evaluator.main([*shared, f"--output_dir={odd}/averaged", "--eval_steps=1"]) == 0
    warm = [f"--warm_start_from={odd}/checkpoints/ckpt-2", f"--gin_file={odd}/operative_config.gin"]
    assert trainer.main([*train, *warm, "--output_dir=new[1]", "--train_steps=1"]) == 0
    assert f"weights of {odd}, step 2:" in capsys.readouterr().err
    assert json.loads((tmp_path / odd / "averaged" / "averaged.json").read_text())["steps"] == [2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([odd, "new[1]"])
