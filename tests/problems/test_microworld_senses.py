"""The microworld's pictures and speech: reproducible, faithful to scene and words, and distinguishable."""

import random

import numpy as np
import pytest
from microworld_words import english_words

from t2t_lite.errors import UserError
from t2t_lite.problems.microworld import phonemes, pictures, voice
from t2t_lite.problems.microworld.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, Scene, Thing, sample_scene

HOMOPHONES = [
    {"to", "too", "two"},
    {"one", "won"},
    {"there", "their"},
    {"by", "buy"},
    {"here", "hear"},
    {"no", "know"},
    {"new", "knew"},
]


def single_object(shape="circle", colour="red", size="large", row=1, column=1, background="grey"):
    return Scene((Thing(shape, colour, size, row, column),), background)


@pytest.fixture(scope="module")
def words():
    return sorted(english_words())


def random_sentences(words, count):
    rng = random.Random(5)
    return [" ".join(rng.choices(words, k=4 + i % 8)) for i in range(count)]


def test_a_picture_is_reproducible():
    scene = sample_scene(random.Random(1), 2)
    first, again, other = (pictures.draw(scene, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_has_its_colour_at_its_place(colour, background):
    rng = np.random.default_rng(0)
    for row, column, size in [(0, 0, "small"), (0, 2, "large"), (1, 1, "small"), (2, 1, "large"), (2, 2, "small")]:
        picture = pictures.draw(single_object("circle", colour, size, row, column, background), rng).astype(float)
        y, x = (int(np.clip(5.3 + 10.7 * place, 5, 26)) for place in (row, column))
        seen = picture[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
        palette = pictures.COLOUR_RGB | pictures.BACKGROUND_RGB
        assert min(palette, key=lambda name: np.abs(seen - palette[name]).sum()) == colour
        away = picture[31 if row == 0 else 0, :, :].mean(axis=0)
        assert min(palette, key=lambda name: np.abs(away - palette[name]).sum()) == background


def test_things_are_where_the_scene_says_and_apart():
    rng, chance = np.random.default_rng(0), random.Random(2)
    for i in range(200):
        covers = [pictures._cover(thing, rng) for thing in sample_scene(chance, 2 + i % 2).things]
        assert np.max(np.sum([cover > 0.6 for cover in covers], axis=0)) == 1
        assert all(cover.sum() > 15 for cover in covers)
    for row in range(3):
        for column in range(3):
            for size in SIZES:
                cover = pictures._cover(Thing("square", "red", size, row, column), rng)
                y, x = (cover * np.mgrid[0:32, 0:32]).sum(axis=(1, 2)) / cover.sum()
                assert (int(y / 10.67), int(x / 10.67)) == (row, column)


def test_large_is_larger_than_small():
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        small, large = (
            [pictures._cover(Thing(shape, "red", size, 1, 1), rng).sum() for _ in range(10)] for size in SIZES
        )
        assert min(large) > 1.7 * max(small)


def test_shapes_are_distinguishable_at_any_angle():
    rng = np.random.default_rng(0)

    def profile(shape):
        """How much of each circle around the shape's middle it covers, and how unevenly: the same at all angles."""
        cover = pictures._cover(Thing(shape, "red", "large", 1, 1), rng)
        y, x = np.mgrid[0:32, 0:32]
        middle_y, middle_x = (cover * y).sum() / cover.sum(), (cover * x).sum() / cover.sum()
        distance = np.hypot(y - middle_y, x - middle_x).astype(int)
        return np.bincount(distance.ravel(), cover.ravel(), minlength=12)[:12] / (1 + np.arange(12))

    centroids = {shape: np.mean([profile(shape) for _ in range(20)], axis=0) for shape in SHAPES}
    found = [
        min(SHAPES, key=lambda s: np.abs(profile_seen - centroids[s]).sum()) == shape
        for shape in SHAPES
        for profile_seen in (profile(shape) for _ in range(20))
    ]
    assert np.mean(found) > 0.9


def test_speech_is_reproducible():
    first, again, other = (voice.speak("the red star", np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.dtype == np.float32 and first.ndim == 1
    assert np.abs(first).max() <= 1
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_sentences_last_one_to_four_seconds(words):
    rng = np.random.default_rng(0)
    for sentence in random_sentences(words, 80):
        sound = voice.speak(sentence, rng)
        assert 1 <= len(sound) / voice.SAMPLE_RATE <= 4.01, sentence
        assert 0.02 < np.sqrt(np.mean(sound**2)) < 0.3


def test_speech_begins_and_ends_quietly():
    sound = voice.speak("the red star is left of the moon", np.random.default_rng(0))
    level = np.sqrt(np.mean(sound**2))
    assert max(np.abs(sound[:250]).mean(), np.abs(sound[-250:]).mean()) < 0.3 * level


def test_words_sound_different_unless_they_are_homophones(words):
    spoken = {}
    for word in words:
        for part in phonemes.words_of(word):
            spoken.setdefault(phonemes.pronounce(part), set()).add(part)
    assert [same for same in spoken.values() if len(same) > 1 and not any(same <= h for h in HOMOPHONES)] == []


@pytest.mark.parametrize(
    "word, sound",
    [
        ("circle", "S ER K AX L"),
        ("thing", "TH IH NG"),
        ("those", "DH OW Z"),
        ("knight", "N AY T"),
        ("baking", "B EY K IH NG"),
        ("jumped", "JH AH M P T"),
        ("painted", "P EY N T IH D"),
        ("boxes", "B AA K S IH Z"),
        ("shapes", "SH EY P S"),
        ("phone", "F OW N"),
    ],
)
def test_pronunciation(word, sound):
    assert phonemes.pronounce(word) == tuple(sound.split())


def test_any_letters_can_be_spoken():
    chance = random.Random(0)
    for _ in range(2000):
        word = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9)))
        assert phonemes.pronounce(word) and set(phonemes.pronounce(word)) <= set(voice._SEGMENTS)
    for entry in phonemes.IRREGULAR.values():
        assert set(entry) <= set(voice._SEGMENTS)


def test_digits_are_read_and_punctuation_is_not():
    assert phonemes.words_of("Isn't it 12, too?") == ["isnt", "it", "one", "two", "too"]
    with pytest.raises(UserError, match="nothing to speak"):
        voice.speak("...", np.random.default_rng(0))


def pitch_of(sound):
    """Returns the pitch where the sound is loudest, in Hz, by autocorrelation."""
    loudest = np.clip(np.argmax(np.convolve(sound**2, np.ones(400), "same")), 300, len(sound) - 300)
    vowel = sound[loudest - 300 : loudest + 300]
    correlation = np.correlate(vowel, vowel, "full")[len(vowel) - 1 :] / np.arange(len(vowel), 0, -1)  # from lag 0 on
    return voice.SAMPLE_RATE / (26 + np.argmax(correlation[26:100]))


def test_voices_have_their_pitch():
    for speaker in voice.VOICES:
        measured = [pitch_of(voice.speak("are", np.random.default_rng(seed), speaker)) for seed in range(7)]
        assert abs(np.median(measured) / speaker.pitch - 1) < 0.12


def log_mel(sound):
    """A coarse log spectrogram of fixed size: (20 moments, 16 bands)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 256)[::64] * np.hanning(256)
    edges = np.geomspace(4, 128, 17).astype(int)
    bands = np.log(np.add.reduceat(np.abs(np.fft.rfft(frames)) ** 2, edges[:-1], axis=1) + 1e-3)
    loud = np.flatnonzero(bands.max(axis=1) > bands.max() - 4)
    moments = np.linspace(loud[0], loud[-1], 20).astype(int)
    return bands[moments] - bands[moments].mean()


def test_words_are_distinguishable_by_their_sound():
    vocabulary = [*COLOURS, *SHAPES, *SIZES]
    rng = np.random.default_rng(0)
    centroids = np.array([np.mean([log_mel(voice.speak(w, rng)) for _ in range(12)], axis=0) for w in vocabulary])
    right = [
        np.argmin(np.abs(centroids - log_mel(voice.speak(word, rng))).sum(axis=(1, 2))) == i
        for i, word in enumerate(vocabulary)
        for _ in range(8)
    ]
    assert np.mean(right) > 0.8
