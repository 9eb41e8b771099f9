"""Loads the moving averages of weights from a checkpoint in place of the weights."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.literal_path import literal_path

AVERAGES = "optimizer/average/shadows/"  # with these begin the checkpoint keys of Optimizer.average.shadows
_SHADOW = AVERAGES + "{}/.ATTRIBUTES/VARIABLE_VALUE"  # that of shadows[i]


def load_moving_average(model: Any, checkpoint: Path) -> bool:
    """Assigns the moving averages in a checkpoint to the model's weights; returns whether the checkpoint has any.

    Args:
      model: a model built as the trained one was.
      checkpoint: the prefix of the checkpoint's files, such as run/checkpoints/ckpt-100.
    """
    with literal_path(checkpoint.parent) as folder:
        reader = tf.train.load_checkpoint(str(folder / checkpoint.name))
        if not reader.has_tensor(_SHADOW.format(0)):
            return False
        for i, variable in enumerate(model.trainable_variables):
            variable.assign(reader.get_tensor(_SHADOW.format(i)))
    return True
