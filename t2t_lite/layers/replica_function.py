"""Traced functions of one replica, called with the variables of another, so that all replicas share one trace."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

Handles = Mapping[int, tf.Tensor]


def own_handles(first: Iterable[tf.Variable], own: Iterable[tf.Variable]) -> Handles:
    """Returns {id of the handle of a variable of the first replica: the handle of the own variable in its place}."""
    return {id(theirs.handle): mine.handle for theirs, mine in zip(first, own, strict=True)}


def replica_function(function: Any, handles: Handles) -> Callable[..., Any]:
    """Returns a function that calls `function` with other variables than those that it was traced with.

    A traced function is passed its variables as further arguments, its captures. The public way to call it always
    passes those of the trace; `_call_flat` takes others. The forward and backward graphs are then made once for all
    replicas (benchmarks/replicas.py). The tape must be told to watch the variables: TensorFlow tells it only of those
    of the trace.

    Args:
      function: a tf.function with an input signature of tensors.
      handles: from `own_handles`; captures that are not in it, such as constants, are passed as they are.
    """
    traced: list[tuple[Any, list[tf.Tensor]]] = []

    def call(*arguments: tf.Tensor) -> Any:
        if not traced:
            concrete = function.get_concrete_function()
            traced.append((concrete, [handles.get(id(x), x) for x in concrete.captured_inputs]))
        concrete, captures = traced[0]
        return concrete._call_flat(tf.nest.flatten(arguments), captures)

    return call
