"""Decoding: the cost of a position, and the speed of greedy and beam search beside CTranslate2's.

CTranslate2 (`pip install ".[bench]"`) decodes with a Transformer of 6+6 layers of the same width, for as many
sentences of equal lengths. All weights are random; no output ends early.

    python benchmarks/decoding.py [--tiny]         # minutes
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ctranslate2_transformer
import tensorflow as tf
from measure import (
    LeftOut,
    Result,
    Row,
    Timing,
    main,
    over_product,
    product,
    product_name,
    timed,
    versus,
    wider,
)
from networks import copy_model, deep_hparams, small_hparams

from t2t_lite.decoding.decode import make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.search import END, Decoder
from t2t_lite.models.multi_model import MultiModel


@dataclass(frozen=True)
class Sizes:
    examples: int = 8  # B, of multimodel_tiny
    source: int = 20  # S
    max_length: int = 256  # positions that the decoding state has room for
    prefix: int = 50  # the position timed over decoding its whole prefix
    short_search: int = 32  # positions
    long_search: int = 128
    hidden: int = 512  # D of the large network
    filters: int = 2048  # F
    experts: int = 16  # E
    large_examples: int = 32
    length: int = 64  # tokens of an answer of the large network
    many_experts: int = 240
    vocab_size: int = 8192
    repetitions: int = 10


TINY = Sizes(
    2, 3, 4, 2, 2, 4, hidden=8, filters=8, experts=2, large_examples=2, length=3, vocab_size=256, repetitions=1
)


def endless_model(hparams: Any, vocab_size: int) -> MultiModel:
    """A model that never ends an output: the end token's logit is 0, and many others are above."""
    model = copy_model(hparams, vocab_size)
    softmax = model.net(model.problems["copy"].targets).softmax
    softmax.assign(tf.where(tf.range(vocab_size) == END, 0.0, tf.convert_to_tensor(softmax)))
    return model


def rows(size: str) -> Iterator[Result]:
    sizes = Sizes() if size == "full" else TINY
    model = endless_model(small_hparams(size), 256)
    yield from time_steps(model, sizes)
    yield from time_searches(model, sizes, size)
    if size == "full":
        model = endless_model(deep_hparams(sizes.hidden, sizes.filters, sizes.experts), sizes.vocab_size)
    translator = ctranslate2_transformer.load(sizes.hidden, sizes.filters, sizes.vocab_size)
    for beams, target, target_reference in ((1, 1000, 1540), (4, 450, 690)):
        yield from compare_search(model, translator, sizes, size, beams, target, target_reference)
    if size == "full":
        del model
        model = endless_model(deep_hparams(sizes.hidden, sizes.filters, sizes.many_experts), sizes.vocab_size)
    yield time_one_row(model, sizes, size)


def time_steps(model: MultiModel, sizes: Sizes) -> Iterator[Result]:
    """The cost of one position, which should not depend on the position."""
    hidden = model.hparams.hidden_size
    x = tf.ones([sizes.examples, hidden])
    encoded = tf.random.stateless_normal([sizes.examples, sizes.source, hidden], [1, 0])
    valid = tf.ones([sizes.examples, sizes.source], tf.bool)
    targets = tf.random.stateless_normal([sizes.examples, sizes.prefix, hidden], [2, 0])
    step, decode = tf.function(model.body.step), tf.function(model.body.decode)
    states = [model.body.initial_state(encoded, valid, sizes.max_length)]
    while len(states) < sizes.max_length:
        states.append(step(x, states[-1])[1])
    last, first, middle, again = timed(
        lambda: step(x, states[-1]),
        lambda: step(x, states[0]),
        lambda: step(x, states[sizes.prefix]),
        lambda: decode(targets, encoded, valid, x),
        repetitions=3 * sizes.repetitions if sizes.repetitions > 1 else 1,
        budget=10,
    )
    about = f"multimodel_tiny, {sizes.examples} sentences"
    position = sizes.max_length - 1
    yield versus(f"decoding step at position {position}, {about}", last, "the first position's", first)
    label = f"decoding {sizes.prefix} positions again"
    yield versus(f"decoding step at position {sizes.prefix}, {about}", middle, label, again)


