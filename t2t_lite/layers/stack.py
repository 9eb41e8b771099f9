"""A list of layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras


class Stack(keras.layers.Layer):
    """A list of layers whose weights checkpoints find: tf.train.Checkpoint passes over a Keras layer's Python lists.

    Args:
      layers: its items.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], **kwargs: Any):
        super().__init__(**kwargs)
        self.built = True  # it is never called, only its items are
        self._items = tuple(layers)
        for i, layer in enumerate(layers):
            setattr(self, f"layer{i}", layer)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
