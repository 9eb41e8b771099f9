"""The functions of an export: raw in, raw out. Shapes: B batch, N answers, T output and S input positions."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.tensors import pad_text
from t2t_lite.decoding.decode import make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.problems.features import Label, Text
from t2t_lite.serving.inputs import read_inputs
from t2t_lite.serving.tokenizer import Tokenizer
from t2t_lite.serving.weights import StoredWeight

_CLASSES = 5  # the likeliest, where the targets are classes

_STRINGS = tf.TensorSpec([None], tf.string)


class Signatures:
    """Traces the signatures of a model's problems.

    Args:
      model: a model, of which the sizes count and not the weights.
      weights: {id of a weight of the model: what is stored of it}; of the parts that the problems need.
      tokenizers: by the name of the vocabulary.
      decode_hparams: how to search.
    """

    def __init__(
        self,
        model: Any,
        weights: Mapping[int, StoredWeight],
        tokenizers: Mapping[str, Tokenizer],
        decode_hparams: DecodeHParams,
    ):
        self._model, self._weights, self._tokenizers = model, weights, tokenizers
        self._hparams = decode_hparams

    def answers(self, name: str) -> int:
        """N of a problem."""
        targets = self._model.problems[name].targets
        return min(_CLASSES, len(targets.classes)) if isinstance(targets, Label) else self._hparams.return_beams

    def trace(self, name: str) -> Iterator[tuple[str, Any]]:
        """The signatures of a problem: its answers and, where these are texts, where they attend to."""
        classes = isinstance(self._model.problems[name].targets, Label)
        yield name, self._traced(name, self._classify if classes else self._search, inputs=_STRINGS)
        if not classes and self._model.hparams.use_attention:
            yield f"{name}/attention", self._traced(name, self._attend, inputs=_STRINGS, outputs=_STRINGS)

    def _traced(self, name: str, function: Callable[..., dict[str, tf.Tensor]], **arguments: tf.TensorSpec) -> Any:
        """A function of a problem and tensors as a tf.function, in which the model has the stored weights."""
        needed = [weight for part in self._model.parts(name).values() for weight in part]

        def call(**given: tf.Tensor) -> dict[str, tf.Tensor]:
            values = [(weight, self._weights[id(weight)].value()) for weight in needed]
            self._model.trace()  # earlier traces have the values of another graph
            with keras.StatelessScope(values):
                return function(name, **given)

        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in arguments.items()}
        return tf.function(call).get_concrete_function(**specs)

    def _search(self, name: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Texts."""
        problem = self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        decoder = make_decoder(self._model, self._hparams)
        found = decoder(name, batch, self._hparams.max_length or problem.targets.max_length)
        shape = [-1, decoder.answers]
        return {
            "outputs": tf.reshape(self._tokenizers[problem.targets.vocab].decode(found.ids), shape),
            "scores": tf.reshape(found.scores, shape),
            "cut": tf.reshape(~found.finished, shape),
            "too_long": too_long,
        }

    def _classify(self, name: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Names of classes."""
        problem = self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        ranked = tf.math.top_k(tf.nn.log_softmax(self._model.classify(name, batch)), self.answers(name))
        return {
            "outputs": tf.gather(tf.constant(problem.targets.classes), ranked.indices),
            "scores": ranked.values,
            "cut": tf.zeros_like(ranked.indices, tf.bool),
            "too_long": too_long,
        }

    def _attend(self, name: str, inputs: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The mean of all attentions over the source, for outputs that are given."""
        model, problem = self._model, self._model.problems[name]
        batch, _ = read_inputs(problem.inputs, inputs, self._tokenizers)
        tokenizer, most = self._tokenizers[problem.targets.vocab], lengths.max_length(problem.targets)
        ids = tokenizer.encode(outputs)
        longest = tf.cast(tf.minimum(tf.reduce_max(ids.row_lengths()), most), tf.int32)
        targets = pad_text(ids, most, longest + 1)
        encoded, _ = model.encode(name, batch)
        embedded = model.net(problem.targets).embed_targets(targets)
        with model.body.watch_source_attention() as seen:
            model.body.decode(embedded, encoded.x, encoded.valid, model.command(name, tf.shape(targets)[0]))
        weights = tf.reduce_mean(tf.stack(list(seen.values())), axis=[0, 2])  # (B, T, S)
        source = tf.shape(weights)[::2]
        if isinstance(problem.inputs, Text):
            input_pieces = self._tokenizers[problem.inputs.vocab].pieces(batch["inputs"])
        else:
            input_pieces = tf.fill(source, "")
        # The last position asks for the end token of the longest.
        return {
            "weights": weights[:, :-1],
            "output_pieces": tokenizer.pieces(targets)[:, :-1],
            "input_pieces": input_pieces,
        }
