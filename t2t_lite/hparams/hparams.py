"""HParams: every number that shapes a model or its training, in one frozen dataclass."""

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
    """The hyperparameters; the defaults are the paper's MultiModel ("base") with what makes it train.

    A set is a function that returns one of these (`sets.py`); `--hparams`, gin files and gin bindings replace fields.
    """

    # The body (paper, section 2)
    hidden_size: int = 512  # D
    filter_size: int = 2048  # the hidden width of one expert
    num_heads: int = 8  # H
    encoder_blocks: int = 6  # ConvBlocks of the encoder
    mixer_blocks: int = 2  # ConvBlocks of the mixer, after its attention block
    decoder_blocks: int = 4  # pairs of ConvBlock and attention block in the decoder
    attention_conv_blocks: int = 2  # ConvBlocks that mix the target inside an attention block
    use_attention: bool = True  # False: no attention blocks; the mean of the encoded input stands in (paper, table 4)
    use_experts: bool = True  # False: no mixture-of-experts layers (paper, table 4)
    num_experts: int = 240  # E: 240 for eight problems together, 60 for one alone
    experts_per_position: int = 4  # k
    balance_loss: float = 1e-2  # the coefficient of both balancing losses
    gating_noise: bool = True  # noise on the router's scores in training, without which loads are not balanced
    dropout: float = 0.4  # the rate in every ConvBlock
    dropout_place: str = (
        "branches"  # "branches": on the residual branches; "output": on hidden4, as the paper's formula
    )
    residual_scale: float = 0.1  # what the last norm of a residual branch starts at; the paper's layer norm starts at 1
    final_norm: bool = True  # a layer norm before the softmax; the paper has none
    scale_embeddings: bool = True  # multiply embeddings by sqrt(D)

    # The modality nets (paper, section 2.5)
    share_embeddings: bool = False  # one matrix embeds text and maps to logits; the paper does not say
    image_width: int = 32  # filters of the first convolution of the image net; the next ones double it
    image_strides: int = 4  # halvings of each side, at most 4: 16x smaller; fewer for small pictures
    image_patches: bool = False  # the first halving takes 2x2 pixels as channels; the paper's convolution strides
    audio_form: str = "waveform"  # "waveform" or "spectrogram"
    audio_blocks: int = 8  # ConvRes blocks of the audio net; each halves time
    audio_width: int = 2  # filters of its first block; each next block doubles them
    audio_mels: int = 80  # mel bands of a spectrogram
    audio_frame_ms: float = 10.0  # time from one frame of a spectrogram to the next, in milliseconds
    categorical_width: int = (
        1536  # filters of the next to last convolution of the categorical net; the last has 4/3 of it
    )

    # The mixture: which problem a step trains (training/mixture.py)
    mixture: str = "rates"  # "rates" as registered, "proportional" to examples, "temperature", "adaptive" to losses
    mixture_rates: str = ""  # "name:2,other:1", in place of registered rates; a problem named alone has rate 1
    mixture_cap: int = 0  # the examples of a problem that "proportional" and "temperature" count at most; 0: all
    mixture_temperature: float = 2.0  # T of "temperature": the rate is examples ** (1 / T)
    mixture_unit: str = "steps"  # what the rates share out: "steps", or "tokens" (positions of the longer side)
    batch_multipliers: str = ""  # "problem:0.5": that problem's batches have half of batch_tokens and max_examples

    # Training
    batch_tokens: int = 4096  # positions (input or target, the larger, padding included) in a batch, over all devices
    batch_max_examples: int = 256  # examples in a batch at most
    fine_buckets: bool = True  # many lengths, and both sides of a text alike: less padding; False: fewer lengths
    accumulate_steps: int = (
        1  # parts that a device's share of a batch is cut into, to save memory; the update is the same
    )
    precision: str = "float32"  # of the layers' products: "float32", "bfloat16" or "float16"; weights are float32
    max_bad_steps: int = 10  # steps in a row with a loss or gradient that is not finite before training stops
    optimizer: str = "adam"  # "adam", "adamw" (Adam with weight_decay) or "adafactor" (less memory)
    learning_rate: float = 2e-3  # the peak of the schedule; of "noam", what its formula is multiplied by
    depthwise_rate: float = 1.0  # the learning rate of depthwise kernels, relative to that of all else
    norm_rate: float = 1.0  # likewise of the norms' scales and shifts
    schedule: str = "rsqrt"  # "noam", "rsqrt", "cosine", "linear" or "constant"; formulas in training/schedule.py
    warmup_steps: int = 1000
    decay_steps: int = 0  # where "cosine" and "linear" reach 0; 0: at the last step of training
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    adam_epsilon: float = 1e-9
    clip_norm: float = 1.0  # the global norm that gradients are clipped to; 0: not clipped
    weight_decay: float = 0.0  # of "adamw" and "adafactor", times the learning rate; variables of rank 1 do not decay
    label_smoothing: float = 0.0
    loss_weights: str = ""  # what problems' losses are multiplied by, as "problem:2,other:0.5"; 1 where not named
    average_decay: float = 0.0  # of the moving average of weights that is evaluated and decoded with; 0: none
    seed: int = 0  # of the weights, the order of examples, the draw of problems and all noise

    def replace(self, **changes: Any) -> "HParams":
        """Returns a copy with some fields replaced.

        Raises:
          UserError: a name is unknown (the nearest is suggested), or a value is of the wrong type or out of range.
        """
        return dataclasses.replace(self, **convert_fields(HParams, changes, "hparams"))

    def __post_init__(self) -> None:
        for name, value in convert_fields(HParams, vars(self), "hparams").items():
            object.__setattr__(self, name, value)
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise UserError(f"hparams: {name}={getattr(self, name)} must be at least {least}")
        for name in _BELOW_ONE:
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"hparams: {name}={getattr(self, name)} must be at least 0 and below 1")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"hparams: {name} is '{getattr(self, name)}', expected one of {', '.join(choices)}")
        for name in _NUMBERS:
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
        if self.weight_decay and self.optimizer == "adam":
            raise UserError(f"hparams: weight_decay={self.weight_decay} is for optimizer=adamw or adafactor, not adam")
        parse_weights(self.loss_weights, "hparams: loss_weights")

    def loss_weight(self, problem: str) -> float:
        """What the loss of a problem is multiplied by."""
        return parse_weights(self.loss_weights, "hparams: loss_weights").get(problem, 1.0)

    def check_names(self, field: str, known: Collection[str]) -> None:
        """Raises UserError if loss_weights, mixture_rates or batch_multipliers names what is not one of `known`."""
        for name in parse_weights(getattr(self, field), f"hparams: {field}"):
            if name not in known:
                raise UserError(f"hparams: {field}: '{name}' is not trained here{did_you_mean(name, known)}")

    def per_problem(self, name: str) -> dict[str, float]:
        """What mixture_rates or batch_multipliers say of each name: `"a:2,b:0.5"` is {"a": 2.0, "b": 0.5}."""
        found = parse_weights(getattr(self, name), f"hparams: {name}")
        for key, number in found.items():
            if not number:
                raise UserError(f"hparams: {name}: '{key}:0': the number must be above 0")
        return found

    def save(self, path: Path) -> None:
        """Writes all fields as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf8")

    @classmethod
    def load(cls, path: Path) -> "HParams":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing or is not such a file.
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
_AT_LEAST = {
    "hidden_size": 2,
    "filter_size": 1,
    "num_heads": 1,
    "encoder_blocks": 1,
    "mixer_blocks": 1,
    "decoder_blocks": 1,
    "attention_conv_blocks": 0,
    "balance_loss": 0,
    "image_width": 1,
    "image_strides": 0,
    "audio_blocks": 1,
    "audio_width": 1,
    "audio_mels": 1,
    "audio_frame_ms": 1,
    "categorical_width": 1,
    "mixture_cap": 0,
    "mixture_temperature": 1,
    "batch_tokens": 1,
    "batch_max_examples": 1,
    "accumulate_steps": 1,
    "max_bad_steps": 1,
    "learning_rate": 0,
    "depthwise_rate": 0,
    "norm_rate": 0,
    "warmup_steps": 0,
    "decay_steps": 0,
    "seed": 0,
    "adam_epsilon": 0,
    "clip_norm": 0,
    "weight_decay": 0,
}
_NUMBERS = ("mixture_rates", "batch_multipliers")
_BELOW_ONE = ("dropout", "adam_beta1", "adam_beta2", "label_smoothing", "average_decay")


def override(hparams: HParams, overrides: str) -> HParams:
    """Returns hparams with `"hidden_size=64,dropout=0.1"` put in.

    Raises:
      UserError: a name is unknown (the nearest is suggested), a value is wrong, or a part is not `name=value`.
    """
    return hparams.replace(**parse_fields(HParams, overrides, "--hparams"))
