"""A user's modality (--t2t_usr_dir) with a gin binding of its own, through datagen, trainer, eval and decoder."""

import sys

import conftest
import pytest
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.bin import datagen, decoder, trainer
from t2t_lite.bin import eval as evaluator

OWN = """\
import gin
from t2t_lite import registry
from t2t_lite.modalities.language import Language
from t2t_lite.problems import Problem, Text

LOUDNESS = []

@gin.configurable(module="own")
def loudness(value=1.0):
    LOUDNESS.append(value)
    return value

@registry.modalities.register
class Loud(Language):
    "Text whose embedding is louder."

    @classmethod
    def net_name(cls, feature):
        return f"loud_{feature.vocab}"

    def embed_targets(self, targets):
        return loudness() * super().embed_targets(targets)

@registry.problems.register
class LoudLetters(Problem):
    "Letters to themselves."
    inputs = Text(vocab="loud", vocab_size=280, max_length=8, modality="loud")
    targets = Text(vocab="loud", vocab_size=280, max_length=8)
    command = "copy"

    def examples(self, split, raw_dir):
        for number in range(60):
            text = "abcdefg"[number % 5 :]
            yield {"inputs": text, "targets": text}
"""


@pytest.fixture
def own(tmp_path, session_problems):
    """A --t2t_usr_dir with the modality, and its module."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_modality.py").write_text(OWN)
    with registry.modalities.temporary(), registry.problems.temporary():
        registry.import_usr_dirs([str(folder)])
        yield folder, sys.modules["own_modality"]
    del sys.modules["own_modality"]


@pytest.mark.slow
def test_all_commands_use_the_gin_binding_of_the_run(own, tmp_path, capsys):
    folder, module = own
    usr_dirs = f"--t2t_usr_dir={conftest.USR_SESSION},{folder}"
    data = [usr_dirs, "--problem=loud_letters", f"--data_dir={tmp_path}/data"]
    run = [*data, f"--output_dir={tmp_path}/run"]
    train = [*run, "--hparams_set=session_tiny", "--eval_steps=1"]
    assert datagen.main([*data, "--num_workers=1"]) == 0
    assert trainer.main([*train, "--gin_param=own.loudness.value = 7.0", "--train_steps=2"]) == 0
    assert set(module.LOUDNESS) == {7.0}
    weights = [name for name, _ in tf.train.list_variables(str(tmp_path / "run" / "checkpoints" / "ckpt-2"))]
    assert any("loud_loud" in name for name in weights) and any("language_loud" in name for name in weights)

    capsys.readouterr()
    assert trainer.main([*train, "--gin_param=own.loudness.value = 9.0", "--train_steps=3"]) == 1
    assert "gin has 'loudness.value = 9.0'; gin had 'loudness.value = 7.0'" in capsys.readouterr().err

    for command, flags in ((evaluator, ["--split=dev"]), (decoder, ["--show=1"])):
        trainer.main(
            [*train, "--gin_param=own.loudness.value = 9.0", "--train_steps=3"]
        )  # refused, but leaves its binding set
        module.LOUDNESS.clear()
        assert command.main([*run, *flags]) == 0
        assert set(module.LOUDNESS) == {7.0}
