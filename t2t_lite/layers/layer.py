"""The base class of this project's Keras layers, and calls that layers with equal settings trace only once."""

import functools
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

_tracing = threading.RLock()

Computation = Callable[[Any, Mapping[str, tf.Tensor], Sequence[tf.Tensor]], Any]


class Layer(keras.layers.Layer):
    """A Keras layer whose constructor makes all its weights.

    Otherwise Keras traces it a second time just to build it, which takes a third of the time before the first step.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.built = True


def call_shared(
    computation: Computation, settings: Hashable, tensors: Mapping[str, tf.Tensor], weights: Sequence[tf.Tensor]
) -> Any:
    """Returns computation(settings, tensors, weights), traced once for all layers of equal settings and sizes.

    A deep model has dozens of equal layers. Tracing each would take most of the time before the first step.

    Args:
      computation: a function at the top level of a module; its results depend on its arguments alone.
      settings: those of the layer.
      tensors: named inputs. The first two dimensions of those of rank 2 and more (batch, length) are traced as None.
      weights: the values of the layer's weights.
    """
    inputs = tuple((name, tf.TensorSpec(_any_length(x.shape), x.dtype)) for name, x in tensors.items())
    with _tracing:  # replicas trace their models in threads
        function = _traced(computation, settings, inputs, tuple(tf.TensorSpec(w.shape, w.dtype) for w in weights))
    return function(dict(tensors), list(weights))


@functools.lru_cache(maxsize=256)
def _traced(
    computation: Computation,
    settings: Hashable,
    inputs: tuple[tuple[str, tf.TensorSpec], ...],
    weights: tuple[Any, ...],
) -> Any:
    return tf.function(
        lambda tensors, weights: computation(settings, tensors, weights),
        autograph=False,
        input_signature=[dict(inputs), list(weights)],
    )


def _any_length(shape: tf.TensorShape) -> list[int | None]:
    return [None, None, *shape[2:]] if shape.rank >= 2 else list(shape)
