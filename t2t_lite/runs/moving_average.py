"""Reading a run's moving averages of weights in place of its weights."""

from pathlib import Path
from typing import Any

import tensorflow as tf

_SHADOW = "optimizer/average/shadows/{}/.ATTRIBUTES/VARIABLE_VALUE"  # of Optimizer.average, by the weight's number


def load_moving_average(model: Any, checkpoint: Path) -> bool:
    """Gives a model the moving averages that a checkpoint of it holds; tells whether there are any.

    Args:
      model: built as the one that was trained.
      checkpoint: the path of its files, without their endings.
    """
    reader = tf.train.load_checkpoint(str(checkpoint))
    if not reader.has_tensor(_SHADOW.format(0)):
        return False
    for number, variable in enumerate(model.trainable_variables):
        variable.assign(reader.get_tensor(_SHADOW.format(number)))
    return True
