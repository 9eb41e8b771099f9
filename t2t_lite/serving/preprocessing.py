"""Raw inputs to what the network takes, in the graph. Shapes: B batch."""

from collections.abc import Mapping

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.decode_features import pad_text
from t2t_lite.media.crop_pictures import decode_and_crop
from t2t_lite.media.decode_inputs import decode_picture, decode_wav
from t2t_lite.media.graph_bytes import check
from t2t_lite.problems.features import Audio, Feature, Image, Text
from t2t_lite.serving.tokenizer import Tokenizer

_AT_ONCE = 2  # sounds decoded at the same time: each may be large


def read_inputs(
    feature: Feature, raw: tf.Tensor, tokenizers: Mapping[str, Tokenizer]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """A batch as `Dataset.inputs_batch` gives it for the same inputs.

    Args:
      feature: what goes in.
      raw: (B,) texts; PNG or JPEG files; WAV files. What is none is refused in the graph.
      tokenizers: by the name of the vocabulary.

    Returns:
      `inputs`, and for sounds `inputs_length`; and bool (B,): the input was longer than the network is given, and cut.
    """
    with tf.control_dependencies([check(tf.size(raw) > 0, "no inputs")]):
        raw = tf.identity(raw)
    most = lengths.max_length(feature)
    if isinstance(feature, Text):
        ids = tokenizers[feature.vocab].encode(raw)
        sizes = tf.cast(ids.row_lengths(), tf.int32)
        edge = lengths.positions(feature, tf.reduce_max(tf.minimum(sizes, most)))
        return {"inputs": pad_text(ids, most, edge)}, sizes > most
    if isinstance(feature, Image):
        pictures = decode_and_crop(raw, feature.rows, feature.columns, decode=decode_picture)
        return {"inputs": pictures}, tf.zeros_like(raw, tf.bool)
    assert isinstance(feature, Audio)
    rate = feature.sample_rate
    one = tf.RaggedTensorSpec([None], tf.float32)
    samples = tf.map_fn(lambda file: decode_wav(file, rate), raw, fn_output_signature=one, parallel_iterations=_AT_ONCE)
    sizes = tf.cast(samples.row_lengths(), tf.int32)
    cut = tf.minimum(sizes, most)
    padded = lengths.positions(feature, tf.reduce_max(cut)) * lengths.SAMPLES_PER_POSITION
    dense = samples[:, :most].to_tensor()
    dense = tf.pad(dense, [[0, 0], [0, padded - tf.shape(dense)[1]]])
    return {"inputs": dense, "inputs_length": cut}, sizes > most
