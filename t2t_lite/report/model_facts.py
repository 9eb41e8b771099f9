"""What a report shows about a run's model: its answers, use of experts, attention and confusions."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from t2t_lite.api import TrainedRun, open_run
from t2t_lite.data.raw_pairs import RawPairs
from t2t_lite.errors import UserError
from t2t_lite.layers.experts import MixtureOfExperts, watch_experts
from t2t_lite.progress import print_status
from t2t_lite.report.facts import Attention, Confusion, Example, ExpertUse, RunFacts
from t2t_lite.report.samples import Sample

POSITION_BINS = 10  # positions of an input or an output, from its first tenth to its last
SAMPLE_EXAMPLES = 32  # of each problem, to count the use of experts and to switch them off
CLASS_EXAMPLES = 400  # of each problem with classes, for its confusion matrix
_OFF_EXPERTS = 16  # the most used experts of each layer are switched off, one at a time
_MAX_PIECES = 60  # of an answer in a drawing of attention
_MAX_POSITIONS = 480  # of its input

Batch = Mapping[str, tf.Tensor]


def look_into(
    facts: RunFacts, number: int, samples: Mapping[str, Sample], examples: Mapping[str, list[Example]], seconds: float
) -> None:
    """Adds what the run's model does with the examples to the facts, and its answers to the examples.

    What fails becomes a note, so that the rest is still shown.

    Args:
      facts: the run.
      number: its number in the report.
      samples: {problem: examples to measure}.
      examples: {problem: examples to show}.
      seconds: the time for switching experts off, for each problem.
    """

    def attempt(what: str, work: Callable[[], None]) -> bool:
        try:
            work()
            return True
        except UserError as e:
            facts.notes.append(f"{what}: {e}")
        except Exception as e:  # a damaged run or a model of the user's own must not cost the rest of the page
            first_line = str(e).strip().partition("\n")[0]
            facts.notes.append(f"{what}: failed with {type(e).__name__}: {first_line}")
        return False

    run = open_run(facts.folder)
    if not attempt("The model cannot be loaded", lambda: _load(facts, run)):
        return
    for name in facts.kinds:
        if name not in samples:
            continue
        print_status(f"{facts.title}: {name}")
        sample, shown = samples[name], examples[name]
        attempt(f"{name}, answers", lambda: _answer(run, number, name, shown))  # noqa: B023
        attempt(f"{name}, experts", lambda: _use_experts(facts, run, name, sample, seconds))  # noqa: B023
        if facts.kinds[name].targets == "class":
            attempt(f"{name}, confusion matrix", lambda: _confuse(facts, run, name, sample))  # noqa: B023
        elif not sample.several_inputs and number in shown[0].answers:
            attempt(f"{name}, attention", lambda: _attend(facts, run, number, name, shown))  # noqa: B023


def _load(facts: RunFacts, run: TrainedRun) -> None:
    net = run.model
    facts.checkpoint = run.step
    facts.parameters = {part: sum(int(np.prod(w.shape)) for w in weights) for part, weights in net.parts().items()}


def _answer(run: TrainedRun, number: int, name: str, examples: Sequence[Example]) -> None:
    answers = run.answer(name, [example.value for example in examples])
    for example, answer in zip(examples, answers, strict=True):
        example.answers[number] = answer.text


def _use_experts(facts: RunFacts, run: TrainedRun, name: str, sample: Sample, seconds: float) -> None:
    """Counts the positions that each expert serves, and measures the loss without each expert."""
    net = run.model
    layers = _expert_layers(net)
    if not layers:
        return
    batches = list(RawPairs(run.dataset(name), sample.pairs).batches())
    by_position: dict[str, np.ndarray] = {}
    for batch in batches:
        for layer, counts in _count_positions(run, layers, name, batch).items():
            by_position[layer] = by_position.get(layer, 0) + counts
    use = facts.experts[name] = ExpertUse(len(sample.pairs), by_position)
    use.loss = _loss(net, name, batches)
    end = time.monotonic() + seconds
    for layer, counts in by_position.items():
        served = counts.sum(axis=1)
        use.without[layer] = np.full(len(served), np.nan)
        use.without[layer][served == 0] = use.loss  # an expert that serves no position changes nothing
        contract = layers[layer].contract
        for expert in np.argsort(-served)[:_OFF_EXPERTS]:
            if served[expert] == 0 or time.monotonic() > end:
                break
            before = tf.identity(contract[int(expert)])
            try:
                _set_row(contract, int(expert), tf.zeros_like(before))
                use.without[layer][expert] = _loss(net, name, batches)
            finally:
                _set_row(contract, int(expert), before)


def _set_row(weight: Any, row: int, value: tf.Tensor) -> None:
    weight.assign(tf.tensor_scatter_nd_update(tf.convert_to_tensor(weight), [[row]], value[None]))


def _loss(net: Any, name: str, batches: Sequence[Batch]) -> float:
    """Returns the loss in nats per target, with teacher forcing."""
    loss = targets = 0.0
    for scores in (net.score(name, batch) for batch in batches):
        loss, targets = loss + float(tf.reduce_sum(scores.loss)), targets + float(tf.reduce_sum(scores.weights))
    return loss / max(targets, 1.0)


def _expert_layers(net: Any) -> dict[str, MixtureOfExperts]:
    """Returns {"encoder": ..., "decoder": ...}; empty for a model without experts."""
    parts = {name: getattr(getattr(net.body, name, None), "experts", None) for name in ("encoder", "decoder")}
    return {name: part.experts for name, part in parts.items() if part is not None}


def _count_positions(
    run: TrainedRun, layers: Mapping[str, MixtureOfExperts], name: str, batch: Batch
) -> dict[str, np.ndarray]:
    """Returns {layer: (E, POSITION_BINS)}: the positions of a batch that each expert serves."""
    net = run.model
    with _without_graphs(), watch_experts(layers) as chosen:
        encoded, _ = net.encode(name, batch)
        scores = net.score(name, batch)
    valid = {"encoder": encoded.valid.numpy(), "decoder": scores.weights.numpy() > 0}
    experts = run.hparams.num_experts
    return {layer: _by_position(seen.numpy(), valid[layer], experts) for layer, seen in chosen.items()}


@contextlib.contextmanager
def _without_graphs() -> Iterator[None]:
    """Runs tf.functions eagerly, so that layers can be watched inside them."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _by_position(chosen: np.ndarray, valid: np.ndarray, experts: int) -> np.ndarray:
    """Returns the positions that each expert serves by tenths of the sequence: (B, S, k), (B, S) -> (E, bins)."""
    rows, positions = np.nonzero(valid)
    lengths = valid.shape[1] - np.argmax(valid[:, ::-1], axis=1)  # up to the last valid position
    bins = positions * POSITION_BINS // lengths[rows]
    counts = np.zeros([experts, POSITION_BINS])
    np.add.at(counts, (chosen[rows, positions], bins[:, None]), 1.0)
    return counts


