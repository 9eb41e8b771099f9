"""Preprocesses raw inputs (text, PNG, JPEG, WAV) into batches for the model, in the graph. Shapes: B batch."""

import functools
from collections.abc import Mapping

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.decode_features import pad_text
from t2t_lite.media.crop_pictures import decode_and_crop
from t2t_lite.media.decode_inputs import decode_picture, decode_wav
from t2t_lite.media.graph_bytes import check
from t2t_lite.problems.features import Audio, Feature, Image, Inputs, Text, input_features
from t2t_lite.serving.tokenizer import Tokenizer

_PARALLEL_SOUNDS = 2  # decoded at once: a decoded sound may take hundreds of MB


def read_inputs(
    inputs: Inputs, raw: Mapping[str, tf.Tensor], tokenizers: Mapping[str, Tokenizer]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns the batch that `Dataset.inputs_batch` returns for the same inputs, and which inputs were truncated.

    Args:
      inputs: the problem's input feature or features.
      raw: {key of the feature: (B,) texts, or contents of PNG, JPEG or WAV files}. The graph refuses anything else.
      tokenizers: {vocabulary's name: tokenizer}.

    Returns:
      {"inputs"}, for sounds also {"inputs_length"}; for several inputs {"inputs_0"} and so on; and bool (B,), True if
      an input exceeded its maximum length.
    """
    batch: dict[str, tf.Tensor] = {}
    truncated = []
    for key, feature in input_features(inputs).items():
        part, too_long = _read_one(feature, raw[key], tokenizers)
        batch |= {name.replace("inputs", key): value for name, value in part.items()}
        truncated.append(too_long)
    return batch, functools.reduce(tf.logical_or, truncated)


def _read_one(
    feature: Feature, raw: tf.Tensor, tokenizers: Mapping[str, Tokenizer]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    with tf.control_dependencies([check(tf.size(raw) > 0, "no inputs")]):
        raw = tf.identity(raw)
    most = lengths.max_length(feature)
    if isinstance(feature, Text):
        ids = tokenizers[feature.vocab].encode(raw)
        sizes = tf.cast(ids.row_lengths(), tf.int32)
        padded_length = lengths.positions(feature, tf.reduce_max(tf.minimum(sizes, most)))
        return {"inputs": pad_text(ids, most, padded_length)}, sizes > most
    if isinstance(feature, Image):
        pictures = decode_and_crop(raw, feature.rows, feature.columns, decode=decode_picture)
        return {"inputs": pictures}, tf.zeros_like(raw, tf.bool)
    assert isinstance(feature, Audio)
    rate = feature.sample_rate
    spec = tf.RaggedTensorSpec([None], tf.float32)
    samples = tf.map_fn(
        lambda wav: decode_wav(wav, rate), raw, fn_output_signature=spec, parallel_iterations=_PARALLEL_SOUNDS
    )
    sizes = tf.cast(samples.row_lengths(), tf.int32)
    kept = tf.minimum(sizes, most)
    padded_length = lengths.positions(feature, tf.reduce_max(kept)) * lengths.SAMPLES_PER_POSITION
    dense = samples[:, :most].to_tensor()
    dense = tf.pad(dense, [[0, 0], [0, padded_length - tf.shape(dense)[1]]])
    return {"inputs": dense, "inputs_length": kept}, sizes > most
