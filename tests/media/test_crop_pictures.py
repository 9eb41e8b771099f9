"""What the network sees of pictures: windows in their own aspect, drawn in training, in the middle otherwise."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as PilImage

from t2t_lite import registry
from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.hparams import HParams
from t2t_lite.media.crop_pictures import CropSeed, decode_and_crop
from t2t_lite.media.picture_files import image_bytes
from t2t_lite.problems import Image, Label, Problem

NET = 32  # rows and columns that the network sees
COVER = (36, 36)  # what is stored of a large picture: 8/7 of it
SIZES = [(36, 60), (32, 32), (90, 40), (8, 8), (200, 300), (33, 34)]


def places(rows, columns):
    """A picture whose red tells the row and whose green the column."""
    row, column = np.mgrid[:rows, :columns].astype(np.uint8)
    return np.stack([row, column, 0 * row], axis=-1)


def png(picture):
    content = io.BytesIO()
    PilImage.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def seen(pictures, rows=NET, columns=NET, draw=None):
    """What is read of pictures, 0 to 255."""
    stored = tf.constant([picture if isinstance(picture, bytes) else png(picture) for picture in pictures])
    found = decode_and_crop(stored, rows, columns, draw).numpy()
    assert found.shape == (len(pictures), rows, columns, 3) and found.dtype == np.uint8
    return found.astype(np.float32)


def drawn(pictures, seed=0, flip=False, first=0):
    index = tf.range(first, first + len(pictures), dtype=tf.int64)
    return seen(pictures, draw=CropSeed(tf.constant([seed, 0], tf.int64), index, flip))


class TestMiddle:
    @pytest.mark.parametrize(
        ("size", "wanted", "top", "left"),
        [
            ((36, 60), (32, 32), 2, 14),
            ((32, 32), (32, 32), 0, 0),
            ((35, 32), (32, 32), 1, 0),
            ((30, 36), (8, 32), 11, 2),
        ],
    )
    def test_a_window_of_the_wanted_size_is_cut_out_as_it_is(self, size, wanted, top, left):
        picture = places(*size)
        (found,) = seen([picture], *wanted)
        np.testing.assert_allclose(found, picture[top : top + wanted[0], left : left + wanted[1]], atol=1e-4)

    @pytest.mark.parametrize(
        ("size", "window"),
        [
            ((20, 50), (20, 20)),  # too small: as much as there is
            ((240, 160), (140, 140)),  # 7/8 of the shorter side
        ],
    )
    def test_another_window_is_resized_in_its_aspect(self, size, window):
        (found,) = seen([places(*size)])
        for axis, channel in enumerate((0, 1)):
            places_seen = found[..., channel].mean(axis=1 - axis)
            middle, length = (size[axis] - 1) / 2, window[axis]
            np.testing.assert_allclose(places_seen.mean(), middle, atol=0.6)
            np.testing.assert_allclose(
                (places_seen[-4] - places_seen[3]) / 25, length / NET, atol=1 / 25
            )  # two values rounded to integers

    def test_a_square_no_larger_is_all_seen(self):
        rng = np.random.default_rng(0)
        for side in (1, 8, 31, 32):
            picture = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
            wanted = tf.round(tf.image.resize(picture, [NET, NET], antialias=True))  # no change if it has this size
            stored = tf.constant([png(picture)])
            draw = CropSeed(tf.constant([3, 1], tf.int64), tf.constant([5], tf.int64), False)
            for each in (None, draw):
                np.testing.assert_array_equal(decode_and_crop(stored, NET, NET, each)[0], wanted)


class TestDraws:
    def test_windows_are_anywhere_inside_and_upright(self):
        picture = places(36, 60)
        found = drawn([picture] * 300)
        tops, lefts = np.rint(found[:, 0, 0, 0]).astype(int), np.rint(found[:, 0, 0, 1]).astype(int)
        for one, top, left in zip(found, tops, lefts, strict=True):
            np.testing.assert_allclose(one, picture[top : top + NET, left : left + NET], atol=1e-4)
        assert set(tops) == set(range(5))
        assert lefts.min() == 0 and lefts.max() == 28 and len(set(lefts)) == 29
        assert np.abs(np.bincount(tops) / 300 - 0.2).max() < 0.08

    def test_half_are_flipped_where_asked(self):
        picture = places(32, 32)
        found = drawn([picture] * 200, flip=True)
        flipped = found[:, 0, 0, 1] > 16
        assert 70 < flipped.sum() < 130
        np.testing.assert_allclose(found[flipped], np.broadcast_to(picture[:, ::-1], found[flipped].shape), atol=1e-4)
        np.testing.assert_allclose(found[~flipped], np.broadcast_to(picture, found[~flipped].shape), atol=1e-4)

    def test_follow_from_seed_and_number_alone(self):
        pictures = [places(50, 60)] * 6
        all_six = drawn(pictures, seed=4)
        np.testing.assert_array_equal(drawn(pictures, seed=4), all_six)
        np.testing.assert_array_equal(drawn(pictures[:2], seed=4, first=3), all_six[3:5])
        assert np.abs(drawn(pictures, seed=5) - all_six).max() > 1
        assert np.abs(all_six[1:] - all_six[:-1]).max() > 1


class Places(Problem):
    """Pictures of several sizes, told apart by their blue."""

    inputs = Image(NET, NET)
    targets = Label(classes=("a", "b"))
    random_flip = True

    def examples(self, split, raw_dir):
        for number in range(60 if split == "train" else len(SIZES)):
            picture = places(*SIZES[number % len(SIZES)])
            picture[..., 2] = number
            yield {"inputs": picture, "targets": "ab"[number % 2]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with registry.problems.temporary():
        registry.problems.register(Places, name="places")
        generate(["places"], folder, folder, num_workers=1)
        yield Dataset.open(folder, "places")


HPARAMS = HParams(batch_max_examples=7)


def train(dataset, number, **kwargs):
    batches = dataset.batches("train", HPARAMS, shuffle=True, repeat=True, **kwargs).take(number)
    return [(batch["index"].numpy(), batch["inputs"].numpy()) for batch in batches]


def by_index(batches):
    return {int(i): picture for index, pictures in batches for i, picture in zip(index, pictures, strict=True)}


class TestTraining:
    def test_every_epoch_draws_again(self, dataset):
        read = train(dataset, 18)  # nine batches an epoch
        first, second = by_index(read[:9]), by_index(read[9:])
        assert len(first) == len(second) == 60
        same = [np.array_equal(first[i], second[i]) for i in range(60)]
        assert 0 < sum(same) < 20
        for index, picture in first.items():
            assert picture[5, 5, 2] == index
            assert (np.diff(picture[:, 9, 0].astype(int)) >= 0).all()  # never upside down

    def test_the_same_wherever_training_takes_up(self, dataset, monkeypatch):
        whole = train(dataset, 24, seed=2)
        for skip, threads in ((1, 2), (9, 1), (13, 16)):
            monkeypatch.setattr("t2t_lite.data.reading._THREADS", threads)
            for (index, pictures), (expected, wanted) in zip(
                train(dataset, 5, seed=2, skip=skip), whole[skip : skip + 5], strict=True
            ):
                np.testing.assert_array_equal(index, expected)
                np.testing.assert_array_equal(pictures, wanted)
        assert any(not np.array_equal(a[1], b[1]) for a, b in zip(whole, train(dataset, 24, seed=3), strict=True))

    def test_scores_and_answers_see_the_middle(self, dataset):
        raw = [example["inputs"] for example in dataset.problem.examples("dev", None)]
        (batch,) = dataset.batches("dev", HPARAMS)
        np.testing.assert_array_equal(batch["index"], range(len(SIZES)))
        given = dataset.inputs_batch([png(each) for each in raw])["inputs"]
        # Large ones are stored smaller, and rounded.
        np.testing.assert_allclose(tf.cast(batch["inputs"], tf.int32), tf.cast(given, tf.int32), atol=5)
        np.testing.assert_array_equal(batch["inputs"], seen([image_bytes(each, COVER) for each in raw]))
        np.testing.assert_array_equal(batch["inputs"][0, ..., 1], np.broadcast_to(np.arange(14, 46), (NET, NET)))


class TestStored:
    @pytest.mark.parametrize(
        ("size", "stored"),
        [
            ((36, 60), (36, 60)),
            ((40, 37), (39, 36)),
            ((300, 200), (54, 36)),
            ((20, 1000), (20, 144)),  # the ends of a panorama are cut off
            ((1000, 100), (144, 36)),
        ],
    )
    def test_covers_a_little_more_than_is_seen(self, size, stored):
        picture = PilImage.open(io.BytesIO(image_bytes(np.zeros((*size, 3), np.uint8), COVER)))
        assert (picture.height, picture.width) == stored

    def test_the_middle_of_a_panorama_is_kept(self):
        picture = np.zeros((30, 400, 3), np.uint8)
        picture[:, 200:] = 255
        stored = np.asarray(PilImage.open(io.BytesIO(image_bytes(picture, COVER))))
        assert stored.shape == (30, 144, 3)
        assert not stored[:, :72].any() and stored[:, 72:].all()


def test_only_what_a_mirror_leaves_as_it_is_gets_flipped():
    ours = {name: registry.problems.get(name) for name in registry.problems.describe()}
    flipped = {name for name, one in ours.items() if one.random_flip and one.__module__.startswith("t2t_lite.")}
    assert flipped == {"image_imagenet2012", "image_imagenette", "image_cifar10"}
