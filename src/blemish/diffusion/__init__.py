"""Pure mathematics of diffusion: tensors in, tensors out.

Words for symbols: `clean` x_0, `noisy` x_t, `noise` epsilon, `step` t, `kept` alpha_bar_t, `mask` m
(1 = defect), `anchor` the defect-free guide, `iteration` an optimiser update (never `step`).
"""

from blemish.diffusion.blending import blend, dilate, mask_shrink, to_latent
from blemish.diffusion.guidance import classifier_free, norm_guided
from blemish.diffusion.local import Patches, patch_posterior, surroundings
from blemish.diffusion.reweighting import paper_weights, reference_weights, tempered_weights
from blemish.diffusion.schedule import (
    add_noise,
    clean_from_velocity,
    implied_noise,
    kept_at,
    linear_kept,
    noise_from_velocity,
    posterior_step,
    predict_clean,
    scaled_linear_kept,
    velocity,
)
from blemish.diffusion.solvers import (
    Advance,
    DDIMSolver,
    MultistepSolver,
    Solver,
    ddim_step,
    extrapolate,
    spaced_steps,
)

__all__ = [
    "Advance",
    "DDIMSolver",
    "MultistepSolver",
    "Patches",
    "Solver",
    "add_noise",
    "blend",
    "classifier_free",
    "clean_from_velocity",
    "ddim_step",
    "dilate",
    "extrapolate",
    "implied_noise",
    "kept_at",
    "linear_kept",
    "mask_shrink",
    "noise_from_velocity",
    "norm_guided",
    "paper_weights",
    "patch_posterior",
    "posterior_step",
    "predict_clean",
    "reference_weights",
    "scaled_linear_kept",
    "spaced_steps",
    "surroundings",
    "tempered_weights",
    "to_latent",
    "velocity",
]
