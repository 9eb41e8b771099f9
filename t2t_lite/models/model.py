"""What all models are made of: a body, a modality net for each kind of data, and an embedding for each command.

Shapes: B batch, S input positions, T target positions, D hidden, E experts, V vocabulary or classes.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import model_of_set
from t2t_lite.layers.noise import example_numbers
from t2t_lite.layers.replica_function import own_handles, replica_function
from t2t_lite.modalities.categorical import Categorical
from t2t_lite.modalities.image import unit_range
from t2t_lite.modalities.modality import Embedded, Modality, cross_entropy
from t2t_lite.models.base_body import BaseBody
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Feature, Text, input_features


class Scores(NamedTuple):
    """Logits and losses of a batch with known targets (teacher forcing)."""

    logits: tf.Tensor  # (B, T, V), or (B, V) for class labels
    loss: tf.Tensor  # (B, T) or (B,): cross entropy in nats, 0 at padding
    weights: tf.Tensor  # of loss's shape: 0 at padding, 1 otherwise
    expert_sums: tf.Tensor  # (layers, 3, E): the sums of each MixtureOfExperts over this batch


@contextlib.contextmanager
def compute_in(precision: str) -> Iterator[None]:
    """Layers built inside compute in `precision`: "float32", "bfloat16" or "float16". Weights stay float32."""
    before = keras.config.dtype_policy()
    if precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Model(keras.Model):
    """A body with modality nets and commands, built from hparams for the given problems. Subclasses make the body.

    Each part is traced once, with batch and length dimensions of None, for all problems and lengths: a further problem
    adds only the tracing of its own modality nets (benchmarks/tracing.py).

    Args:
      hparams: the sizes and switches.
      problems: {name: problem} to learn.
      vocab_sizes: {vocabulary: V} for the vocabularies of these problems.

    Raises:
      UserError: an hparam is set that the model does not read.

    Attributes:
      unread_hparams: {hparam that the model does not read: the value that it must have}.
    """

    unread_hparams: Mapping[str, Any] = {}

    def __init__(
        self, hparams: HParams, problems: Mapping[str, Problem], vocab_sizes: Mapping[str, int], **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.check_unread(hparams)
        self.hparams = hparams
        self.problems = dict(problems)
        self.nets: dict[str, Modality] = {}
        with compute_in(hparams.precision):
            self.body = self.make_body()
            for problem in self.problems.values():
                for feature in problem.keyed_features.values():
                    self._add_net(feature, vocab_sizes)
        self.command_names = sorted({p.command for p in self.problems.values() if isinstance(p.targets, Text)})
        self.commands = self.add_weight(
            name="commands",
            shape=(max(len(self.command_names), 1), hparams.hidden_size),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        # Segment embeddings: one for each of a problem's several inputs. Other models have none, as ever.
        segments = max(len(input_features(problem.inputs)) for problem in self.problems.values())
        self.places = (
            self.add_weight(
                name="places",
                shape=(segments, hparams.hidden_size),
                initializer=keras.initializers.RandomNormal(stddev=0.1),
            )
            if segments > 1
            else None
        )
        self.built = True
        self.trace()

    def make_body(self) -> BaseBody:
        """Returns the body, whose name is "body"; called once, when `hparams` are set."""
        raise NotImplementedError

    @classmethod
    def check_unread(cls, hparams: HParams) -> None:
        """Raises UserError if an hparam is set that the model does not read."""
        changed = [f"{k}={getattr(hparams, k)}" for k, v in cls.unread_hparams.items() if getattr(hparams, k) != v]
        if changed:
            name = registry.snake_case(cls.__name__)
            raise UserError(
                f"--model={name}: this model does not read the hparams {', '.join(changed)}; leave them out, and start "
                f"from an hparams set of this model{_sets_of(name)}"
            )

    def _add_net(self, feature: Feature, vocab_sizes: Mapping[str, int]) -> None:
        net_class = registry.modalities.get(feature.modality)
        name = net_class.net_name(feature)
        if name not in self.nets:
            vocab_size = vocab_sizes[feature.vocab] if isinstance(feature, Text) else 0
            net = net_class(feature, self.hparams, vocab_size, name=name)
            self.nets[name] = net
            setattr(self, name, net)  # Keras and checkpoints track attributes

    def net(self, feature: Feature) -> Modality:
        """The modality net of a feature."""
        return self.nets[registry.modalities.get(feature.modality).net_name(feature)]

    def trace(self) -> None:
        """Wraps body and nets in new tf.functions with batch and length dimensions of None, dropping earlier traces."""
        size, dtype = self.hparams.hidden_size, self.body.compute_dtype
        sequence = tf.TensorSpec([None, None, size], dtype)
        valid = tf.TensorSpec([None, None], tf.bool)
        command = tf.TensorSpec([None, size], dtype)
        noise = tf.TensorSpec([2], tf.int32)

        def encode(x: tf.Tensor, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self.body.encode(x, valid)

        def decode(
            targets: tf.Tensor, encoded: tf.Tensor, valid: tf.Tensor, command: tf.Tensor, target_valid: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            return self.body.decode(targets, encoded, valid, command, target_valid)

        def decode_sums(*arguments: tf.Tensor) -> tf.Tensor:
            return self.body.decode(*arguments)[1]

        decode_signature = [sequence, sequence, valid, command, valid]
        self._encode = tf.function(encode, input_signature=[sequence, valid])
        self._decode = tf.function(decode, input_signature=decode_signature)
        self._encode_noisy = tf.function(self.body.encode, input_signature=[sequence, valid, noise])
        self._decode_noisy = tf.function(self.body.decode, input_signature=[*decode_signature, noise])
        # What comes after the experts is not in this function's graph.
        self._decode_sums_noisy = tf.function(decode_sums, input_signature=[*decode_signature, noise])
        self._trace_net = lambda name, method, signature: tf.function(
            getattr(self.nets[name], method), input_signature=signature
        )
        self._traced: dict[str, Any] = {}

    def share_traces(self, first: "Model") -> None:
        """Calls from now on the traced functions of `first`, another replica of this model, with the own weights."""
        handles = own_handles((v.value for v in first.variables), (v.value for v in self.variables))
        self._encode = replica_function(first._encode, handles)
        self._decode = replica_function(first._decode, handles)
        self._encode_noisy = replica_function(first._encode_noisy, handles)
        self._decode_noisy = replica_function(first._decode_noisy, handles)
        self._decode_sums_noisy = replica_function(first._decode_sums_noisy, handles)
        self._trace_net = lambda *net: replica_function(first._net_function(*net), handles)
        self._traced = {}

    def parts(self, problem: str = "") -> dict[str, list[Any]]:
        """{part: its weights}: body parts, nets and commands. If a problem is named, only the parts that it uses."""
        parts = {layer.name: layer.weights for layer in (self.body.encoder, *self.body.decoder_parts)}
        parts |= {name: net.weights for name, net in self.nets.items()} | {"commands": [self.commands]}
        if self.places is not None:
            parts["places"] = [self.places]
        if not problem:
            return parts
        features = self.problems[problem].keyed_features.values()
        targets = self.net(self.problems[problem].targets)
        needed = {self.body.encoder.name, *(self.net(feature).name for feature in features)}
        if isinstance(self.problems[problem].inputs, tuple):
            needed.add("places")
        if not isinstance(targets, Categorical):
            needed |= {"commands", *(layer.name for layer in self.body.decoder_parts)}
        return {name: weights for name, weights in parts.items() if name in needed}

    def _call_net(self, name: str, method: str, *arguments: tf.Tensor) -> Any:
        """Calls a net's method as a tf.function, traced once with batch and length dimensions of None.

        None from the first call on: a trace for the first lengths and a second one for all others would round
        differently, so that a resumed run would differ from an uninterrupted one.
        """
        signature = [tf.TensorSpec([None] * min(x.shape.rank, 2) + x.shape[2:], x.dtype) for x in arguments]
        return self._net_function(name, method, signature)(*arguments)

    def _net_function(self, name: str, method: str, signature: list[tf.TensorSpec]) -> Any:
        key = f"{name}.{method}"
        if key not in self._traced:
            self._traced[key] = self._trace_net(name, method, signature)
        return self._traced[key]

    def encode(
        self, problem: str, batch: Mapping[str, tf.Tensor], noise: tf.Tensor | None = None
    ) -> tuple[Embedded, tf.Tensor]:
        """Encodes a batch's inputs: x (B, S, D) with its valid and grid; and the experts' sums (3, E)."""
        embedded = self._embed_inputs(problem, batch, noise)
        if "weights" in batch:
            embedded = embedded._replace(valid=embedded.valid & (batch["weights"] > 0)[:, None])
        if noise is None:
            encoded, sums = self._encode(embedded.x, embedded.valid)
        else:
            encoded, sums = self._encode_noisy(embedded.x, embedded.valid, noise)
        return embedded._replace(x=encoded), sums

    def _embed_inputs(self, problem: str, batch: Mapping[str, tf.Tensor], noise: tf.Tensor | None = None) -> Embedded:
        """Embeds a batch's inputs; the parts of several one after the other, each plus the embedding of its place."""
        embedded = []
        for key, feature in input_features(self.problems[problem].inputs).items():
            net, method = self.net(feature), "embed_inputs"
            arguments = [unit_range(batch[key])] + ([batch[f"{key}_length"]] if f"{key}_length" in batch else [])
            if noise is not None and net.noise_numbers:
                method, path = "embed_noisy", f"{net.name}.{key}"
                index = batch["index"] if "index" in batch else tf.range(tf.shape(batch[key], tf.int64)[0])
                numbers = example_numbers(noise, self.hparams.seed, path, index, net.noise_numbers)
                arguments = [numbers, *arguments]
            embedded.append(Embedded(*self._call_net(net.name, method, *arguments)))
        if not isinstance(self.problems[problem].inputs, tuple):
            return embedded[0]
        assert self.places is not None
        places = tf.unstack(tf.cast(self.places, self.body.compute_dtype))
        x = tf.concat([part.x + place for part, place in zip(embedded, places, strict=False)], axis=1)
        valid = tf.concat([part.valid for part in embedded], axis=1)
        return Embedded(x, valid, tf.stack([tf.shape(x)[1], 1]))

    def command(self, problem: str, batch_size: tf.Tensor) -> tf.Tensor:
        """The embedding of the problem's command, repeated for each example: (B, D)."""
        index = self.command_names.index(self.problems[problem].command)
        row = tf.cast(self.commands[index], self.body.compute_dtype)
        return tf.tile(row[None], [batch_size, 1])

    def classify(self, problem: str, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Logits (B, V) of a problem whose targets are class labels."""
        encoded, _ = self.encode(problem, batch)
        return self._call_net(self.net(self.problems[problem].targets).name, "classify", *encoded)

    def score(self, problem: str, batch: Mapping[str, tf.Tensor], noise: tf.Tensor | None = None) -> Scores:
        """Logits and losses of a batch with known targets (teacher forcing).

        Args:
          problem: the problem's name.
          batch: `inputs` and `targets` as from data/reading.py; optional `weights` (B,), 0 for the blank examples that
            fill up a shard (data/batch_shards.py).
          noise: the seed (2,) of dropout and gating noise in training; None switches them and label smoothing off.
        """
        targets = batch["targets"]
        net = self.net(self.problems[problem].targets)
        encoded, sums = self.encode(problem, batch, noise)
        expert_sums = [sums]
        weights = self.target_weights(problem, batch)
        if isinstance(net, Categorical):
            # A class label is not decoded step by step: its net reads the encoded input.
            logits = self._call_net(net.name, "classify", *encoded)
        else:
            arguments = self._decode_arguments(problem, batch, encoded)
            decoded, sums = self._decode(*arguments) if noise is None else self._decode_noisy(*arguments, noise)
            expert_sums.append(sums)
            logits = self._call_net(net.name, "logits", decoded)
        smoothing = self.hparams.label_smoothing if noise is not None else 0.0
        return Scores(logits, cross_entropy(logits, targets, smoothing) * weights, weights, tf.stack(expert_sums))

    def expert_sums(self, problem: str, batch: Mapping[str, tf.Tensor], noise: tf.Tensor) -> tf.Tensor:
        """The `expert_sums` of `score` (layers, 3, E), without computing what comes after the experts."""
        encoded, sums = self.encode(problem, batch, noise)
        if isinstance(self.net(self.problems[problem].targets), Categorical):
            return sums[None]
        return tf.stack([sums, self._decode_sums_noisy(*self._decode_arguments(problem, batch, encoded), noise)])

    def _decode_arguments(self, problem: str, batch: Mapping[str, tf.Tensor], encoded: Embedded) -> list[tf.Tensor]:
        """The body's arguments for decoding known targets: their embeddings, the encoded input, the command, masks."""
        targets = batch["targets"]
        embedded = self._call_net(self.net(self.problems[problem].targets).name, "embed_targets", targets)
        command = self.command(problem, tf.shape(targets)[0])
        return [embedded, encoded.x, encoded.valid, command, self.target_weights(problem, batch) > 0]

    def target_weights(self, problem: str, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Each target's weight in the loss, 0 at padding and 1 otherwise: (B, T), or (B,) for class labels."""
        weights = self.net(self.problems[problem].targets).target_weights(batch["targets"])
        if "weights" not in batch:
            return weights
        return weights * tf.reshape(batch["weights"], [-1] + [1] * (weights.shape.rank - 1))


def _sets_of(model: str) -> str:
    """The hparams sets made for a model, as the end of a message."""
    names = [name for name in registry.hparams_sets.describe() if model_of_set(name) == model]
    return f" ({', '.join(names)})" if names else ""
