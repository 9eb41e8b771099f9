"""Importing TensorFlow without the lines that it writes on standard error, which would bury a command's own."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow; what its C++ code says meanwhile is dropped, unless the import fails.

    Nothing is silenced where the environment sets TF_CPP_MIN_LOG_LEVEL: whoever sets it wants to see. Parts of the
    package import TensorFlow as usual; a command calls this first.
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
    """What C++ code writes on standard error inside is dropped, unless an exception leaves.

    The descriptor itself leads elsewhere meanwhile. Python's own sys.stderr, where it is not the descriptor (in a
    test), is not touched.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
