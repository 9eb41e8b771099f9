"""What the tests of whole commands share: the problems of usr_session/ and their data, and an export, made once."""

import contextlib
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.bin import datagen

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # graphs run once or twice here

USR = str(Path(__file__).parent / "usr")
USR_SESSION = str(Path(__file__).parent / "usr_session")


@contextlib.contextmanager
def _registered():
    """Imports usr_session/; on leaving it is forgotten."""
    with contextlib.ExitStack() as stack:
        for kind in (registry.problems, registry.mixtures, registry.hparams_sets):
            stack.enter_context(kind.temporary())
        registry.import_usr_dirs([USR_SESSION])
        yield sys.modules["session_problems"]
    del sys.modules["session_problems"]


@pytest.fixture(scope="module")
def tiny_problems():
    """The problems of usr/, as a module."""
    with registry.problems.temporary():
        registry.import_usr_dirs([USR])
        yield sys.modules["tiny_problems"]
    del sys.modules["tiny_problems"]


@pytest.fixture(scope="session")
def session_data(tmp_path_factory):
    """The folder of their data. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("session") / "data"
    with _registered():
        flags = [f"--t2t_usr_dir={USR_SESSION}", "--problem=session", f"--data_dir={folder}", "--num_workers=1"]
        assert datagen.main(flags) == 0
    return folder


@pytest.fixture(scope="session")
def fake_export(tmp_path_factory):
    """The folder of an export without a network in it. Tests read it and leave it as it is."""
    from fake_export import write_fake_export

    return write_fake_export(tmp_path_factory.mktemp("session") / "export")


@pytest.fixture(scope="module")
def session_problems(session_data):
    """The problems, the mixture and the hparams set of usr_session/, as a module."""
    with _registered() as module:
        yield module
