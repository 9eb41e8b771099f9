"""The cost of decoding one position, which should not depend on the position.

Times Body.step at later positions over the first, and at one position over decoding the whole prefix again; then
greedy searches of 128 positions over searches of 32, which should take four times as long.

    python benchmarks/decoding.py [--tiny]
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from compare import model_hparams, parse_tiny, ratio

from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.search import END
from t2t_lite.hparams import HParams
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Problem, Text


@dataclass(frozen=True)
class Sizes:
    examples: int = 8  # B
    source: int = 20  # S
    max_length: int = 256  # positions that the decoding state has room for
    positions: tuple[int, ...] = (16, 64, 255)  # timed over position 0
    prefix: int = 50  # the position timed over decoding its whole prefix
    short_search: int = 32  # positions
    long_search: int = 128
    repetitions: int = 30  # of steps
    search_repetitions: int = 7


TINY = Sizes(2, 3, 4, (1, 3), 2, 2, 4, 1, 1)


class EndlessDecoder(GreedyDecoder):
    """Never chooses the end token, so that all outputs have the same length."""

    def next_log_probs(self, net: Any, x: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        log_probs, state = super().next_log_probs(net, x, state)
        return tf.where(tf.range(log_probs.shape[-1]) == END, -1e30, log_probs), state


def copy_model(hparams: HParams) -> MultiModel:
    problem = Problem("copy")
    problem.inputs = problem.targets = Text("words", 256)
    problem.command = "copy"
    return MultiModel(hparams, {"copy": problem}, {"words": 256})


def time_steps(model: MultiModel, sizes: Sizes) -> None:
    hidden = model.hparams.hidden_size
    x = tf.ones([sizes.examples, hidden])
    encoded = tf.random.stateless_normal([sizes.examples, sizes.source, hidden], [1, 0])
    valid = tf.ones([sizes.examples, sizes.source], tf.bool)
    targets = tf.random.stateless_normal([sizes.examples, sizes.prefix, hidden], [2, 0])
    step, decode = tf.function(model.body.step), tf.function(model.body.decode)
    states = [model.body.initial_state(encoded, valid, sizes.max_length)]
    while len(states) < sizes.max_length:
        states.append(step(x, states[-1])[1])
    for position in sizes.positions:
        value, times = ratio(lambda p=position: step(x, states[p]), lambda: step(x, states[0]), sizes.repetitions)
        print(f"a step at position {position}, over the first: {value:.2f}  ({times})")
    value, times = ratio(
        lambda: step(x, states[sizes.prefix]), lambda: decode(targets, encoded, valid, x), sizes.repetitions
    )
    print(f"a step at position {sizes.prefix}, over decoding {sizes.prefix} positions again: {value:.2f}  ({times})")


def time_searches(model: MultiModel, sizes: Sizes) -> None:
    decoder, inputs = EndlessDecoder(model), {"inputs": tf.fill([sizes.examples, sizes.source], 5)}
    assert decoder("copy", inputs, sizes.long_search).ids.shape[1] == sizes.long_search
    value, times = ratio(
        lambda: decoder("copy", inputs, sizes.long_search),
        lambda: decoder("copy", inputs, sizes.short_search),
        sizes.search_repetitions,
    )
    print(f"outputs of {sizes.long_search} tokens, over those of {sizes.short_search}: {value:.2f}  ({times})")


def main(arguments: list[str] | None = None) -> None:
    tiny = parse_tiny(arguments)
    sizes = TINY if tiny else Sizes()
    model = copy_model(model_hparams(tiny))
    time_steps(model, sizes)
    time_searches(model, sizes)


if __name__ == "__main__":
    main()
