"""What one more position costs in decoding, wherever it stands.

Body.step at positions of one answer, early and late, against the first; at position 50 against decoding all 50 anew;
and whole greedy searches of 128 positions against 32, which should cost fourfold."""

from typing import Any

import tensorflow as tf
from compare import ratio

from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.search import END
from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Problem, Text

EXAMPLES, SOURCE = 8, 20  # B, S
LIMIT = 256  # positions that the state has room for
LATER = (16, 64, 255)  # positions
ANEW = 50
SHORT, LONG = 32, 128  # positions of whole searches


class Endless(GreedyDecoder):
    """Never ends an answer, so that all are as long."""

    def next_log_probs(self, net: Any, x: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        log_probs, state = super().next_log_probs(net, x, state)
        return tf.where(tf.range(log_probs.shape[-1]) == END, -1e30, log_probs), state


def copying_model() -> MultiModel:
    problem = Problem("copy")
    problem.inputs = problem.targets = Text("words", 256)
    problem.command = "copy"
    return MultiModel(multimodel_tiny(), {"copy": problem}, {"words": 256})


def steps(model: MultiModel) -> None:
    size = model.hparams.hidden_size
    x, encoded = tf.ones([EXAMPLES, size]), tf.random.stateless_normal([EXAMPLES, SOURCE, size], [1, 0])
    valid, targets = tf.ones([EXAMPLES, SOURCE], tf.bool), tf.random.stateless_normal([EXAMPLES, ANEW, size], [2, 0])
    step, decode = tf.function(model.body.step), tf.function(model.body.decode)
    states = [model.body.initial_state(encoded, valid, LIMIT)]
    while len(states) < LIMIT:
        states.append(step(x, states[-1])[1])
    for position in LATER:
        value, times = ratio(lambda p=position: step(x, states[p]), lambda: step(x, states[0]))
        print(f"a step at position {position}, over the first: {value:.2f}  ({times})")
    value, times = ratio(lambda: step(x, states[ANEW]), lambda: decode(targets, encoded, valid, x))
    print(f"a step at position {ANEW}, over all {ANEW} anew: {value:.2f}  ({times})")


def searches(model: MultiModel) -> None:
    decoder, inputs = Endless(model), {"inputs": tf.fill([EXAMPLES, SOURCE], 5)}
    assert decoder("copy", inputs, LONG).ids.shape[1] == LONG
    long, short = (lambda: decoder("copy", inputs, LONG)), (lambda: decoder("copy", inputs, SHORT))
    value, times = ratio(long, short, repetitions=7)
    print(f"answers of {LONG} tokens, over those of {SHORT}: {value:.2f}  ({times})")


def main() -> None:
    model = copying_model()
    steps(model)
    searches(model)


if __name__ == "__main__":
    main()
