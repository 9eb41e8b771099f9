"""Messages for exhausted memory."""

import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.runs.memory import explain_out_of_memory, smaller_batch, smaller_model

OUT_OF_MEMORY = [
    MemoryError(),
    MemoryError("std::bad_alloc"),
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9]"),
    tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory"),
    tf.errors.InternalError(None, None, "Failed to allocate scratch memory"),
    tf.errors.InternalError(None, None, "cuDNN: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
]
OTHERS = [
    tf.errors.ResourceExhaustedError(None, None, "events; No space left on device"),
    tf.errors.InvalidArgumentError(None, None, "shapes"),
    RuntimeError("in a room of zoom"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_names_what_did_not_fit_and_what_to_change(error):
    with (
        pytest.raises(UserError, match=r"^memory does not suffice for the weights; lower D$"),
        explain_out_of_memory("the weights", "lower D"),
    ):
        raise error


def test_numpy_too():
    with pytest.raises(UserError, match="memory"), explain_out_of_memory("an array", "lower D"):
        np.ones(2**60, np.uint8)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, explain_out_of_memory("the weights", "lower D"):
        raise error
    assert raised.value is error


def test_advice_names_hparams_with_their_values():
    hparams = HParams(num_experts=7, accumulate_steps=3)
    assert smaller_model(hparams) == "lower num_experts=7, filter_size=2048 or hidden_size=512"
    assert "num_experts" not in smaller_model(hparams.replace(use_experts=False))
    assert smaller_batch(hparams) == (
        "raise accumulate_steps=3; or, in a new run, lower batch_tokens=4096 or batch_max_examples=256, or "
        "lower num_experts=7, filter_size=2048 or hidden_size=512"
    )
