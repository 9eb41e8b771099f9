"""Problems and mixtures. Each file registers a family of them; all files of this folder are imported."""

from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.problems.mixture import Mixture
from t2t_lite.problems.problem import Problem
from t2t_lite.tensor2tensor_names import CLASSES, hint

__all__ = ["Audio", "Image", "Label", "Mixture", "Problem", "Text"]


def __getattr__(name: str) -> type:
    error = f"module 't2t_lite.problems' has no attribute '{name}'{hint('class', name)}"
    # Python replaces the text of an AttributeError that comes of `from ... import`.
    raise ImportError(error) if name in CLASSES else AttributeError(error)
