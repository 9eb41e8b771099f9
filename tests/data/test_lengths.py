"""Batch sizes of problems with and without pictures."""

import pytest
from checks import problem

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_base, multimodel_tiny
from t2t_lite.problems import Image, Label, Text


@pytest.mark.parametrize(
    "rows,columns,strides,patches,expected",
    [
        (224, 224, 4, False, 196),
        (32, 32, 3, True, 16),
        (8, 8, 4, False, 1),
        (47, 17, 2, True, 60),
        (5, 3, 0, False, 15),
    ],
)
def test_positions_of_a_picture_are_those_of_the_net(rows, columns, strides, patches, expected):
    import tensorflow as tf

    from t2t_lite.modalities.image import Image as Net

    pictures = problem("x", Image(rows=rows, columns=columns), Label(("a", "b")))
    hparams = HParams(image_strides=strides, image_patches=patches, image_width=2, hidden_size=8)
    assert lengths.picture_positions(pictures, hparams) == expected
    embedded = Net(pictures.inputs, hparams, name="image").embed_inputs(tf.zeros([1, rows, columns, 3]))
    assert embedded.x.shape == (1, expected, 8)


def test_a_batch_of_pictures_has_at_most_batch_tokens_positions():
    large = Image(rows=224, columns=224)
    base = multimodel_base()
    assert lengths.batch_sizes(problem("x", large, Label(("a",))), base) == {1: 4096 // 196}
    captions = lengths.batch_sizes(problem("x", large, Text()), base)
    assert {boundary: captions[boundary] for boundary in (4, 192, 208, 256)} == {4: 20, 192: 20, 208: 19, 256: 16}
    texts = lengths.batch_sizes(problem("x", Text(), Text()), base)
    assert {boundary: texts[boundary] for boundary in (4, 256)} == {4: 256, 256: 16}


def test_counts_of_a_manifest_become_positions():
    captions = problem("x", Image(rows=64, columns=64), Text())
    assert lengths.with_pictures({1: 5, 9: 2, 16: 3, 40: 1}, captions, HParams()) == {16: 10, 40: 1}
    texts = problem("x", Text(), Text())
    assert lengths.with_pictures({1: 5, 9: 2}, texts, HParams()) == {1: 5, 9: 2}


def test_batches_of_microworld():
    """The figures of the demo were made with these batches."""
    texts = {8: 64, 16: 64, 24: 42, 32: 32, 48: 21, 64: 16, 96: 10, 128: 8}
    names = list(registry.mixtures.get("microworld").rates)
    assert len(names) == 8
    for name in names:
        sizes = lengths.batch_sizes(registry.problems.get(name)(name), multimodel_tiny())
        assert sizes == ({1: 64} if name == "microworld_image" else texts)
