"""Models whose variables have shapes but no memory."""

import contextlib
from collections.abc import Iterator

import keras
from keras.src.backend.common import global_state

_PENDING = "uninitialized_variables"  # where Keras notes variables that the next scope is to give memory


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Variables made inside get shapes but no memory, not later either: Keras would allocate them at its next scope."""
    pending = list(global_state.get_global_attribute(_PENDING, []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(_PENDING, pending)
