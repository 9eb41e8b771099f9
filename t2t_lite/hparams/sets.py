"""The hparams sets: functions that return HParams, named in `--hparams_set`."""

from t2t_lite import registry
from t2t_lite.hparams.hparams import HParams


@registry.hparams_sets.register
def multimodel_base() -> HParams:
    """The paper's MultiModel for eight problems together: D 512, filter 2048, 240 experts."""
    return HParams()


@registry.hparams_sets.register
def multimodel_single() -> HParams:
    """The paper's MultiModel for one problem alone: 60 experts."""
    return multimodel_base().replace(num_experts=60)