def _confuse(facts: RunFacts, run: TrainedRun, name: str, sample: Sample) -> None:
    """Counts the answers to CLASS_EXAMPLES examples, drawn evenly from the split."""
    dataset = run.dataset(name, sample.data_dir)
    classes = run.dataset(name).problem.targets.classes
    if dataset.problem.targets.classes != classes:
        raise UserError(f"the data in {sample.data_dir} have other classes than those trained on")
    counts = np.zeros([len(classes), len(classes)], np.int64)
    with dataset.reading():
        for batch in dataset.batches(sample.split, run.hparams, shuffle=True, seed=0):
            answers = tf.argmax(run.model.classify(name, batch), -1).numpy()
            left = CLASS_EXAMPLES - int(counts.sum())
            np.add.at(counts, (batch["targets"].numpy()[:left], answers[:left]), 1)
            if counts.sum() >= CLASS_EXAMPLES:
                break
    facts.confusion[name] = Confusion(list(classes), counts)


def _attend(facts: RunFacts, run: TrainedRun, number: int, name: str, examples: Sequence[Example]) -> None:
    example = next((each for each in examples if each.answers[number].strip()), None)
    if example is None or not run.hparams.use_attention:
        return
    inside = run.look_inside(name, example.value, example.answers[number])
    weights = inside.attention[:_MAX_PIECES, :_MAX_POSITIONS]
    if weights.size and weights.any():
        rows, columns = inside.output_pieces[:_MAX_PIECES], inside.input_pieces[:_MAX_POSITIONS]
        pixels = run.dataset(name).inputs_batch([example.value])["inputs"][0].numpy() if inside.grid else None
        facts.attention[name] = Attention(example, rows, columns, weights, inside.grid, pixels)
