"""What to learn. Each file registers a family of problems or mixtures; every file here is found by itself."""

from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.problems.mixture import Mixture
from t2t_lite.problems.problem import Problem

__all__ = ["Audio", "Image", "Label", "Mixture", "Problem", "Text"]
