"""Messages for exhausted memory: what did not fit, and the hparams that make it smaller."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams

# TensorFlow reports exhausted memory under several error classes, and a full disk as ResourceExhaustedError too.
_OUT_OF_MEMORY = re.compile(
    r"\bOOM\b|out of memory|OUT_OF_MEMORY|bad_alloc|ALLOC_FAILED|failed to allocate|unable to allocate", re.IGNORECASE
)


@contextlib.contextmanager
def explain_out_of_memory(what: str, advice: str) -> Iterator[None]:
    """Turns exhausted memory inside the block into an error in one line.

    Args:
      what: what needs the memory, such as "the weights".
      advice: what makes it smaller.

    Raises:
      UserError: memory is exhausted.
    """
    try:
        yield
    except (MemoryError, RuntimeError, tf.errors.OpError) as e:
        if not is_out_of_memory(e):
            raise
        raise UserError(f"memory does not suffice for {what}; {advice}") from e


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error reports exhausted memory, of the host or of an accelerator."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def smaller_model(hparams: HParams) -> str:
    """Returns the advice that makes the weights fewer, the most effective hparam first."""
    names = ["hidden_size", "filter_size", "encoder_blocks", "decoder_blocks"]
    if hparams.use_experts:
        names = ["num_experts", "filter_size", "hidden_size"]
    *others, last = (f"{name}={getattr(hparams, name)}" for name in names)
    return f"lower {', '.join(others)} or {last}"


def smaller_batch(hparams: HParams) -> str:
    """Returns the advice that makes a step's activations smaller; accumulate_steps may change within a run."""
    return (
        f"raise accumulate_steps={hparams.accumulate_steps}; or, in a new run, lower "
        f"batch_tokens={hparams.batch_tokens} or batch_max_examples={hparams.batch_max_examples}, or "
        f"{smaller_model(hparams)}"
    )
