"""Training on an x86 CPU computes with oneDNN, unless the environment or an imported TensorFlow has decided already."""

import os
import platform
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


@pytest.fixture
def enabled(monkeypatch):
    """Returns the variable after use_onednn, on a machine of this kind, with this environment and these modules."""
    from t2t_lite.onednn import use_onednn

    def enabled(machine="x86_64", before=None, imported=False):
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setenv(VARIABLE, before or "")  # so that it is as it was afterwards
        if before is None:
            monkeypatch.delenv(VARIABLE)
        if not imported:
            monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
        use_onednn()
        found = os.environ.get(VARIABLE)
        monkeypatch.undo()
        return found

    return enabled


def test_on_x86_before_tensorflow_is_imported(enabled):
    assert enabled() == enabled("AMD64") == "1"
    assert enabled("aarch64") is None
    assert enabled(before="0") == "0"


def test_not_after_tensorflow_is_imported(enabled):
    import tensorflow  # noqa: F401

    assert enabled(imported=True) is None


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 alone")
@pytest.mark.parametrize(("command", "expected"), [("trainer", "1"), ("experiments", "1"), ("decoder", "None")])
def test_commands_that_train_compute_with_it(command, expected):
    code = f"import os; from t2t_lite.bin import {command}; {command}.main(['--help'])"
    code += f"; print(os.environ.get('{VARIABLE}'))"
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    out = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert out.splitlines()[-1] == expected
