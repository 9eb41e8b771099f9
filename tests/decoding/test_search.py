"""Greedy search, beam search and sampling, compared with exhaustive search and with each other."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, batch_of, close, five_problems, problem, randomize

from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.sampling import SamplingDecoder, sample_tokens
from t2t_lite.decoding.search import END, search_left_to_right
from t2t_lite.errors import UserError
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Text

TINY = 4  # ids of the tiny vocabulary: padding, end and two more
LIMIT = 4


@pytest.fixture(scope="module")
def tiny():
    """A model with a vocabulary so small that every output can be scored."""
    text = Text("words", TINY)
    hparams = SMALL.replace(encoder_blocks=1, decoder_blocks=1)
    return randomize(MultiModel(hparams, {"copy": problem("copy", text, text, "copy")}, {"words": TINY}), seed=3)


@pytest.fixture(scope="module")
def model():
    return randomize(MultiModel(SMALL, five_problems(), {"words": 30}))


@pytest.fixture(scope="module")
def greedy(model):
    return GreedyDecoder(model)


INPUTS = tf.constant([[2, 3, 2, 1], [3, 3, 1, 0], [2, 1, 0, 0]], tf.int32)


def inputs_of(model, name, rows):
    return {k: v for k, v in batch_of(model.problems[name], rows=rows, source=9).items() if k != "targets"}


def exhaustive(model, inputs):
    """{output: log-probability} per input of all outputs that end within the limit, by teacher forcing."""
    bodies = [body for n in range(LIMIT) for body in itertools.product([2, 3], repeat=n)]
    outputs = [(*body, END) for body in bodies]
    padded = np.array([output + (0,) * (LIMIT - len(output)) for output in outputs], np.int32)
    scored = []
    for row in inputs:
        batch = {"inputs": tf.tile(row[None], [len(padded), 1]), "targets": tf.constant(padded)}
        log_probs = tf.nn.log_softmax(model.score("copy", batch).logits).numpy()
        scored.append({o: sum(log_probs[i, t, token] for t, token in enumerate(o)) for i, o in enumerate(outputs)})
    return scored


def rows_of(decoded):
    """[(output without padding, score, finished)]"""
    rows = zip(decoded.ids.numpy().tolist(), decoded.scores.numpy(), decoded.finished.numpy(), strict=True)
    return [(tuple(ids[: ids.index(END) + 1] if END in ids else ids), score, end) for ids, score, end in rows]


def same_rows(found, expected):
    for (ids, score, end), (other_ids, other_score, other_end) in zip(rows_of(found), rows_of(expected), strict=True):
        assert ids == other_ids and end == other_end
        assert score == pytest.approx(other_score, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_wide_beam_equals_exhaustive_search(tiny, alpha):
    answers = 5
    decoded = rows_of(BeamDecoder(tiny, TINY**LIMIT, alpha, answers)("copy", {"inputs": INPUTS}, LIMIT))
    lengths = set()
    for row, scores in enumerate(exhaustive(tiny, INPUTS)):
        best = sorted(scores, key=lambda o: -scores[o] / ((5 + len(o)) / 6) ** alpha)[:answers]
        found = decoded[row * answers : (row + 1) * answers]
        assert [output for output, _, _ in found] == best
        close([score for _, score, _ in found], [scores[o] for o in best], 1e-3)
        assert all(finished for _, _, finished in found)
        lengths |= {len(o) for o in best}
    assert len(lengths) > 1  # otherwise the penalty has no effect


def plain_beam_search(model, row, beams, alpha, answers):
    """Beam search in plain Python, by teacher forcing: [(output, log-probability, finished)]."""
    opened, closed = [((), 0.0)], []
    for position in range(LIMIT):
        targets = np.array([(*ids, *[2] * (LIMIT - position)) for ids, _ in opened], np.int32)
        batch = {"inputs": tf.tile(row[None], [len(opened), 1]), "targets": tf.constant(targets)}
        log_probs = tf.nn.log_softmax(model.score("copy", batch).logits).numpy()[:, position]
        likely = sorted(
            (
                ((*ids, token), score + log_probs[i, token])
                for i, (ids, score) in enumerate(opened)
                for token in (1, 2, 3)
            ),
            key=lambda hypothesis: -hypothesis[1],
        )[: 2 * beams]
        penalty = ((5 + position + 1) / 6) ** alpha
        closed += [(score / penalty, ids, score) for ids, score in likely[:beams] if ids[-1] == END]
        closed = sorted(closed, reverse=True)[:beams]
        opened = [(ids, score) for ids, score in likely if ids[-1] != END][:beams]
        overtaken = len(closed) >= answers and closed[answers - 1][0] >= opened[0][1] / ((5 + LIMIT) / 6) ** alpha
        if len(closed) == beams or overtaken:
            break
    found = [(ids, score, True) for _, ids, score in closed] + [(ids, score, False) for ids, score in opened]
    return found[:answers]


@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("beams", [2, 3])
def test_a_narrow_beam_equals_beam_search_in_plain_python(tiny, beams, alpha):
    decoded = rows_of(BeamDecoder(tiny, beams, alpha, beams)("copy", {"inputs": INPUTS}, LIMIT))
    expected = [found for row in INPUTS for found in plain_beam_search(tiny, row, beams, alpha, beams)]
    assert [(ids, end) for ids, _, end in decoded] == [(ids, end) for ids, _, end in expected]
    close([score for _, score, _ in decoded], [score for _, score, _ in expected], 1e-3)


@pytest.mark.slow
def test_a_larger_length_penalty_gives_longer_answers(tiny):
    lengths = []
    for alpha in (0.0, 1.0, 5.0):
        decoded = BeamDecoder(tiny, 64, alpha)("copy", {"inputs": INPUTS}, LIMIT)
        lengths.append(sum(len(output) for output, _, _ in rows_of(decoded)))
    assert lengths[0] < lengths[-1] and lengths == sorted(lengths)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_one_beam_equals_greedy_search(model, greedy, alpha):
    beam = BeamDecoder(model, 1, alpha)
    for name, rows in (("translate", 8), ("caption", 2), ("speech", 3)):
        inputs = inputs_of(model, name, rows)
        same_rows(beam(name, inputs, 9), greedy(name, inputs, 9))


def test_more_beams_find_more_probable_answers(model, greedy):
    inputs = inputs_of(model, "translate", 8)
    one, six = greedy("translate", inputs, 9), BeamDecoder(model, 6, 0.0)("translate", inputs, 9)
    both = (one.finished & six.finished).numpy()
    better = (six.scores - one.scores).numpy()[both]
    assert both.any() and np.all(better > -1e-4)
    assert [ids for ids, _, _ in rows_of(one)] != [ids for ids, _, _ in rows_of(six)]


@pytest.mark.parametrize(
    "make",
    [
        lambda model: BeamDecoder(model, 4, 0.6, answers=2),
        lambda model: SamplingDecoder(model, answers=2, temperature=0.7, top_k=9, top_p=0.9, seed=5),
    ],
    ids=["beam", "sampling"],
)
def test_an_answer_does_not_depend_on_the_batch(model, make):
    decoder, inputs = make(model), inputs_of(model, "translate", 5)["inputs"]
    together = rows_of(decoder("translate", {"inputs": inputs}, 8))
    assert len(together) == 10
    for row in range(5):
        length = int(tf.math.count_nonzero(inputs[row]))
        alone = rows_of(decoder("translate", {"inputs": inputs[row : row + 1, :length]}, 8))
        for (ids, score, finished), (alone_ids, alone_score, alone_finished) in zip(
            together[2 * row : 2 * row + 2], alone, strict=True
        ):
            assert tuple(t for t in ids if t) == tuple(t for t in alone_ids if t)
            assert score == pytest.approx(alone_score, abs=1e-3) and finished == alone_finished


@pytest.mark.slow
def record_sizes(decoder, monkeypatch):
    """Returns a list that gets the number of rows of each position."""
    sizes, next_log_probs = [], decoder.next_log_probs

    def recorded(net, x, state):
        size = tf.numpy_function(lambda n: sizes.append(int(n)) or n, [tf.shape(x)[0]], tf.int32)
        with tf.control_dependencies([size]):
            return next_log_probs(net, tf.identity(x), state)

    monkeypatch.setattr(decoder, "next_log_probs", recorded)
    return sizes


def test_rows_that_have_ended_leave_when_they_are_most(model, monkeypatch):
    decoder = GreedyDecoder(model)
    sizes = record_sizes(decoder, monkeypatch)
    count_up = lambda log_probs, position, rows: tf.where(rows <= position, END, 2 + rows)  # noqa: E731
    monkeypatch.setattr(decoder, "search", lambda net, inputs: search_left_to_right(decoder, net, inputs, count_up))
    decoded = decoder("translate", inputs_of(model, "translate", 8), 20)
    assert sizes == [8] * 5 + [3] * 2 + [1]
    assert [ids for ids, _, _ in rows_of(decoded)] == [(2 + row,) * row + (END,) for row in range(8)]
    batch = {**inputs_of(model, "translate", 8), "targets": decoded.ids}
    close(decoded.scores, -tf.reduce_sum(model.score("translate", batch).loss, axis=1), 1e-3)


def test_inputs_leave_a_beam_search(tiny, monkeypatch):
    inputs = tf.constant([*itertools.product([1, 2, 3], repeat=3)], tf.int32)
    one = BeamDecoder(tiny, 3, 0.6, 2)
    alone = [answer for row in inputs for answer in rows_of(one("copy", {"inputs": row[None]}, 12))]
    decoder = BeamDecoder(tiny, 3, 0.6, 2)
    sizes = record_sizes(decoder, monkeypatch)
    together = rows_of(decoder("copy", {"inputs": inputs}, 12))
    assert sizes[0] == 27 * 3 and 0 < sizes[-1] < 14 * 3, sizes
    for (ids, score, end), (other_ids, other_score, other_end) in zip(together, alone, strict=True):
        assert ids == other_ids and end == other_end and score == pytest.approx(other_score, abs=1e-3)


def test_answers_cut_by_the_length_limit_are_not_finished(model):
    inputs = inputs_of(model, "translate", 8)
    for decoder in (BeamDecoder(model, 3, answers=3), SamplingDecoder(model, answers=3)):
        rows = rows_of(decoder("translate", inputs, 2))
        assert len(rows) == 24
        assert all(finished == (END in ids) for ids, _, finished in rows)
        assert not all(finished for _, _, finished in rows)
        assert all(ids for ids, _, _ in rows)


class TestSampling:
    @pytest.mark.slow
    def test_the_seed_determines_the_samples(self, model):
        inputs = inputs_of(model, "speech", 3)
        first, again, other = (
            SamplingDecoder(model, answers=2, temperature=2.0, seed=seed)("speech", inputs, 6).ids.numpy()
            for seed in (7, 7, 8)
        )
        assert first.tolist() == again.tolist() != other.tolist()
        assert first[0].tolist() != first[1].tolist()  # two answers to one input

    @pytest.mark.slow
    def test_low_temperature_top_k_1_and_small_top_p_equal_greedy_search(self, model, greedy):
        inputs = inputs_of(model, "translate", 4)
        for cut in ({"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}):
            same_rows(SamplingDecoder(model, seed=3, **cut)("translate", inputs, 7), greedy("translate", inputs, 7))

    def test_scores_are_log_probabilities_of_the_model(self, tiny):
        decoded = SamplingDecoder(tiny, answers=4, temperature=3.0, top_p=0.99)("copy", {"inputs": INPUTS}, LIMIT)
        expected = exhaustive(tiny, INPUTS)
        ended = [(i // 4, ids, score) for i, (ids, score, finished) in enumerate(rows_of(decoded)) if finished]
        assert ended
        for row, ids, score in ended:
            assert score == pytest.approx(expected[row][ids], abs=1e-3)

    @pytest.mark.parametrize(
        "cut,expected",
        [
            ({}, [0.5, 0.3, 0.15, 0.05]),
            ({"temperature": 0.5}, np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365),
            ({"top_k": 2}, [0.625, 0.375, 0, 0]),
            ({"top_p": 0.8}, [0.625, 0.375, 0, 0]),
            ({"top_p": 0.81}, np.array([0.5, 0.3, 0.15, 0]) / 0.95),
            ({"top_k": 3, "top_p": 0.1}, [1, 0, 0, 0]),
        ],
    )
    def test_frequencies_follow_the_filtered_distribution(self, cut, expected):
        tokens = [2, 0, 3, 1]  # from the likeliest to the least likely
        chances = np.zeros(4)
        chances[tokens] = [0.5, 0.3, 0.15, 0.05]
        uniform = (np.arange(2000) + 0.5) / 2000
        drawn = sample_tokens(
            tf.tile(tf.constant(np.log(chances), tf.float32)[None], [2000, 1]), tf.constant(uniform, tf.float32), **cut
        )
        found = np.bincount(drawn, minlength=4)[tokens] / 2000
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    "text,message",
    [
        ("beam_size=0", "beam_size=0: must be at least 1"),
        ("alpha=-1", "alpha=-1.0: must be at least 0"),
        ("temperature=0,sampling=true", "temperature=0.0: must be above 0"),
        ("top_p=1.5,sampling=true", "top_p=1.5: must be above 0 and at most 1"),
        ("top_k=3", "top_k is for sampling: add sampling=true"),
        ("sampling=true,beam_size=2", "exclude each other"),
        ("sampling=maybe", "sampling=maybe: expected true or false"),
        ("beams=2", "no hparam 'beams'"),
    ],
)
def test_wrong_or_exclusive_settings_are_refused(text, message):
    with pytest.raises(UserError, match="^--decode_hparams: .*" + message):
        DecodeHParams.parse(text)


def test_more_answers_than_beams_are_refused_for_texts():
    DecodeHParams.parse("return_beams=3,sampling=true").check_beams()
    DecodeHParams.parse("return_beams=3,beam_size=3").check_beams()
    with pytest.raises(UserError, match="return_beams=3 needs at least beam_size=3"):
        DecodeHParams.parse("return_beams=3").check_beams()


def test_the_search_is_traced_once_for_all_batches_and_limits(tiny):
    decoder = BeamDecoder(tiny, 2)
    for inputs, limit in ((INPUTS, LIMIT), (INPUTS[1:, :3], 2), (tf.concat([INPUTS, INPUTS], axis=1), 3)):
        decoder("copy", {"inputs": inputs}, limit)
    (search,) = decoder._searches.values()
    assert search.experimental_get_tracing_count() == 1
