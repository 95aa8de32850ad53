"""Pure mathematics of diffusion: tensors in, tensors out.

Words for symbols: `clean` x_0, `noisy` x_t, `noise` epsilon, `step` t, `kept` alpha_bar_t, `mask` m
(1 = defect), `anchor` the defect-free guide, `iteration` an optimiser update (never `step`).
"""

from blemish.diffusion.guidance import norm_guided
from blemish.diffusion.schedule import (
    add_noise,
    kept_at,
    linear_kept,
    posterior_step,
    predict_clean,
)

__all__ = [
    "add_noise",
    "kept_at",
    "linear_kept",
    "norm_guided",
    "posterior_step",
    "predict_clean",
]
