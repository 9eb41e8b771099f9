"""A fake export without a network: it has an export's signatures, and simple rules compute its answers.

    python tests/fake_export.py FOLDER

A translation is the text in upper case or lower case, with a higher score if the text has an article of the source
language; a text "slow N" takes N rounds of work. A picture's class is its strongest colour, its caption the mean
colour; a sound's transcript is its number of samples. So each answer shows which input it belongs to."""

import json
import sys
from pathlib import Path

import tensorflow as tf

STRINGS = tf.TensorSpec([None], tf.string)
CLASSES = ("red", "green", "blue")
TEXTS = {"ende": ("en", "de"), "ende_rev": ("de", "en"), "enfr": ("en", "fr"), "enfr_rev": ("fr", "en")}
LONGEST = 100  # characters


def _length(inputs):
    """Returns the characters of each text (B,), after as many rounds of work as the slowest text asks for."""
    is_slow = tf.strings.regex_full_match(inputs, r"slow \d{1,6}( .*)?")
    rounds = tf.where(is_slow, tf.strings.regex_replace(inputs, r"^slow (\d+).*", r"\1"), "0")
    most = tf.reduce_max(tf.strings.to_number(rounds, tf.int32))
    _, product = tf.while_loop(lambda i, m: i < most, lambda i, m: (i + 1, m @ m), (0, tf.eye(128)))
    return tf.cast(tf.strings.length(inputs, "UTF8_CHAR"), tf.float32) + 0 * product[0, 1]


def _answers(inputs, best, second):
    """Returns the results of a signature with two answers for each text."""
    length = _length(inputs)
    return {
        "outputs": tf.stack([best, second], axis=1),
        "scores": tf.stack([-length / 64, -1 - length / 64], axis=1),  # exact in float32
        "cut": tf.tile((length > LONGEST)[:, None], [1, 2]),
        "too_long": length > LONGEST,
    }


def _translation(source, target):
    articles = {"en": "(the|a|an)", "de": "(der|die|das)", "fr": "(le|la)"}

    @tf.function(input_signature=[STRINGS])
    def answer(inputs):
        upper, lower = (f"{target}: " + change(inputs, "utf-8") for change in (tf.strings.upper, tf.strings.lower))
        answers = _answers(inputs, upper, lower)
        has_article = tf.strings.regex_full_match(inputs, rf"(.* )?{articles[source]}( .*)?")
        answers["scores"] -= tf.where(has_article, 0.0, 4.0)[:, None]
        return answers

    return answer


@tf.function(input_signature=[STRINGS])
def _parsing(inputs):
    tags = tf.strings.regex_replace(tf.strings.strip(inputs), r"[^\s.]+", "NN")
    tags = tf.strings.regex_replace(tags, r"\.", " .")
    return _answers(inputs, "(S (NP " + tags + " )NP )S", "(S " + tags + " )S")


def _means(inputs):
    """Returns the mean colours (B, 3) of pictures."""

    def mean(content):
        return tf.reduce_mean(tf.cast(tf.io.decode_image(content, 3, expand_animations=False), tf.float32), [0, 1])

    return tf.map_fn(mean, inputs, fn_output_signature=tf.TensorSpec([3], tf.float32))


@tf.function(input_signature=[STRINGS])
def _image(inputs):
    scores, classes = tf.math.top_k(tf.nn.log_softmax(_means(inputs) / 64), 3)
    no = tf.zeros_like(scores, tf.bool)
    return {"outputs": tf.gather(tf.constant(CLASSES), classes), "scores": scores, "cut": no, "too_long": no[:, 0]}


@tf.function(input_signature=[STRINGS])
def _caption(inputs):
    means = tf.strings.as_string(tf.cast(tf.round(_means(inputs)), tf.int32))
    text = tf.strings.reduce_join(means, axis=1, separator=" ")
    return _answers(text, "mean " + text, "maybe " + text)


@tf.function(input_signature=[STRINGS])
def _speech(inputs):
    def samples(content):
        return tf.shape(tf.audio.decode_wav(content, 1)[0])[0]

    count = tf.strings.as_string(tf.map_fn(samples, inputs, fn_output_signature=tf.int32))
    return _answers(count, count + " samples were heard", count + " samples")


def _attention(text_in):
    @tf.function(input_signature=[STRINGS, STRINGS])
    def attend(inputs, outputs):
        target = tf.strings.split(outputs).to_tensor()  # (B, T)
        places = tf.tile([[""]], [tf.shape(inputs)[0], 64])
        source = tf.strings.split(inputs).to_tensor() if text_in else places
        time = tf.range(tf.shape(target)[1])[:, None] - tf.range(tf.shape(source)[1])[None]
        weights = tf.nn.softmax(-tf.abs(tf.cast(time, tf.float32)))
        batch = tf.shape(target)[0]
        return {
            "weights": tf.tile(weights[None], [batch, 1, 1]),
            "output_pieces": target,
            "input_pieces": source,
        }

    return attend


def _problem(inputs, outputs, description, **more):
    entry = {"inputs": inputs, "outputs": outputs, "command": "do", "description": description}
    return {**entry, "from": None, "to": None, "sample_rate": None, "answers": 2, **more}


def write_fake_export(folder: Path) -> Path:
    """Writes the export into a folder; returns the folder."""
    signatures, problems = {}, {}
    for name, (source, target) in TEXTS.items():
        signatures[f"microworld_{name}"] = _translation(source, target)
        text = f"{source} to {target}, of a generated world."
        problems[f"microworld_{name}"] = _problem("text", "text", text, **{"from": source, "to": target})
    signatures["microworld_parsing"] = _parsing
    problems["microworld_parsing"] = _problem("text", "tree", "An English sentence to its tree.", **{"from": "en"})
    signatures["microworld_image"] = _image
    problems["microworld_image"] = _problem("image", "class", "A picture to its class.", answers=3)
    signatures["microworld_caption"] = _caption
    problems["microworld_caption"] = _problem("image", "text", "A picture to a sentence.", to="en", grid=[4, 16])
    signatures["microworld_speech"] = _speech
    problems["microworld_speech"] = _problem(
        "audio", "text", "A spoken sentence to its words.", sample_rate=8000, to="en"
    )
    for name, problem in problems.items():
        if problem["outputs"] != "class":
            signatures[f"{name}/attention"] = _attention(problem["inputs"] == "text")
    return _write(folder, signatures, problems)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string, f"inputs_{i}") for i in range(2)])
def _question(inputs_0, inputs_1):
    means = tf.strings.as_string(tf.cast(tf.round(_means(inputs_0)), tf.int32))
    text = inputs_1 + " " + tf.strings.reduce_join(means, axis=1, separator=" ")
    return _answers(text, text, "maybe " + text)


def write_question_export(folder: Path) -> Path:
    """Writes an export with a problem of two inputs, picture and question, and one of pictures; returns the folder."""
    problems = {
        "microworld_question": _problem(["image", "text"], "text", "A picture and a question to the answer."),
        "microworld_image": _problem("image", "class", "A picture to its class.", answers=3),
    }
    return _write(folder, {"microworld_question": _question, "microworld_image": _image}, problems)


def _write(folder, signatures, problems):
    module = tf.Module()
    module.functions = signatures
    tf.saved_model.save(module, str(folder), signatures=signatures)
    about = {"name": "multi_model", "step": 7, "weights": "float32", "bytes": 0, "problems": problems}
    (folder / "export.json").write_text(json.dumps(about), encoding="utf8")
    return folder


if __name__ == "__main__":
    write_fake_export(Path(sys.argv[1]))
