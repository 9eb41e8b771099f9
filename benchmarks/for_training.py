"""Imported by the benchmarks of training before they import TensorFlow, so that it computes as in t2t-trainer."""

from t2t_lite.onednn import use_onednn

use_onednn()
