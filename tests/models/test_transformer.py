"""The Transformer: equations, causality, masks, `step` against `decode`, searches, sizes, unread hparams."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import (
    NOISE,
    SMALL,
    batch_of,
    check_selected_steps,
    close,
    eagerly,
    five_problems,
    floats,
    lengths_mask,
    normal,
    randomize,
)

from t2t_lite import registry
from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams, transformers
from t2t_lite.hparams.sets import multimodel_base, multimodel_tiny, transformer_tiny, transformer_tiny_equal_flops
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.models.transformer import Transformer, TransformerBody
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import count_parameters, flops_per_position
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.shapes_only import shapes_only
from t2t_lite.training.step import TrainStep

PLAIN = SMALL.replace(**transformers.UNREAD, dropout=0.1)
HEADS = PLAIN.num_heads
NAMES = ("translate", "caption", "classes")


@pytest.fixture(scope="module")
def body():
    return randomize(TransformerBody(PLAIN, name="body"))


@pytest.fixture(scope="module")
def model():
    problems = {name: problem for name, problem in five_problems().items() if name in NAMES}
    return randomize(Transformer(PLAIN, problems, {"words": 30}))


ENCODED, VALID = normal(3, 9, 16), lengths_mask([9, 1, 5], 9)
TARGETS, COMMAND = normal(3, 8, 16, seed=1), normal(3, 16, seed=2)


def decode(body, targets=TARGETS, encoded=ENCODED, valid=VALID, command=COMMAND, **more):
    return body.decode(floats(targets), floats(encoded), tf.constant(valid), floats(command), **more)[0]


# The body


def test_encoder_equals_numpy(body):
    encoded, sums = body.encode(floats(ENCODED), tf.constant(VALID))
    close(encoded[VALID], reference.transformer_encoder(body.encoder, ENCODED, VALID, HEADS)[VALID], 1e-3)
    assert not np.any(sums) and sums.shape[0] == 3


def test_decode_equals_numpy(body):
    close(decode(body), reference.transformer_decode(body, TARGETS, ENCODED, VALID, COMMAND, HEADS), 1e-3)


def test_an_output_depends_on_no_later_target(body):
    before, later = decode(body), TARGETS.copy()
    later[:, 4:] = 5.0 * normal(3, 4, 16, seed=3)
    after = decode(body, later)
    close(after[:, :5], before[:, :5])  # position 4 depends on those before 4
    assert np.abs(after - before)[:, 5:].max() > 0.01


def test_padding_of_the_inputs_changes_nothing(body):
    other = np.where(VALID[:, :, None], ENCODED, 1000.0)
    close(decode(body, encoded=other), decode(body))
    encode = lambda x: body.encode(floats(x), tf.constant(VALID))[0][VALID]  # noqa: E731
    close(encode(other), encode(ENCODED))
    row = slice(2, 3)
    alone = decode(body, TARGETS[row], ENCODED[row, :5], VALID[row, :5], COMMAND[row])
    close(decode(body)[row], alone)


def test_positions_and_command_count(body):
    moved = body.encode(floats(np.roll(ENCODED, 1, axis=1)), tf.ones([3, 9], tf.bool))[0]
    still = body.encode(floats(ENCODED), tf.ones([3, 9], tf.bool))[0]
    assert np.abs(np.roll(still, 1, axis=1) - moved).max() > 0.01
    assert np.abs(decode(body, command=-COMMAND) - decode(body))[:, -1].max() > 0.01


def test_step_equals_decode(body):
    decoded = decode(body)
    state = body.initial_state(floats(ENCODED), tf.constant(VALID), tf.constant(11))
    x = floats(COMMAND)
    for position in range(8):
        x, state = body.step(x, state)
        close(x, decoded[:, position])
        x = floats(TARGETS[:, position])


def test_steps_of_reordered_beams(body):
    check_selected_steps(body, (floats(ENCODED), VALID), COMMAND, TARGETS[:, :4])


def test_dropout_only_with_a_seed(body):
    plain, noisy, again = (decode(body, noise=noise) for noise in (None, NOISE, NOISE))
    assert np.array_equal(noisy, again) and np.abs(noisy - plain).max() > 0.01


def test_watched_attention_is_that_of_each_block_over_valid_positions(body):
    with body.watch_source_attention() as seen:
        decode(body)
    assert list(seen) == ["body.decoder.block0", "body.decoder.block1"]
    for weights in seen.values():
        assert weights.shape == (3, HEADS, 8, 9)
        close(tf.reduce_sum(weights, -1), 1.0)
        assert np.asarray(weights).transpose(0, 3, 1, 2)[~VALID].max() < 1e-6


# The model


def test_every_weight_gets_a_gradient(model):
    trained = set()
    for name in NAMES:
        with eagerly(), tf.GradientTape() as tape:
            loss = tf.reduce_sum(model.score(name, batch_of(model.problems[name]), NOISE).loss)
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(model.trainable_variables, gradients, strict=True)
        trained |= {w.path for w, g in pairs if g is not None and np.abs(tf.convert_to_tensor(g)).max() > 0}
    assert trained == {w.path for w in model.weights}


def test_a_training_step_reports_no_experts_and_changes_weights():
    with eagerly():
        model = Transformer(PLAIN.replace(encoder_blocks=1, decoder_blocks=1, dropout=0.0), translate(), {"words": 30})
        step = TrainStep(Devices(), [(model, make_optimizer(model.hparams, model.trainable_variables))])
        batch = batch_of(model.problems["translate"])
        losses = [step("translate", batch, number) for number in range(3)]
    assert losses[2]["loss"] < losses[0]["loss"] and losses[0]["balance"] == 0
    assert not [key for key in losses[0] if "expert" in key]


def test_score_equals_numpy(model):
    batch, net = batch_of(model.problems["translate"]), model.language_words
    ids, targets = batch["inputs"].numpy(), batch["targets"].numpy()
    matrix = 4.0 * reference.array(net.embedding)  # 4 = sqrt(D)
    encoded = reference.transformer_encoder(model.body.encoder, matrix[ids], ids != 0, HEADS)
    command = np.tile(reference.array(model.commands)[model.command_names.index("to_english")], (3, 1))
    decoded = reference.transformer_decode(model.body, matrix[targets], encoded, ids != 0, command, HEADS)
    logits, valid = decoded @ reference.array(net.softmax), targets != 0
    close(model.score("translate", batch).logits[valid], logits[valid], 2e-3)


def test_greedy_and_beam_search_find_what_score_prefers(model):
    inputs = {"inputs": batch_of(model.problems["translate"], rows=4)["inputs"]}
    greedy = GreedyDecoder(model)("translate", inputs, 7)
    ids = greedy.ids.numpy()
    padded = np.pad(ids, [(0, 0), (0, 1)])
    logits = model.score("translate", inputs | {"targets": tf.constant(padded)}).logits.numpy()
    for row, length in enumerate((ids != 0).sum(1)):
        assert (1 + logits[row, :length, 1:].argmax(-1)).tolist() == ids[row, :length].tolist()
    beam = BeamDecoder(model, 3, 0.0)("translate", inputs, 7)
    both = (greedy.finished & beam.finished).numpy()
    assert np.all((beam.scores - greedy.scores).numpy()[both] > -1e-4)
    scored = model.score("translate", inputs | {"targets": beam.ids})
    close(beam.scores, -tf.reduce_sum(scored.loss, 1), 1e-3)


def test_parts_are_named_for_freezing_and_only_those_a_problem_uses(model):
    assert {"body.encoder", "body.decoder", "commands", "image", "language_words"} < set(model.parts())
    assert "body.decoder" not in model.parts("classes") and "image" not in model.parts("translate")
    weights = [weight for part in model.parts().values() for weight in part]
    assert len(weights) == len({id(w) for w in weights}) == len(model.weights)


# Sizes


@pytest.fixture(scope="module")
def counted():
    """{set: (weights, FLOPs per position) of the body}."""
    sets, found = {"multimodel_tiny": MultiModel}, {}
    sets |= dict.fromkeys(("transformer_tiny", "transformer_tiny_equal_flops"), Transformer)
    for name, model_class in sets.items():
        hparams = registry.hparams_sets.get(name)()
        with shapes_only():
            made = model_class(hparams, {"translate": five_problems()["translate"]}, {"words": 30})
        flops = {part: each for part, each in flops_per_position(made, hparams).items() if "softmax" not in part}
        body = {k: v for k, v in count_parameters(made).items() if k in (*flops, "experts")}
        assert sum(body.values()) == sum(int(np.prod(w.shape)) for w in made.body.weights)
        expected = (transformers.multi_model_weights, transformers.transformer_weights)[model_class is Transformer]
        assert sum(expected(hparams)) == sum(body.values())
        found[name] = sum(body.values()), sum(flops.values())
    return found


def test_tiny_transformers_are_as_large_or_as_costly_as_multimodel_tiny(counted):
    weights, flops = zip(*counted.values(), strict=True)
    assert weights[1] == pytest.approx(weights[0], rel=0.01) and weights[2] < weights[0]
    assert flops[2] == pytest.approx(flops[0], rel=0.01) and flops[1] > flops[0]
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf8")
    for name, (size, cost) in counted.items():
        assert re.search(rf"\| `{name}` \|.*\| {size:,} \| {cost:,} \|", page), (name, size, cost)


@pytest.mark.parametrize("start", [multimodel_base(), multimodel_base().replace(use_experts=False), SMALL])
def test_equal_sizes_of_other_sets(start):
    made = transformers.equal_parameters(start)
    target = sum(transformers.multi_model_weights(start))
    assert sum(transformers.transformer_weights(made)) == pytest.approx(target, rel=0.05)
    assert made.hidden_size == start.hidden_size and 0.5 < made.filter_size / (4 * made.hidden_size) < 2
    made = transformers.equal_flops(start)
    assert sum(transformers.transformer_weights(made)) <= 1.05 * target


@pytest.mark.parametrize("make", [transformer_tiny, transformer_tiny_equal_flops])
def test_training_hparams_are_those_of_multimodel_tiny(make):
    differing = {k for k, v in vars(make()).items() if v != getattr(multimodel_tiny(), k)}
    assert differing <= {*transformers.UNREAD, "encoder_blocks", "decoder_blocks", "filter_size"}


# Hparams


@functools.cache
def translate():
    return {"translate": five_problems()["translate"]}


def test_hparams_that_it_does_not_read_are_an_error():
    with pytest.raises(UserError) as raised:
        Transformer(PLAIN.replace(mixer_blocks=3, recompute=True), translate(), {"words": 30})
    message = str(raised.value)
    assert "--model=transformer: this model does not read the hparams mixer_blocks=3, recompute=True;" in message
    assert "transformer_base" in message and "transformer_tiny" in message and "multimodel" not in message
    with pytest.raises(UserError, match="use_experts=True"):
        Transformer(HParams(), translate(), {"words": 30})
