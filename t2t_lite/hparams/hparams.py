"""The hyperparameters of model, mixture and training, in one frozen dataclass."""

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.hparams.fields import convert_fields, parse_fields, parse_weights


@dataclass(frozen=True)
class HParams:
    """The hyperparameters; the defaults are the paper's MultiModel ("base") with the changes that make it train.

    A set is a function that returns one of these (`sets.py`); `--hparams`, gin files and gin bindings replace fields.

    Raises:
      UserError: a value is of the wrong type, out of range, or does not go with another.
    """

    # The body (paper, section 2)
    hidden_size: int = 512  # D
    filter_size: int = 2048  # hidden units of one expert
    num_heads: int = 8  # H
    encoder_blocks: int = 6  # ConvBlocks of the encoder
    mixer_blocks: int = 2  # ConvBlocks of the mixer, after its attention block
    decoder_blocks: int = 4  # pairs of ConvBlock and attention block in the decoder
    attention_conv_blocks: int = 2  # ConvBlocks over the target inside an attention block
    use_attention: bool = True  # False: the mean of the encoded input replaces attention (paper, table 4)
    use_experts: bool = True  # False: no mixture-of-experts layers (paper, table 4)
    num_experts: int = 240  # E; the paper has 240 for eight problems together, 60 for one alone
    experts_per_position: int = 4  # k
    balance_loss: float = 1e-2  # coefficient of both balancing losses
    gating_noise: bool = True  # adds noise to the router's scores in training, without which loads are not balanced
    dropout: float = 0.4  # dropout rate in every ConvBlock
    dropout_place: str = "branches"  # "branches": on the residual branches; "output": on hidden4, as in the paper
    residual_scale: float = 0.1  # initial scale of the last layer norm of a residual branch; 1 in the paper
    final_norm: bool = True  # a layer norm before the softmax; the paper has none
    scale_embeddings: bool = True  # multiplies embeddings by sqrt(D)

    # The modality nets (paper, section 2.5)
    share_embeddings: bool = False  # one matrix for text embeddings and logits; the paper does not say
    image_width: int = 32  # filters of the image net's first convolution; each next one doubles them
    image_strides: int = 4  # how often the image net halves each side: 4 times is 16x smaller
    image_patches: bool = False  # True: the first halving turns 2x2 pixels into channels; the paper's has strides
    audio_form: str = "spectrogram"  # "waveform" or "spectrogram"
    audio_blocks: int = 3  # ConvRes blocks of the audio net; each halves the length; 8 for the paper's waveform
    audio_width: int = 8  # filters of its first block; each next block doubles them; 2 for the paper's waveform
    audio_mels: int = 80  # mel bands of a spectrogram
    audio_frame_ms: float = 10.0  # hop of a spectrogram in milliseconds
    audio_time_masks: int = 0  # masks in time over each spectrogram in training (SpecAugment)
    audio_time_mask_frames: int = 0  # frames of such a mask at most; never more than a fifth of the sound
    audio_frequency_masks: int = 0  # masks over mel bands
    audio_frequency_mask_bins: int = 0  # mel bands of such a mask at most
    categorical_width: int = 1536  # filters of the categorical net's next to last convolution; the last has 4/3 of them

    # The mixture: which problem a step trains (training/mixture.py)
    mixture: str = "rates"  # "rates" as registered, "proportional" to examples, "temperature", "adaptive" to losses
    mixture_rates: str = ""  # "name:2,other:1": replaces registered rates; a problem named alone has rate 1
    mixture_cap: int = 0  # examples of a problem that "proportional" and "temperature" count at most; 0: no cap
    mixture_temperature: float = 2.0  # T of "temperature": the rate is examples ** (1 / T)
    mixture_unit: str = "steps"  # the unit of the rates: "steps", or "tokens" (positions of the longer side)
    batch_multipliers: str = ""  # "problem:0.5": that problem's batches have half of batch_tokens and max_examples

    # Training
    # Positions in a batch at most: of the longer side, with padding, over all devices. A picture has as many as the
    # image net leaves of it: 14 x 14 of 224 x 224 pixels halved four times.
    batch_tokens: int = 4096
    batch_max_examples: int = 256  # examples in a batch at most
    fine_buckets: bool = True  # many bucket boundaries on both sides of a text, for less padding; False: fewer
    recompute: bool = False  # ConvBlocks are computed again in the backward pass: less memory, a third more time
    accumulate_steps: int = 1  # micro-batches of a replica's part of a batch: less memory, the same update
    precision: str = "float32"  # of the layers' computation: "float32", "bfloat16" or "float16"; weights are float32
    max_bad_steps: int = 10  # training stops after as many steps in a row with a loss or gradient that is not finite
    optimizer: str = "adam"  # "adam", "adamw" (Adam with weight_decay) or "adafactor" (less memory)
    learning_rate: float = 2e-3  # peak of the schedule; for "noam", the factor of its formula
    depthwise_rate: float = 1.0  # factor of the learning rate for depthwise kernels
    norm_rate: float = 1.0  # factor of the learning rate for the norms' scales and shifts
    schedule: str = "rsqrt"  # "noam", "rsqrt", "cosine", "linear" or "constant"; formulas in training/schedule.py
    warmup_steps: int = 1000
    decay_steps: int = 0  # step at which "cosine" and "linear" reach 0; 0: --train_steps
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    adam_epsilon: float = 1e-9
    clip_norm: float = 1.0  # global norm to which gradients are clipped; 0: no clipping
    weight_decay: float = 0.0  # of "adamw" and "adafactor", times the learning rate; variables of rank 1 do not decay
    label_smoothing: float = 0.0
    loss_weights: str = ""  # "problem:2,other:0.5": factors of the problems' losses; 1 for those not named
    freeze: str = ""  # parts of the model, and problems, that training leaves as they are: "encoder,image"
    average_decay: float = 0.0  # decay of the moving average of weights, used to evaluate and decode; 0: no average
    seed: int = 0  # of the weights, the order of examples, the sampler and all noise

    def replace(self, **changes: Any) -> "HParams":
        """Returns a copy with some fields replaced.

        Raises:
          UserError: a name is unknown (the nearest is suggested), or a value is of the wrong type or out of range.
        """
        return dataclasses.replace(self, **convert_fields(HParams, changes, "hparams"))

    def __post_init__(self) -> None:
        for name, value in convert_fields(HParams, vars(self), "hparams").items():
            object.__setattr__(self, name, value)
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value < least:
                raise UserError(f"hparams: {name}={value} must be at least {least:,}")
            if value > most:
                raise UserError(f"hparams: {name}={value} must be at most {most:,}")
        for name in _BELOW_ONE:
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"hparams: {name}={getattr(self, name)} must be at least 0 and below 1")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"hparams: {name} is '{getattr(self, name)}', expected one of {', '.join(choices)}")
        for name in _PER_PROBLEM:
            self.per_problem(name)
        if self.mixture_rates and self.mixture not in ("rates", "adaptive"):
            raise UserError(f"hparams: mixture_rates have no effect with mixture={self.mixture}; leave one of them out")
        if self.hidden_size % self.num_heads:
            raise UserError(f"hparams: hidden_size={self.hidden_size} must be a multiple of num_heads={self.num_heads}")
        if self.hidden_size % 2:
            raise UserError(
                f"hparams: hidden_size={self.hidden_size} must be even (sines and cosines of the timing signal)"
            )
        if not 1 <= self.experts_per_position <= self.num_experts:
            raise UserError(
                f"hparams: experts_per_position={self.experts_per_position} must be 1 to num_experts={self.num_experts}"
            )
        self._check_masks()
        if self.weight_decay and self.optimizer == "adam":
            raise UserError(f"hparams: weight_decay={self.weight_decay} is for optimizer=adamw or adafactor, not adam")
        parse_weights(self.loss_weights, "hparams: loss_weights")

    def _check_masks(self) -> None:
        for number, size in (
            ("audio_time_masks", "audio_time_mask_frames"),
            ("audio_frequency_masks", "audio_frequency_mask_bins"),
        ):
            how_many, largest = getattr(self, number), getattr(self, size)
            if bool(how_many) != bool(largest):
                raise UserError(
                    f"hparams: {number}={how_many} and {size}={largest} belong together: the number of masks and their "
                    "largest size, both above 0 or both 0"
                )
            if how_many and self.audio_form != "spectrogram":
                raise UserError(f"hparams: {number}={how_many} needs audio_form=spectrogram, not {self.audio_form}")
        if self.audio_frequency_mask_bins >= self.audio_mels:
            raise UserError(
                f"hparams: audio_frequency_mask_bins={self.audio_frequency_mask_bins} must be below "
                f"audio_mels={self.audio_mels}"
            )

    def loss_weight(self, problem: str) -> float:
        """Returns the factor of a problem's loss."""
        return parse_weights(self.loss_weights, "hparams: loss_weights").get(problem, 1.0)

    def check_names(self, field: str, known: Collection[str]) -> None:
        """Raises UserError if a name in loss_weights, mixture_rates or batch_multipliers is not one of `known`."""
        for name in parse_weights(getattr(self, field), f"hparams: {field}"):
            if name not in known:
                raise UserError(f"hparams: {field}: '{name}' is not trained here{did_you_mean(name, known)}")

    def per_problem(self, name: str) -> dict[str, float]:
        """Returns the numbers in mixture_rates or batch_multipliers: `"a:2,b:0.5"` is {"a": 2.0, "b": 0.5}."""
        numbers = parse_weights(getattr(self, name), f"hparams: {name}")
        for key, number in numbers.items():
            if not number:
                raise UserError(f"hparams: {name}: '{key}:0': the number must be above 0")
        return numbers

    def changes_from(self, before: "HParams") -> dict[str, str]:
        """Returns {field: a phrase such as "dropout is 0.2, was 0.0"} for the fields that differ from `before`."""
        new, old = dataclasses.asdict(self), dataclasses.asdict(before)
        return {key: f"{key} is {new[key]}, was {old[key]}" for key in new if new[key] != old[key]}

    def save(self, path: Path) -> None:
        """Writes all fields as JSON."""
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"
        path.write_text(text, encoding="utf8")

    @classmethod
    def load(cls, path: Path) -> "HParams":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing, or is not a JSON object of hparams.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf8"))
        except (OSError, ValueError) as e:
            raise UserError(f"{path}: cannot read the hparams of the run: {e}") from e
        if not isinstance(stored, dict):
            raise UserError(f"{path}: cannot read the hparams of the run: not a JSON object")
        return cls(**convert_fields(cls, stored, str(path)))


