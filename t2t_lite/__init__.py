"""t2t_lite: one model to learn them all, that people can run.

    import t2t_lite

    t2t_lite.datagen("microworld", "data")
    run = t2t_lite.train("microworld", "data", "run", hparams_set="multimodel_tiny", train_steps=1000)
    run.answer("microworld_ende", ["The star is red."], beam_size=4)
    run.evaluate("microworld", "data")
    t2t_lite.load_export("export").answer("microworld_ende", ["The star is red."])

docs/python.md describes it. Importing the package imports neither TensorFlow nor anything else that takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2t_lite.api import Export, TrainedRun, load_export, open_run, train
    from t2t_lite.errors import UserError

__version__ = "0.2.0.dev0"
__all__ = ["Export", "TrainedRun", "UserError", "datagen", "load_export", "open_run", "train"]


def __getattr__(name: str) -> Any:
    """Imports an item of the Python interface at its first use."""
    if name in ("datagen", "api", "report"):  # the first is a package that can be called
        return importlib.import_module(f"t2t_lite.{name}")
    if name in __all__:
        module = importlib.import_module("t2t_lite.errors" if name == "UserError" else "t2t_lite.api")
        return getattr(module, name)
    raise AttributeError(f"module 't2t_lite' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
