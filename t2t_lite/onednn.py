"""Turns on oneDNN, TensorFlow's optimized CPU kernels, for training."""

import os
import platform
import sys


def use_onednn() -> None:
    """Has TensorFlow compute with oneDNN on any x86 CPU. Call it before TensorFlow is imported; later it does nothing.

    TensorFlow alone does so only where it finds AVX-512 VNNI or later instructions. On an AMD EPYC without them, a
    training step with D=512 takes 0.83 times as long with oneDNN, one of multimodel_tiny 0.9 times, one with D=192 as
    long: Eigen is slow at few rows times a large transposed matrix, as experts have them. A small model decodes a few
    sentences in 1.25 times the time, so only training calls this; the choice holds for the whole process, also for
    decoding after training. A TF_ENABLE_ONEDNN_OPTS that the environment already has is not changed.
    """
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
