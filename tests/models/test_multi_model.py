"""MultiModel: scores, shared nets, sizes, gradients, tracing, checkpoints, greedy decoding."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, SMALL, batch_of, close, eagerly, five_problems, mixed_bfloat16, problem, randomize

from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.search import END
from t2t_lite.hparams import HParams
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Audio, Image, Label, Text
from t2t_lite.training.shapes_only import shapes_only

VOCABULARIES = {"words": 30}


def model_of(problems=None, hparams=SMALL):
    return randomize(MultiModel(hparams, problems or five_problems(), VOCABULARIES))


@pytest.fixture(scope="module")
def model():
    """One model, traced once, for all tests that do not change it."""
    return model_of()


def shapes(weights):
    return [tuple(w.shape) for w in weights]


# Scores


def test_translation_equals_numpy(model):
    batch = batch_of(model.problems["translate"])
    scores = model.score("translate", batch)
    ids, targets, net = batch["inputs"].numpy(), batch["targets"].numpy(), model.language_words
    matrix = 4.0 * reference.array(net.embedding)  # 4 = sqrt(D)
    encoded, balance = reference.encoder(model.body.encoder, matrix[ids], ids != 0, SMALL)
    commands = ["caption", "to_english", "to_tree"]
    command = np.tile(reference.array(model.commands)[commands.index("to_english")], (3, 1))
    decoded, decoder_balance = reference.decode(
        model.body, matrix[targets], encoded, ids != 0, command, SMALL, targets != 0
    )
    logits, valid = decoded @ reference.array(net.softmax), targets != 0
    close(scores.logits[valid], logits[valid], 2e-3)
    probabilities = [reference.softmax(row)[target] for row, target in zip(logits[valid], targets[valid], strict=True)]
    close(scores.loss[valid], -np.log(probabilities), 2e-3)
    assert np.all(scores.loss[~valid] == 0)
    close(scores.weights, valid)
    close(balancing_loss(scores.expert_sums), balance + decoder_balance, 1e-3)


@pytest.mark.parametrize("name", ["translate", "classes"])
def test_expert_sums_are_those_of_the_scores(model, name):
    batch = batch_of(model.problems[name])
    found = model.expert_sums(name, batch, NOISE)
    assert found.shape[0] == (1 if name == "classes" else 2)
    close(found, model.score(name, batch, NOISE).expert_sums)


def test_classes_equal_numpy(model):
    batch = batch_of(model.problems["classes"])
    scores = model.score("classes", batch)
    x, (rows, columns) = reference.image(model.image, batch["inputs"].numpy().astype(float), SMALL.image_strides)
    encoded, _ = reference.encoder(model.body.encoder, x, np.ones(x.shape[:2], bool), SMALL)
    net = model.net(model.problems["classes"].targets)
    logits = reference.categorical(net, encoded.reshape(3, rows, columns, 16), np.ones((3, rows), bool))
    close(scores.logits, logits, 2e-3)
    assert scores.loss.shape == scores.weights.shape == (3,)


def test_logits_depend_on_the_command(model):
    batch = batch_of(model.problems["translate"])
    english, tree = (model.score(name, batch).logits for name in ("translate", "tree"))
    assert np.abs(english[:, 0] - tree[:, 0]).max() > 0.1


@pytest.mark.parametrize("name", ["speech", "translate"])
def test_loss_of_an_example_does_not_depend_on_its_batch(model, name):
    batch = batch_of(model.problems[name])
    scores = model.score(name, batch)
    row = 2
    length = batch["inputs_length"][row] if name == "speech" else tf.math.count_nonzero(batch["inputs"][row])
    target = int(tf.math.count_nonzero(batch["targets"][row]))
    single = {key: value[row : row + 1] for key, value in batch.items()}
    single |= {"inputs": single["inputs"][:, : int(length)], "targets": single["targets"][:, :target]}
    close(scores.loss[row : row + 1, :target], model.score(name, single).loss, 1e-3)


def test_padding_does_not_change_the_loss(model):
    batch = batch_of(model.problems["translate"])
    longer = {key: tf.pad(value, [[0, 0], [0, 9]]) for key, value in batch.items()}
    scores, padded = model.score("translate", batch), model.score("translate", longer)
    close(tf.reduce_sum(padded.loss), tf.reduce_sum(scores.loss), 1e-3)
    close(balancing_loss(padded.expert_sums), balancing_loss(scores.expert_sums), 1e-3)
    assert float(tf.reduce_sum(padded.weights)) == float(tf.reduce_sum(scores.weights))


def test_mixed_bfloat16_scores_every_kind_of_data():
    with eagerly():
        wide = model_of()
        with mixed_bfloat16():
            narrow = model_of()
        for name in ("speech", "classes", "translate"):  # every net, decoded and classified
            batch = batch_of(wide.problems[name])
            scores = narrow.score(name, batch)
            assert scores.logits.dtype == scores.loss.dtype == scores.expert_sums.dtype == tf.float32
            close(tf.reduce_mean(scores.loss), tf.reduce_mean(wide.score(name, batch).loss), 0.1)


# Sharing and sizes


def eight_problems():
    text, image = Text("words"), Image(8, 8)
    pairs = {"en_de": "to_german", "de_en": "to_english", "en_fr": "to_french", "fr_en": "to_english"}
    made = [problem(name, text, text, command) for name, command in pairs.items()]
    made += [problem("tree", text, text, "to_tree"), problem("caption", image, text, "caption")]
    made += [problem("speech", Audio(), text, "to_english"), problem("classes", image, Label(("a", "b")))]
    return {p.name: p for p in made}


def test_eight_problems_share_one_body_and_one_net_for_each_kind_of_data():
    eight = MultiModel(SMALL, eight_problems(), VOCABULARIES)
    kinds = sorted(name.split("_")[0] for name in eight.nets)
    assert kinds == ["audio", "categorical", "image", "language"]
    assert sum(tuple(w.shape) == (30, 16) for w in eight.weights) == 1
    assert eight.commands.shape == (5, 16)
    assert len({id(w) for w in eight.weights}) == len(eight.weights)
    parts = [eight.body, *eight.nets.values()]
    assert sum(len(part.weights) for part in parts) + 1 == len(eight.weights)


@pytest.mark.parametrize("command,rows", [("to_english", 5), ("to_latin", 6)])
def test_a_ninth_text_problem_adds_a_command_row_and_no_other_weight(command, rows):
    eight = MultiModel(SMALL, eight_problems(), VOCABULARIES)
    ninth = problem("ninth", Text("words", max_length=9), Text("words"), command)
    nine = MultiModel(SMALL, eight_problems() | {"ninth": ninth}, VOCABULARIES)
    assert nine.commands.shape == (rows, 16)
    others = [shapes(w for w in m.weights if w is not m.commands) for m in (eight, nine)]
    assert others[0] == others[1]


@pytest.fixture(scope="module")
def base():
    """The paper's model for eight problems, shapes only: its weights do not fit into a test's memory."""
    with shapes_only():
        made = MultiModel(HParams(), eight_problems(), {"words": 8192})
    return made


def test_default_body_has_the_papers_sizes(base):
    body = base.body
    assert [len(body.encoder.blocks), len(body.mixer.blocks), len(body.decoder.blocks)] == [6, 2, 4]
    assert [len(a.conv_blocks) for a in (body.mixer.attention, *body.decoder.attentions)] == [2] * 5
    assert body.mixer.attention.self_attention.num_heads == 8
    for experts in (body.encoder.experts.experts, body.decoder.experts.experts):
        assert shapes(experts.weights) == [(512, 240), (512, 240), (240, 512, 2048), (240, 2048, 512)]
        assert experts.k == 4
    block = body.encoder.blocks[0]
    kernels = [tuple(s.depthwise.shape) for s in (block.step1, block.step2, block.step3, block.step4)]
    assert kernels == [(3, 1, 512, 1)] * 2 + [(15, 1, 512, 1)] * 2
    assert [s._convolution.dilation for s in (block.step1, block.step2, block.step3, block.step4)] == [1, 1, 1, 8]


def test_default_nets_have_the_papers_widths(base):
    nets = {name.split("_")[0]: net for name, net in base.nets.items()}
    image = nets["image"]
    steps = [image.step1, image.step2, *(r.step2 for r in (image.res1, image.res2, image.res3))]
    assert [s.pointwise.shape[1] for s in steps] == [32, 64, 128, 256, 512]
    # Sound as a spectrogram, which learns; the waveform through 8 blocks of 2^i filters is a setting.
    assert [b.step2.pointwise.shape[1] for b in nets["audio"].blocks] == [8, 16, 32]
    assert nets["audio"].last_map.shape == (32 * 80, 512)
    exit_flow = nets["categorical"]
    assert [exit_flow.step4.pointwise.shape[1], exit_flow.step5.pointwise.shape[1]] == [1536, 2048]
    assert shapes(nets["language"].weights) == [(8192, 512), (512, 8192)]


def test_default_body_has_the_papers_number_of_weights(base):
    size, experts, filters = 512, 240, 2048
    block = 2 * 3 * size + 2 * 15 * size + 4 * size**2 + 4 * 2 * size
    attention = 2 * block + 2 * 4 * size**2 + 2 * 2 * size
    mixture = 2 * size * experts + 2 * experts * size * filters + 2 * size
    expected = (6 + 2 + 4) * block + 5 * attention + 2 * mixture + 2 * size
    assert sum(int(np.prod(w.shape)) for w in base.body.weights) == expected


# Training


def test_every_weight_gets_a_gradient_and_only_from_problems_that_use_it(model):
    trained = set()
    for name, declared in model.problems.items():
        batch = batch_of(declared, rows=4, source=12, target=9)
        with tf.GradientTape() as tape:
            scores = model.score(name, batch, NOISE)
            loss = tf.reduce_sum(scores.loss) + balancing_loss(scores.expert_sums)
        gradients = tape.gradient(loss, model.trainable_variables)
        with_gradient = {w.path for w, g in zip(model.trainable_variables, gradients, strict=True) if g is not None}
        for net in model.nets.values():
            used = net in (model.net(declared.inputs), model.net(declared.targets))
            assert used or not with_gradient & {w.path for w in net.weights}
        for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
            if gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0:
                trained.add(weight.path)
    assert len(model.trainable_variables) == len(model.weights)
    assert {w.path for w in model.weights} - trained == set()


def test_label_smoothing_only_in_training():
    with eagerly():
        plain, smooth = model_of(), model_of(hparams=SMALL.replace(label_smoothing=0.3))
        batch = batch_of(plain.problems["classes"])
        close(smooth.score("classes", batch).loss, plain.score("classes", batch).loss, 1e-6)
        noisy = [m.score("classes", batch, NOISE).loss for m in (plain, smooth)]
        assert np.abs(noisy[0] - noisy[1]).max() > 0.01


def test_body_is_traced_once_for_all_problems_and_lengths(model):
    for name, declared in model.problems.items():
        for source, target in [(5, 3), (6, 4), (11, 3)]:
            for rows in (1, 3):
                batch = batch_of(declared, rows=rows, source=source, target=target)
                for noise in (None, NOISE):
                    model.score(name, batch, noise)
    functions = (model._encode, model._decode, model._encode_noisy, model._decode_noisy)
    assert [f.experimental_get_tracing_count() for f in functions] == [1, 1, 1, 1]
    assert all(f.experimental_get_tracing_count() == 1 for f in model._traced.values())


def test_checkpoint_keeps_every_weight(model, tmp_path):
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "model"))
    assert sum(name.startswith("model/") for name, _ in tf.train.list_variables(path)) == len(model.weights)
    other = randomize(MultiModel(SMALL, five_problems(), VOCABULARIES), seed=1)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    for mine, theirs in zip(model.weights, other.weights, strict=True):
        assert np.array_equal(mine, theirs), mine.path


def test_same_seed_gives_the_same_weights():
    made = []
    for seed in (4, 4, 5):
        keras.utils.set_random_seed(seed)
        made.append(MultiModel(SMALL, five_problems(), VOCABULARIES).get_weights())
    same = [np.array_equal(a, b) for a, b in zip(made[0], made[1], strict=True)]
    assert all(same)
    assert not np.array_equal(made[0][0], made[2][0])


# Greedy decoding


def unrolled(model, name, inputs, limit):
    """Greedy decoding that scores the whole prefix anew for each position: ids, log probabilities, finished."""
    rows = len(inputs["inputs"])
    ids, totals, open_ = np.full((rows, limit), 2), np.zeros(rows), np.ones(rows, bool)
    for position in range(limit):
        logits = model.score(name, inputs | {"targets": tf.constant(ids, tf.int32)}).logits[:, position].numpy()
        for row in range(rows):
            token = 1 + int(np.argmax(logits[row, 1:]))  # never padding
            totals[row] += open_[row] * np.log(reference.softmax(logits[row].astype(float))[token])
            ids[row, position] = token
            open_[row] &= token != END
    for row in range(rows):
        after = np.flatnonzero(ids[row] == END)[:1]
        ids[row, after[0] + 1 if len(after) else limit :] = 0
    return ids, totals, ~open_


@pytest.fixture(scope="module")
def decoder(model):
    return GreedyDecoder(model)


@pytest.mark.parametrize("name,rows", [("translate", 8), ("caption", 2), ("speech", 3)])
def test_greedy_decoding_equals_the_argmax_of_score(model, decoder, name, rows):
    inputs = {k: v for k, v in batch_of(model.problems[name], rows=rows).items() if k != "targets"}
    decoded = decoder(name, inputs, 9)
    ids, scores, finished = unrolled(model, name, inputs, 9)
    length = decoded.ids.shape[1]
    assert decoded.ids.numpy().tolist() == ids[:, :length].tolist() and not ids[:, length:].any()
    close(decoded.scores, scores, 1e-3)
    assert decoded.finished.numpy().tolist() == finished.tolist()
    if name == "translate":
        assert 0 < finished.sum() < rows  # the batch has finished and unfinished outputs


def test_greedy_output_does_not_depend_on_the_batch(model, decoder):
    inputs = batch_of(model.problems["translate"], rows=6, source=9)["inputs"]
    together = decoder("translate", {"inputs": inputs}, 9)
    for row in range(6):
        length = int(tf.math.count_nonzero(inputs[row]))
        single = decoder("translate", {"inputs": inputs[row : row + 1, :length]}, 9)
        width = single.ids.shape[1]
        assert together.ids[row, :width].numpy().tolist() == single.ids[0].numpy().tolist()
        assert not np.any(together.ids[row, width:])
        close(together.scores[row], single.scores[0], 1e-3)


def test_greedy_stops_at_the_end_token(model, decoder):
    kept = model.language_words.softmax.numpy()
    try:
        # The end token's logit is the sum of the final norm's output; all other logits are zero.
        softmax = np.zeros_like(kept)
        model.body.decoder.norm.shift.assign_add(np.full(16, 9.0))
        softmax[:, END] = 1.0
        model.language_words.softmax.assign(softmax)
        decoded = decoder("translate", {"inputs": batch_of(model.problems["translate"])["inputs"]}, 9)
    finally:
        model.language_words.softmax.assign(kept)
        model.body.decoder.norm.shift.assign_sub(np.full(16, 9.0))
    assert decoded.ids.numpy().tolist() == [[END]] * 3
    assert np.all(decoded.finished)
