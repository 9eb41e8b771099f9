"""The functions of an export: raw in, raw out. Shapes: B batch, N answers, T output and S input positions."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.decode_features import pad_text
from t2t_lite.decoding.decode import make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.search import SearchInputs, fingerprints
from t2t_lite.modalities.modality import Embedded
from t2t_lite.problems.features import Feature, Label, Text
from t2t_lite.serving.preprocessing import read_inputs
from t2t_lite.serving.tokenizer import Tokenizer
from t2t_lite.serving.weights import StoredWeight

_CLASSES = 5  # the likeliest, where the targets are classes

_SPACES = r"[\t-\r\x1c-\x20\x{85}\p{Z}]*"  # what str.strip() takes away
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
        self._shared: dict[str, Any] = {}

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
        """A function of a problem and tensors as a tf.function."""
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in arguments.items()}
        return tf.function(functools.partial(function, name)).get_concrete_function(**specs)

    def _call(self, what: str, layers: Sequence[Any], function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of layers of the model as a tf.function that takes their stored weights too.

        All signatures that do the same with the same layers share it: an export loads in the time that their graphs
        take.
        """
        weights = [weight for layer in layers for weight in layer.weights]
        key = " ".join([what, *(layer.name for layer in layers)])

        def call(values: list[tf.Tensor], *arguments: Any) -> Any:
            self._model.trace()  # what was traced before has other values
            with keras.StatelessScope(list(zip(weights, values, strict=True))):
                results = function(*arguments)
            self._model.trace()  # and what is traced after is not to have these
            return results

        if key not in self._shared:
            self._shared[key] = tf.function(call, reduce_retracing=True)
        return self._shared[key]([self._weights[id(weight)].value() for weight in weights], *arguments)

    def _encode(self, name: str, batch: dict[str, tf.Tensor]) -> Embedded:
        layers = [self._model.net(self._model.problems[name].inputs), self._model.body.encoder]
        return self._call("encode", layers, lambda batch: self._model.encode(name, batch)[0], batch)

    def _command(self, name: str, batch_size: tf.Tensor) -> tf.Tensor:
        commands = self._model.commands
        with keras.StatelessScope([(commands, self._weights[id(commands)].value())]):
            return self._model.command(name, batch_size)

    def _search(self, name: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Texts."""
        problem = self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        encoded = self._encode(name, batch)
        start = SearchInputs(
            encoded.x,
            encoded.valid,
            self._command(name, tf.size(inputs)),
            tf.constant(self._hparams.max_length or problem.targets.max_length),
            fingerprints(batch["inputs"]),
        )
        decoder = make_decoder(self._model, self._hparams)
        net, body = self._model.net(problem.targets), self._model.body
        layers = [body.mixer, body.decoder, net]
        found = self._call("search", layers, lambda start: decoder.search(net, start), start)
        shape = [-1, decoder.answers]
        texts = self._tokenizers[problem.targets.vocab].decode(found.ids)
        answers = {"outputs": texts, "scores": found.scores, "cut": ~found.finished}
        answers = {key: tf.reshape(value, shape) for key, value in answers.items()}
        return _none_to_no_words(problem.inputs, inputs, answers) | {"too_long": too_long}

    def _classify(self, name: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Names of classes."""
        problem = self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        net = self._model.net(problem.targets)
        logits = self._call("classify", [net], net.classify, *self._encode(name, batch))
        ranked = tf.math.top_k(tf.nn.log_softmax(logits), self.answers(name))
        answers = {
            "outputs": tf.gather(tf.constant(problem.targets.classes), ranked.indices),
            "scores": ranked.values,
            "cut": tf.zeros_like(ranked.indices, tf.bool),
        }
        return _none_to_no_words(problem.inputs, inputs, answers) | {"too_long": too_long}

    def _attend(self, name: str, inputs: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """The mean of all attentions over the source, for outputs that are given."""
        model, problem = self._model, self._model.problems[name]
        batch, _ = read_inputs(problem.inputs, inputs, self._tokenizers)
        tokenizer, most = self._tokenizers[problem.targets.vocab], lengths.max_length(problem.targets)
        ids = tokenizer.encode(outputs)
        longest = tf.cast(tf.minimum(tf.reduce_max(ids.row_lengths()), most), tf.int32)
        targets = pad_text(ids, most, longest + 1)
        encoded = self._encode(name, batch)
        net = model.net(problem.targets)

        def attend(encoded: Embedded, targets: tf.Tensor, command: tf.Tensor) -> tf.Tensor:
            with model.body.watch_source_attention() as seen:
                model.body.decode(net.embed_targets(targets), encoded.x, encoded.valid, command)
            return tf.reduce_mean(tf.stack(list(seen.values())), axis=[0, 2])

        layers = [model.body.mixer, model.body.decoder, net]
        command = self._command(name, tf.size(inputs))
        weights = self._call("attend", layers, attend, encoded, targets, command)  # (B, T, S)
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


def _none_to_no_words(feature: Feature, inputs: tf.Tensor, answers: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A text without a word is answered by none, as t2t-decoder does: "", 0, False."""
    if not isinstance(feature, Text):
        return answers
    wordless = tf.strings.regex_full_match(inputs, _SPACES)[:, None]
    return {key: tf.where(wordless, tf.zeros([], value.dtype), value) for key, value in answers.items()}
