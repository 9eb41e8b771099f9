"""Imports TensorFlow without the log lines of its C++ code, which would bury those of a command."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow and drops what its C++ code writes meanwhile, unless the import fails.

    Drops nothing if the environment sets TF_CPP_MIN_LOG_LEVEL. The package's modules import TensorFlow as usual; a
    command calls this first.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        import tensorflow

        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with suppress_stderr():  # some lines come before TensorFlow reads its level
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def suppress_stderr() -> Iterator[None]:
    """Drops what C++ code writes on standard error inside the context, unless an exception leaves it.

    Redirects descriptor 2 to a temporary file. A sys.stderr that is not descriptor 2, as in a test, is not affected.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
