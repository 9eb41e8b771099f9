"""What the weights of the modality nets start from."""

import random

import numpy as np
import pytest
from checks import SMALL

from t2t_lite.modalities.language import Language
from t2t_lite.problems import Text


def test_embedding_and_softmax_start_with_a_variance_of_one_over_the_hidden_size():
    random.seed(0)  # Keras's initializers draw their seeds from here
    net = Language(Text("words"), SMALL, 2000, name="language")
    for weight in (net.embedding, net.softmax):
        assert np.square(weight.numpy()).mean() == pytest.approx(1 / SMALL.hidden_size, rel=0.05)
