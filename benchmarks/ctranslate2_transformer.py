"""CTranslate2 with a Transformer of 6+6 layers and random weights: the reference of benchmarks/decoding.py.

The extra `bench` installs it; nothing else in the project needs it.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

LAYERS, HEADS = 6, 8


def load(hidden: int, filters: int, vocab_size: int, layers: int = LAYERS) -> Any:
    """Returns the translator, which computes in float32, or None if CTranslate2 is not installed."""
    try:
        import ctranslate2
        from ctranslate2.specs.model_spec import visit_spec
    except ImportError:
        return None
    shapes = {
        "embeddings/weight": (vocab_size, hidden),
        "embeddings_0/weight": (vocab_size, hidden),
        "projection/weight": (vocab_size, hidden),
        "self_attention/linear_0/weight": (3 * hidden, hidden),
        "/attention/linear_1/weight": (2 * hidden, hidden),  # keys and values of the source
        "ffn/linear_0/weight": (filters, hidden),
        "ffn/linear_1/weight": (hidden, filters),
    }
    rng = np.random.default_rng(0)

    def fill(layer: Any, path: str, value: Any) -> None:
        if value is not None:
            return
        name = path.rsplit("/", 1)[1]
        if name != "weight":  # of a norm
            setattr(layer, name, np.full(hidden, float(name == "gamma"), np.float32))
            return
        shape = next((shape for end, shape in shapes.items() if path.endswith(end)), (hidden, hidden))
        setattr(layer, name, (rng.standard_normal(shape) * shape[1] ** -0.5).astype(np.float32))

    spec = ctranslate2.specs.TransformerSpec.from_config(layers, HEADS)
    visit_spec(spec, fill)
    tokens = ["<blank>", "<unk>", "<s>", "</s>", *(f"t{i}" for i in range(4, vocab_size))]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.validate()
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        return ctranslate2.Translator(folder, device="cpu", compute_type="float32", inter_threads=1)


def search(translator: Any, sentences: int, source: int, length: int, beams: int) -> Callable[[], object]:
    """A call that translates `sentences` of `source` tokens into `length` tokens each."""
    tokens = [[f"t{5 + i}" for i in range(source)]] * sentences

    def call() -> None:
        lengths = {"max_decoding_length": length, "min_decoding_length": length}
        for result in translator.translate_batch(tokens, beam_size=beams, **lengths):
            assert len(result.hypotheses[0]) == length

    return call