_CHOICES = {
    "mixture": ("rates", "proportional", "temperature", "adaptive"),
    "mixture_unit": ("steps", "tokens"),
    "dropout_place": ("branches", "output"),
    "audio_form": ("waveform", "spectrogram"),
    "precision": ("float32", "bfloat16", "float16"),
    "optimizer": ("adam", "adamw", "adafactor"),
    "schedule": ("noam", "rsqrt", "cosine", "linear", "constant"),
}
_SIZE = 2**16  # widths of layers: four times those of the largest language models
_BLOCKS = 1000
_STEPS = 2**31 - 1  # steps and seeds are int32 in noise
_FACTOR = 10**9  # float32 has room for products of such factors
# Least and largest values. The upper bounds refuse what no machine can train, before anything is built.
_RANGES: dict[str, tuple[float, float]] = {
    "hidden_size": (2, _SIZE),
    "filter_size": (1, 2**20),
    "num_heads": (1, _SIZE),
    "encoder_blocks": (1, _BLOCKS),
    "mixer_blocks": (1, _BLOCKS),
    "decoder_blocks": (1, _BLOCKS),
    "attention_conv_blocks": (0, _BLOCKS),
    "num_experts": (1, 2**17),
    "experts_per_position": (1, 2**17),
    "balance_loss": (0, _FACTOR),
    "residual_scale": (-_FACTOR, _FACTOR),
    "image_width": (1, _SIZE),
    "image_strides": (0, 4),
    "audio_blocks": (1, 16),
    "audio_width": (1, _SIZE),
    "audio_mels": (1, 4096),
    "audio_frame_ms": (1, 10_000),
    "audio_time_masks": (0, 100),
    "audio_time_mask_frames": (0, 2**20),
    "audio_frequency_masks": (0, 100),
    "audio_frequency_mask_bins": (0, 4096),
    "categorical_width": (1, _SIZE),
    "mixture_cap": (0, 2**53),
    "mixture_temperature": (1, _FACTOR),
    "batch_tokens": (1, 2**31 - 1),
    "batch_max_examples": (1, 2**31 - 1),
    "accumulate_steps": (1, 2**20),
    "max_bad_steps": (1, _STEPS),
    "learning_rate": (0, _FACTOR),
    "depthwise_rate": (0, _FACTOR),
    "norm_rate": (0, _FACTOR),
    "warmup_steps": (0, _STEPS),
    "decay_steps": (0, _STEPS),
    "seed": (0, 2**31 - 1),
    "adam_epsilon": (0, 1),
    "clip_norm": (0, _FACTOR),
    "weight_decay": (0, _FACTOR),
}
_PER_PROBLEM = ("mixture_rates", "batch_multipliers")
_BELOW_ONE = ("dropout", "adam_beta1", "adam_beta2", "label_smoothing", "average_decay")


def override(hparams: HParams, overrides: str) -> HParams:
    """Returns hparams with fields replaced as `"hidden_size=64,dropout=0.1"` says.

    Raises:
      UserError: a name is unknown (the nearest is suggested), a value is wrong, or a part is not `name=value`.
    """
    return hparams.replace(**parse_fields(HParams, overrides, "--hparams"))
