"""The hparams sets: functions that return HParams, named in `--hparams_set`."""

from t2t_lite import registry
from t2t_lite.hparams.hparams import HParams


@registry.hparams_sets.register
def multimodel_base() -> HParams:
    """The paper's MultiModel for eight problems together: D 512, filter 2048, 240 experts."""
    return HParams()


@registry.hparams_sets.register
def multimodel_single() -> HParams:
    """The paper's MultiModel for one problem alone: 60 experts."""
    return multimodel_base().replace(num_experts=60)


@registry.hparams_sets.register
def multimodel_tiny() -> HParams:
    """For microworld on a laptop."""
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
        image_width=16,
        image_strides=2,
        audio_form="spectrogram",
        audio_blocks=2,
        audio_width=8,
        audio_mels=32,
        audio_frame_ms=16.0,
        categorical_width=192,
        batch_tokens=1024,
        batch_max_examples=64,
        learning_rate=2e-3,
        schedule="linear",
        warmup_steps=100,
    )
