"""Hyperparameters: the HParams dataclass, its overrides, and the sets that commands name."""

from t2t_lite.hparams.hparams import HParams, override

__all__ = ["HParams", "override"]
