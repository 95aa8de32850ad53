"""Solvers: from pure noise to a clean image in a few steps, one loop for all.

    for index, step in enumerate(solver.steps):
        noise = network(noisy, step)
        noisy, clean = solver.advance(noise, index, noisy, fresh)

Between two calls the loop may change `noisy`, as blended sampling does.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from blemish.diffusion.schedule import implied_noise, predict_clean
from blemish.errors import ConfigError


class Advance(NamedTuple):
    """One step of a solver. noisy: at the next step; clean: what the network expects at the end."""

    noisy: Tensor
    clean: Tensor


class Solver(Protocol):
    """Turns predictions of the noise into steps from noise to image, one run at a time.

    steps: descending, one call of the network for each; kept: alpha_bar at each of them and 1 behind
    the last, float64 (S + 1,) on the CPU, so that its elements mix with any device and number format.
    """

    steps: list[int]
    kept: Tensor

    def advance(self, noise: Tensor, index: int, noisy: Tensor, fresh: Tensor) -> Advance:
        """Return the noisy image at the next step and the clean image expected now.

        noise: predicted at steps[index], (B, C, h, w); noisy: what it was predicted for; fresh:
        Gaussian noise, drawn by the caller image by image, which a deterministic solver ignores.
        Called for index 0, 1, ... in order; 0 starts a new run.
        """


def spaced_steps(total: int, count: int, power: float = 2.0) -> list[int]:
    """Return `count` steps, descending from total - 1 to 0 (Song et al. 2021, D.2).

        t_i = round((total - 1) * (i / (count - 1)) ** power),  i = count - 1 ... 0

    Power 1 is even spacing. Power 2, their quadratic spacing, has more steps where little noise is
    left and fine texture is decided: even spacing passes there too fast and leaves texture flat.
    power: at least 1.

    Raises:
        ConfigError: count is not in 1..total.
    """
    if not 1 <= count <= total:
        raise ConfigError(
            f"{count} sampling steps: expected 1 to {total}, the number in training",
            hint="20 to 50 are usual",
        )
    intervals = max(count - 1, 1)
    even = [1 - taken / intervals for taken in range(count)]
    spaced = [math.floor((total - 1) * share**power + 0.5) for share in even]
    return [max(step, count - 1 - taken) for taken, step in enumerate(spaced)]


def ddim_step(
    noisy: Tensor,
    clean: Tensor,
    kept: Tensor,
    kept_before: Tensor,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """Return the noisy image at an earlier step (Song et al. 2021, Eq. 12 and 16).

        x_s = sqrt(ab_s) * x_0 + sqrt(1 - ab_s - sigma^2) * epsilon + sigma * z
        sigma = eta * sqrt((1 - ab_s) / (1 - ab_t)) * sqrt(1 - ab_t / ab_s)

    eta 0 is deterministic, 1 the ancestral sampler that AnomalyDiffusion uses; with kept_before = 1 the
    clean image comes back. noisy, clean (predicted), noise (z, Gaussian, not needed at eta 0):
    (B, C, h, w); kept, kept_before: alpha_bar at t and at the earlier s, (B, 1, 1, 1) or scalar.
    """
    sigma = eta * ((1 - kept_before) / (1 - kept) * (1 - kept / kept_before)).sqrt()
    direction = (1 - kept_before - sigma.square()).clamp_min(0).sqrt()
    moved = kept_before.sqrt() * clean + direction * implied_noise(noisy, clean, kept)
    return moved if noise is None else moved + sigma * noise


def extrapolate(
    clean: Tensor, clean_after: Tensor, kept: Tensor, kept_after: Tensor, kept_before: Tensor
) -> Tensor:
    """Return the clean image to expect half-way to the earlier step (Lu et al. 2022, DPM-Solver++).

        D = x_0(t) + (lambda_s - lambda_t) / (lambda_t - lambda_u) / 2 * (x_0(t) - x_0(u))
        lambda = log(alpha_bar / (1 - alpha_bar)) / 2

    A step of DDIM towards D in place of x_0(t) is their multistep solver of second order, "2M".
    clean, clean_after: predicted at t and at the step u > t taken before it, (B, C, h, w); kept,
    kept_after, kept_before: alpha_bar at t, u and the earlier s, below 1, (B, 1, 1, 1) or scalar.
    """
    ahead = kept_before.logit() - kept.logit()
    behind = kept.logit() - kept_after.logit()
    return clean + ahead / behind / 2 * (clean - clean_after)


class DDIMSolver:
    """The sampler of AnomalyDiffusion: many small steps, each an equation (`ddim_step`)."""

    def __init__(self, kept: Tensor, count: int, eta: float = 1.0, power: float = 2.0) -> None:
        """`kept`: alpha_bar of the network's training, (T,); `count`, `power`: of `spaced_steps`.

        Raises:
            ConfigError: count is not in 1..T.
        """
        self.steps = spaced_steps(len(kept), count, power)
        self.kept = _kept_along(kept, self.steps)
        self.eta = eta

    def advance(self, noise: Tensor, index: int, noisy: Tensor, fresh: Tensor) -> Advance:
        """Return the noisy image at the next step and the clean image expected now."""
        kept, kept_before = self.kept[index], self.kept[index + 1]
        clean = predict_clean(noisy, noise, kept)
        aim = self._aim(clean, index)
        return Advance(ddim_step(noisy, aim, kept, kept_before, self.eta, fresh), clean)

    def _aim(self, clean: Tensor, _: int) -> Tensor:
        """Return the clean image to step towards."""
        return clean


class MultistepSolver(DDIMSolver):
    """DPM-Solver++(2M): steps of DDIM towards an extrapolated clean image, so that fewer will do.

    eta 0 is the deterministic solver, eta 1 its SDE form. The first step has nothing to extrapolate
    from, and the last nothing to extrapolate to.
    """

    def __init__(self, kept: Tensor, count: int, eta: float = 0.0, power: float = 2.0) -> None:
        """`kept`: alpha_bar of the network's training, (T,); `count`, `power`: of `spaced_steps`.

        Raises:
            ConfigError: count is not in 1..T.
        """
        super().__init__(kept, count, eta, power)
        self._clean: Tensor | None = None

    def _aim(self, clean: Tensor, index: int) -> Tensor:
        """Return the clean image expected half-way to the next step."""
        before, self._clean = self._clean, clean
        if before is None or not 0 < index < len(self.steps) - 1:
            return clean
        return extrapolate(clean, before, self.kept[index], self.kept[index - 1], self.kept[index + 1])


def _kept_along(kept: Tensor, steps: list[int]) -> Tensor:
    """Return alpha_bar at each step and 1 behind the last, on the CPU."""
    return torch.cat([kept.double().cpu()[steps], torch.ones(1, dtype=torch.float64)])
