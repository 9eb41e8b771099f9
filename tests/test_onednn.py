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
def test_training_computes_with_it_and_decoding_as_tensorflow_chooses():
    code = (
        "import sys; from t2t_lite.api.arguments import start_tensorflow; start_tensorflow(training=eval(sys.argv[1]));"
        f"import os; print(os.environ.get('{VARIABLE}'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    for training, expected in ((True, "1"), (False, "None")):
        run = [sys.executable, "-c", code, str(training)]
        assert subprocess.check_output(run, env=environment, text=True).strip() == expected