def time_searches(model: MultiModel, sizes: Sizes, size: str) -> Iterator[Result]:
    decoder = make_decoder(model, DecodeHParams())
    amount = sizes.examples, sizes.source
    long_time, short_time = timed(
        search(decoder, *amount, sizes.long_search),
        search(decoder, *amount, sizes.short_search),
        repetitions=sizes.repetitions,
    )
    about = f"multimodel_tiny, {sizes.examples} sentences"
    short = f"that of {sizes.short_search}"
    yield versus(f"greedy search of {sizes.long_search} tokens, {about}", long_time, short, short_time)
    position = Timing(long_time.best / sizes.long_search, long_time.spread)
    yield over_product(f"greedy search, {about}: a position", position, size, target_seconds=1.5e-3)


def compare_search(
    model: MultiModel,
    translator: Any,
    sizes: Sizes,
    size: str,
    beams: int,
    target: float,
    target_reference: float,
) -> Iterator[Result]:
    """Tokens a second, in all and beside CTranslate2's; the targets are tokens a second of both on one machine."""
    kind = "greedy search" if beams == 1 else f"beam search, {beams} beams"
    amount = sizes.large_examples, sizes.source, sizes.length
    about = f"D={sizes.hidden}, F={sizes.filters}, E={sizes.experts}"
    question = f"{kind}, {about}, {amount[0]} sentences of {amount[1]}, {amount[2]} tokens"
    decoder, repetitions = make_decoder(model, DecodeHParams(beam_size=beams)), min(sizes.repetitions, 3)
    ours = timed(search(decoder, *amount), repetitions=repetitions, warm_up=search(decoder, *amount[:2], 2))[0]
    tokens = amount[0] * amount[2]
    yield Row(
        question,
        tokens / ours.best,
        "tokens/s",
        f"tokens in the time of a {product_name(size)}",
        tokens / ours.best * product(size).best,
        wider(ours.spread, product(size).spread),
        target,
        more_is_better=True,
        target_unit="tokens/s",
    )
    question += ", beside CTranslate2"
    if translator is None:
        yield LeftOut(question, 'CTranslate2 is not installed (`pip install ".[bench]"`)')
        return
    theirs = timed(ctranslate2_transformer.search(translator, *amount, beams), repetitions=repetitions)[0]
    yield Row(
        question,
        tokens / ours.best,
        "tokens/s",
        f"CTranslate2, Transformer of 6+6 layers, float32: {tokens / theirs.best:,.0f} tokens/s",
        theirs.best / ours.best,
        wider(ours.spread, theirs.spread),
        target / target_reference,
        more_is_better=True,
    )


def time_one_row(model: MultiModel, sizes: Sizes, size: str) -> Row:
    """A sentence alone: of each expert layer, the weights of 4 experts are enough."""
    decoder, length = make_decoder(model, DecodeHParams()), max(sizes.length // 4, 2)
    call, warm_up = (search(decoder, 1, sizes.source, n) for n in (length, 2))
    timing = timed(call, repetitions=min(sizes.repetitions, 3), warm_up=warm_up)[0]
    question = f"greedy search, D={sizes.hidden}, F={sizes.filters}, E={sizes.many_experts}, one sentence: a token"
    return over_product(question, Timing(timing.best / length, timing.spread), size, target_seconds=12e-3)


def search(decoder: Decoder, examples: int, source: int, length: int) -> Callable[[], object]:
    """A call that decodes `examples` sentences of `source` tokens into `length` tokens each."""
    inputs = {"inputs": tf.tile(5 + tf.range(source)[None], [examples, 1])}

    def call() -> None:
        assert decoder("copy", inputs, length).ids.shape[1] == length

    return call


if __name__ == "__main__":
    main(rows)
