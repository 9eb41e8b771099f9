"""The Python interface: train, open a run, load an export; the commands call the same functions. See docs/python.md."""

from t2t_lite.api.arguments import existing_folder
from t2t_lite.api.export import Export, demo_dir, load_export
from t2t_lite.api.trained_run import Inside, TrainedRun, open_run, report
from t2t_lite.api.training import MAX_STEPS, dry_run, resolve_hparams, train
from t2t_lite.decoding.decode_hparams import DecodeHParams

__all__ = [
    "MAX_STEPS",
    "DecodeHParams",
    "Export",
    "Inside",
    "TrainedRun",
    "demo_dir",
    "dry_run",
    "existing_folder",
    "load_export",
    "open_run",
    "report",
    "resolve_hparams",
    "train",
]
