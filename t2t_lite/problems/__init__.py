"""Problems and mixtures. Each file registers a family of them; all files of this folder are imported."""

from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.problems.mixture import Mixture
from t2t_lite.problems.problem import Problem

__all__ = ["Audio", "Image", "Label", "Mixture", "Problem", "Text"]
