"""CIDEr-D where there is nothing to compare."""

from t2t_lite.evaluation import cider


def test_a_picture_without_captions_scores_zero():
    assert cider.cider_d(["a b", "c d"], [[], ["c d"]])[0] == 0


def test_words_have_no_punctuation_and_keep_their_apostrophes():
    assert cider.words_of("A dog's bone, it isn\u2019t here_now!") == [
        "a",
        "dog's",
        "bone",
        "it",
        "isn\u2019t",
        "here",
        "now",
    ]
