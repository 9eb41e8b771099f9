"""The hparams sets: functions that return HParams, named in `--hparams_set`.

The MultiModel's differ from the paper in two hparams, without which the deep body does not train well: dropout is on
the residual branches of a ConvBlock (`dropout_place="branches"`; paper: "output"), and the layer norms that end those
branches have a small initial scale (`residual_scale=0.1`; paper: 1).
"""

from collections.abc import Callable

from t2t_lite import registry
from t2t_lite.hparams import transformers
from t2t_lite.hparams.hparams import HParams

_MODELS: dict[str, str] = {}  # {hparams set: the only model that it is for}


def for_model(model: str) -> Callable[[Callable[[], HParams]], Callable[[], HParams]]:
    """A decorator of hparams sets: training another model with this set is an error."""

    def mark(make: Callable[[], HParams]) -> Callable[[], HParams]:
        _MODELS[make.__name__] = model
        return make

    return mark


def model_of_set(name: str) -> str:
    """Returns the only model that an hparams set is for, or "" if it is for any."""
    return _MODELS.get(name, "")


@registry.hparams_sets.register
def multimodel_base() -> HParams:
    """The paper's MultiModel for eight problems together: D 512, filter 2048, 240 experts, a billion weights.

    For one or more GPUs of 40 GB: `--dry_run` estimates the memory, docs/gpus.md the time. This project has not trained
    it to the end.

    Sound enters as a spectrogram through three ConvRes blocks, one of the two forms that the paper allows. The other,
    the waveform through eight, is `--hparams=audio_form=waveform,audio_blocks=8,audio_width=2`. It hardly learns: a
    layer norm over the two channels of its first block leaves little more than their signs. On eight synthetic vowels,
    42 s of training gave 37% accuracy with the waveform and 98% with the spectrogram.
    """
    return HParams()


@registry.hparams_sets.register
def multimodel_base_no_experts() -> HParams:
    """multimodel_base without its mixture-of-experts layers (paper, table 4)."""
    return multimodel_base().replace(use_experts=False)


@registry.hparams_sets.register
def multimodel_base_no_attention() -> HParams:
    """multimodel_base without its attention blocks (paper, table 4)."""
    return multimodel_base().replace(use_attention=False)


@registry.hparams_sets.register
def multimodel_single() -> HParams:
    """The paper's MultiModel for one problem alone: 60 experts."""
    return multimodel_base().replace(num_experts=60)


@registry.hparams_sets.register
def multimodel_small() -> HParams:
    """The paper's depth at half its width, with 16 experts: for one GPU; very slow on a CPU."""
    return multimodel_base().replace(
        hidden_size=256,
        filter_size=1024,
        num_experts=16,
        dropout=0.1,
        image_width=16,
        image_strides=3,
        categorical_width=768,
        batch_tokens=2048,
    )


@registry.hparams_sets.register
def multimodel_tiny() -> HParams:
    """A shallow, narrow MultiModel for microworld on a laptop's CPU; `make demo` trains it.

    t2t-trainer --problem=microworld --hparams_set=multimodel_tiny --train_steps=7000 ...: about 45 minutes on 2 slow
    cores; on dev picture classes 96%, captions 95% of tokens, speech 9% word errors, whole trees 94%, BLEU 79 to 91.
    """
    return HParams(
        hidden_size=128,
        filter_size=256,
        num_heads=4,
        encoder_blocks=2,
        mixer_blocks=1,
        decoder_blocks=2,
        attention_conv_blocks=1,
        num_experts=4,
        experts_per_position=2,
        dropout=0.05,
        image_width=24,
        image_strides=3,
        image_patches=True,
        audio_form="spectrogram",
        audio_blocks=2,
        audio_width=8,
        audio_mels=24,
        audio_frame_ms=20.0,
        categorical_width=192,
        batch_tokens=1024,
        batch_max_examples=64,
        fine_buckets=False,  # microworld's sentences of one length have one pattern; mixed batches train better
        learning_rate=1.5e-3,
        depthwise_rate=5.0,
        norm_rate=3.0,
        schedule="linear",
        warmup_steps=100,
        clip_norm=5.0,
    )


@registry.hparams_sets.register
def multimodel_real_eight() -> HParams:
    """multimodel_tiny for the mixture real_eight (docs/real-eight.md): eight experts, more dropout, longer warm-up.

    Real text has thousands of words and a few examples of each, so that a model of this size overfits the small
    problems long before it has learned to translate. Not tuned yet. 2,400 steps took an hour on one core of a slow
    server; docs/real-eight.md has the scores.
    """
    return multimodel_tiny().replace(num_experts=8, dropout=0.1, fine_buckets=True, warmup_steps=300, clip_norm=1.0)


@registry.hparams_sets.register
def multimodel_tiny_no_experts() -> HParams:
    """multimodel_tiny without its mixture-of-experts layers (paper, table 4)."""
    return multimodel_tiny().replace(use_experts=False)


@registry.hparams_sets.register
def multimodel_tiny_no_attention() -> HParams:
    """multimodel_tiny without its attention blocks (paper, table 4)."""
    return multimodel_tiny().replace(use_attention=False)


@registry.hparams_sets.register
@for_model("transformer")
def transformer_base() -> HParams:
    """The base Transformer of Vaswani et al. (2017): 6 and 6 blocks, D 512, filter 2048, 8 heads; --model=transformer.

    Their dropout, label smoothing, shared embeddings, Adam and schedule too. Theirs saw batches of 25,000 tokens, here
    `batch_tokens` is 4,096; the norms are on the inputs of sub-layers; the modality nets are those of multimodel_base.
    This project has not trained it to the end.
    """
    return HParams(
        **transformers.UNREAD,
        decoder_blocks=6,
        dropout=0.1,
        share_embeddings=True,
        label_smoothing=0.1,
        learning_rate=1.0,
        schedule="noam",
        warmup_steps=4000,
    )


@registry.hparams_sets.register
@for_model("transformer")
def transformer_big() -> HParams:
    """The big Transformer of Vaswani et al. (2017): D 1024, filter 4096, 16 heads, dropout 0.3; --model=transformer."""
    return transformer_base().replace(hidden_size=1024, filter_size=4096, num_heads=16, dropout=0.3)


@registry.hparams_sets.register
@for_model("transformer")
def transformer_tiny() -> HParams:
    """A Transformer with as many weights as multimodel_tiny, for microworld on a CPU; --model=transformer."""
    return transformers.equal_parameters(multimodel_tiny())


@registry.hparams_sets.register
@for_model("transformer")
def transformer_tiny_equal_flops() -> HParams:
    """A Transformer with as many FLOPs per position as multimodel_tiny; --model=transformer."""
    return transformers.equal_flops(multimodel_tiny())
