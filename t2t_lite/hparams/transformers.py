"""The sizes of Transformers to compare with a MultiModel: of equal parameters, or of equal FLOPs per position."""

import math
from typing import Any

from t2t_lite.hparams.hparams import HParams

_DEFAULTS = HParams()

# The hparams that a Transformer does not read, with the values that its sets have.
UNREAD: dict[str, Any] = {
    "use_experts": False,
    **{
        name: getattr(_DEFAULTS, name)
        for name in (
            *("mixer_blocks", "attention_conv_blocks", "use_attention", "num_experts", "experts_per_position"),
            *("balance_loss", "gating_noise", "dropout_place", "residual_scale", "final_norm", "recompute"),
        )
    },
}

_MULTIPLE = 8  # filter sizes are multiples of it


def equal_parameters(hparams: HParams) -> HParams:
    """Returns a Transformer whose body has as many weights as that of a MultiModel, of the same hidden size.

    Encoder and decoder have equally many blocks: as many as bring the filter size closest to four times the hidden
    size, as in Vaswani et al. (2017). The hparams of modality nets and training are the MultiModel's.
    """
    return _closest(hparams, sum(multi_model_weights(hparams)))


def equal_flops(hparams: HParams) -> HParams:
    """As `equal_parameters`, but a position of the input and one of the target together cost equally many FLOPs.

    FLOPs are counted as `--dry_run` does: twice the weights that a position is multiplied with, without attention
    scores. Of the experts these are k of E.
    """
    unused = hparams.num_experts - hparams.experts_per_position
    layers = 2 * hparams.use_experts
    target = sum(multi_model_weights(hparams)) - layers * unused * 2 * hparams.hidden_size * hparams.filter_size
    return _closest(hparams, target)


def multi_model_weights(hparams: HParams) -> tuple[int, int]:
    """Returns the number of weights of a MultiModel's encoder, and of its mixer and decoder."""
    size, filters, experts = hparams.hidden_size, hparams.filter_size, hparams.num_experts
    block = (3 + 3 + 15 + 15) * size + 4 * size**2 + 4 * 2 * size
    attentions = 8 * size**2 + 4 * size if hparams.use_attention else size**2
    attention_block = hparams.attention_conv_blocks * block + attentions
    mixture = 2 * size * experts + 2 * experts * size * filters + 2 * size if hparams.use_experts else 0
    mixer = attention_block + hparams.mixer_blocks * block
    decoder = hparams.decoder_blocks * (block + attention_block) + mixture + 2 * size * hparams.final_norm
    return hparams.encoder_blocks * block + mixture, mixer + decoder


def transformer_weights(hparams: HParams) -> tuple[int, int]:
    """Returns the number of weights of a Transformer's encoder and of its decoder."""
    size, filters = hparams.hidden_size, hparams.filter_size
    feed_forward = 2 * size * filters + filters + size
    encoder_block = 4 * size**2 + feed_forward + 2 * 2 * size
    decoder_block = 8 * size**2 + feed_forward + 3 * 2 * size
    return hparams.encoder_blocks * encoder_block + 2 * size, hparams.decoder_blocks * decoder_block + 2 * size


def _closest(hparams: HParams, target: int) -> HParams:
    """Returns the Transformer whose number of weights is `target`, up to the rounding of its filter size."""
    start = hparams.replace(**UNREAD)
    best, best_distance = start, math.inf
    for blocks in range(1, 1001):
        made = start.replace(encoder_blocks=blocks, decoder_blocks=blocks, filter_size=_MULTIPLE)
        base = sum(transformer_weights(made))
        step = sum(transformer_weights(made.replace(filter_size=2 * _MULTIPLE))) - base
        multiples = round((target - base) / step) + 1
        if multiples < 1:
            break
        distance = abs(math.log(multiples * _MULTIPLE / (4 * hparams.hidden_size)))
        if distance < best_distance:
            best, best_distance = made.replace(filter_size=multiples * _MULTIPLE), distance
    return best
