"""What a line of input stands for, and by what inputs are ordered."""

import numpy as np
import pytest
from PIL import Image as PilImage

from t2t_lite.decoding import inputs
from t2t_lite.errors import UserError
from t2t_lite.problems import Audio, Image, Problem, Text


def problem(feature):
    made = Problem("p")
    made.inputs = feature
    return made


def test_a_text_is_itself_whatever_it_holds():
    for text in ("", "  ", "a b"):
        assert inputs.read_input(problem(Text()), text) == text
        assert inputs.size(problem(Text()), text) == len(text)


def test_a_picture_is_read_and_as_large_as_its_file(tmp_path):
    path = tmp_path / "a.png"
    PilImage.fromarray(np.zeros((4, 5, 3), np.uint8)).save(path)
    assert inputs.read_input(problem(Image()), str(path), "in:1") is not None
    assert inputs.size(problem(Image()), str(path)) == path.stat().st_size > 1
    assert inputs.size(problem(Image()), f"{tmp_path}/none.png") == inputs.size(problem(Audio()), "a\0b") == 0


@pytest.mark.parametrize("feature,expected", [(Image(), "picture"), (Audio(), "sound")])
def test_an_empty_line_and_a_missing_file_are_named(feature, expected, tmp_path):
    for text, words in ((" ", f"empty; expected the path of a {expected}"), (f"{tmp_path}/none", "none")):
        with pytest.raises(UserError, match=f"^in:3: .*{words}"):
            inputs.read_input(problem(feature), text, "in:3")
        with pytest.raises(UserError, match=f"^(?!: ).*{words}"):
            inputs.read_input(problem(feature), text)
