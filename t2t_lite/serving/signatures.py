"""Traces an export's signatures, from raw inputs to decoded outputs.

Shapes: B batch, N answers, T output positions, S input positions."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.decode_features import pad_text
from t2t_lite.decoding.decode import make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.search import SearchInputs, fingerprints
from t2t_lite.modalities.modality import Embedded
from t2t_lite.problems.features import Inputs, Label, Text, input_features
from t2t_lite.serving.preprocessing import read_inputs
from t2t_lite.serving.tokenizer import Tokenizer
from t2t_lite.serving.weights import DequantizedWeights

_TOP_CLASSES = 5  # answers of a problem whose targets are classes

_SPACES = r"[\t-\r\x1c-\x20\x{85}\p{Z}]*"  # the characters that str.strip() removes
_STRINGS = tf.TensorSpec([None], tf.string)


class Signatures:
    """Traces the signatures of a model's problems.

    Args:
      model: the model; its own weights are not used.
      weights: those of the parts that the problems need.
      tokenizers: {vocabulary's name: tokenizer}.
      decode_hparams: of the search.
    """

    def __init__(
        self,
        model: Any,
        weights: DequantizedWeights,
        tokenizers: Mapping[str, Tokenizer],
        decode_hparams: DecodeHParams,
    ):
        self._model, self._weights, self._tokenizers = model, weights, tokenizers
        self._hparams = decode_hparams
        self._shared: dict[str, Any] = {}

    def answers(self, name: str) -> int:
        """Returns N, the number of answers of a problem."""
        targets = self._model.problems[name].targets
        return min(_TOP_CLASSES, len(targets.classes)) if isinstance(targets, Label) else self._hparams.return_beams

    def trace(self, name: str) -> Iterator[tuple[str, Any]]:
        """Yields a problem's signatures by name: the answers, and the attention if the outputs are texts."""
        is_classifier = isinstance(self._model.problems[name].targets, Label)
        inputs = dict.fromkeys(input_features(self._model.problems[name].inputs), _STRINGS)
        yield name, self._traced(name, self._classify if is_classifier else self._search, **inputs)
        if not is_classifier and self._model.hparams.use_attention:
            yield f"{name}/attention", self._traced(name, self._attend, **inputs, outputs=_STRINGS)

    def _traced(self, name: str, function: Callable[..., dict[str, tf.Tensor]], **arguments: tf.TensorSpec) -> Any:
        """Returns the concrete function of a method for one problem."""
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in arguments.items()}
        return tf.function(functools.partial(function, name)).get_concrete_function(**specs)

    def _call(self, operation: str, layers: Sequence[Any], function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of some layers as a tf.function to which their stored weights are passed.

        Signatures that apply the same operation to the same layers share one tf.function, which makes the graph smaller
        and an export faster to load.
        """
        weights = [weight for layer in layers for weight in layer.weights]
        key = " ".join([operation, *(layer.name for layer in layers)])

        def call(values: list[tf.Tensor], *arguments: Any) -> Any:
            self._model.trace()  # forgets functions traced with other values
            with keras.StatelessScope(list(zip(weights, values, strict=True))):
                results = function(*arguments)
            self._model.trace()  # later traces must not keep these values
            return results

        if key not in self._shared:
            self._shared[key] = tf.function(call, reduce_retracing=True)
        return self._shared[key](self._weights.read(map(id, weights)), *arguments)

    def _encode(self, name: str, batch: dict[str, tf.Tensor]) -> Embedded:
        inputs = self._model.problems[name].inputs
        layers = [*(self._model.net(feature) for feature in input_features(inputs).values()), self._model.body.encoder]
        if isinstance(inputs, tuple):
            layers.append(_SegmentEmbeddings("places", [self._model.places]))
        return self._call("encode", layers, lambda batch: self._model.encode(name, batch)[0], batch)

    def _command(self, name: str, batch_size: tf.Tensor) -> tf.Tensor:
        commands = self._model.commands
        with keras.StatelessScope([(commands, *self._weights.read([id(commands)]))]):
            return self._model.command(name, batch_size)

    def _search(self, name: str, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the results of a problem whose outputs are texts."""
        problem = self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        encoded = self._encode(name, batch)
        start = SearchInputs(
            encoded.x,
            encoded.valid,
            self._command(name, tf.size(too_long)),
            tf.constant(self._hparams.max_length or problem.targets.max_length),
            fingerprints(batch),
        )
        decoder = make_decoder(self._model, self._hparams)
        net = self._model.net(problem.targets)
        layers = [*self._model.body.decoder_parts, net]
        hypotheses = self._call("search", layers, lambda start: decoder.search(net, start), start)
        shape = [-1, decoder.answers]
        texts = self._tokenizers[problem.targets.vocab].decode(hypotheses.ids)
        answers = {"outputs": texts, "scores": hypotheses.scores, "cut": ~hypotheses.finished}
        answers = {key: tf.reshape(value, shape) for key, value in answers.items()}
        return _blank_if_wordless(problem.inputs, inputs, answers) | {"too_long": too_long}

    def _classify(self, name: str, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the results of a problem whose outputs are names of classes."""
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
        return _blank_if_wordless(problem.inputs, inputs, answers) | {"too_long": too_long}

    def _attend(self, name: str, outputs: tf.Tensor, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the mean over all layers and heads of the attention to the inputs, for given outputs."""
        model, problem = self._model, self._model.problems[name]
        batch, too_long = read_inputs(problem.inputs, inputs, self._tokenizers)
        tokenizer, most = self._tokenizers[problem.targets.vocab], lengths.max_length(problem.targets)
        ids = tokenizer.encode(outputs)
        longest = tf.cast(tf.minimum(tf.reduce_max(ids.row_lengths()), most), tf.int32)
        targets = pad_text(ids, most, longest + 1)
        encoded = self._encode(name, batch)
        net = model.net(problem.targets)

        def attend(encoded: Embedded, targets: tf.Tensor, command: tf.Tensor) -> tf.Tensor:
            with model.body.watch_source_attention() as attentions:
                model.body.decode(net.embed_targets(targets), encoded.x, encoded.valid, command)
            return tf.reduce_mean(tf.stack(list(attentions.values())), axis=[0, 2])

        layers = [*model.body.decoder_parts, net]
        command = self._command(name, tf.size(too_long))
        weights = self._call("attend", layers, attend, encoded, targets, command)  # (B, T, S)
        input_pieces = self._input_pieces(problem.inputs, batch, tf.shape(weights)[::2])
        # The last position is the end token of the longest output.
        return {
            "weights": weights[:, :-1],
            "output_pieces": tokenizer.pieces(targets)[:, :-1],
            "input_pieces": input_pieces,
        }

    def _input_pieces(self, inputs: Inputs, batch: Mapping[str, tf.Tensor], batch_and_source: tf.Tensor) -> tf.Tensor:
        """Strings (B, S): the pieces of texts, "" at the positions of pictures and sounds."""
        features = input_features(inputs)
        pieces = {
            key: self._tokenizers[feature.vocab].pieces(batch[key])
            for key, feature in features.items()
            if isinstance(feature, Text)
        }
        if len(features) - len(pieces) > 1:  # the boundary between two inputs that are not text is not known here
            return tf.fill(batch_and_source, "")
        rest = batch_and_source[1] - sum(tf.shape(each)[1] for each in pieces.values())
        blank = tf.fill([batch_and_source[0], rest], "")
        return tf.concat([pieces.get(key, blank) for key in features], axis=1)


class _SegmentEmbeddings(NamedTuple):
    """The segment embeddings of several inputs, with the attributes of a layer."""

    name: str
    weights: list[Any]


def _blank_if_wordless(
    feature: Inputs, inputs: Mapping[str, tf.Tensor], answers: dict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Replaces the answers to texts of spaces alone by "", 0 and False, as t2t-decoder does."""
    if not isinstance(feature, Text):
        return answers
    wordless = tf.strings.regex_full_match(inputs["inputs"], _SPACES)[:, None]
    return {key: tf.where(wordless, tf.zeros([], value.dtype), value) for key, value in answers.items()}
