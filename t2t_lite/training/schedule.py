"""The learning rate schedules: a linear warm-up, then one of these curves.

With t the step counted from 1, w `warmup_steps`, d `decay_steps` and r `learning_rate`, the peak:

noam      r * hidden_size^-0.5 * min(t^-0.5, t * w^-1.5)          "Attention Is All You Need" (2017), equation 3
rsqrt     r * (w / t)^0.5 after the warm-up                       noam scaled to the peak r; T5 (2019), section 3.1.2
cosine    r * (1 + cos(pi * (t - w) / (d - w))) / 2               SGDR (Loshchilov & Hutter 2016), equation 5, one cycle
linear    r * (1 - (t - w) / (d - w))                             BERT (2018), appendix A.2
constant  r

The warm-up is r * t / w while t < w; noam's formula includes its own.
"""

import math

from t2t_lite.hparams import HParams


def learning_rate(hparams: HParams, step: int) -> float:
    """Returns the rate of step `step` (from 0) by the formulas above; a warm-up of 0 steps is treated as 1 step."""
    t, warmup, peak = step + 1, max(hparams.warmup_steps, 1), hparams.learning_rate
    if hparams.schedule == "noam":
        return peak * hparams.hidden_size**-0.5 * min(t**-0.5, t * warmup**-1.5)
    if t < warmup:
        return peak * t / warmup
    if hparams.schedule == "rsqrt":
        return peak * (warmup / t) ** 0.5
    if hparams.schedule == "constant":
        return peak
    left = max(1.0 - (t - hparams.warmup_steps) / max(hparams.decay_steps - hparams.warmup_steps, 1), 0.0)
    return peak * (left if hparams.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))
