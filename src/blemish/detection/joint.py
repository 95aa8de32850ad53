"""Joint training of both networks: from a batch to its losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from blemish import hardware
from blemish.config import InspectorConfig
from blemish.detection.inspector import Guess, Inspector, as_float
from blemish.detection.objective import clean_loss, feature_loss, mask_loss, noise_loss
from blemish.detection.samples import Batch

FEATURE_WEIGHT = 0.025


class Objective(nn.Module):
    """The training loss of one micro-batch (DiffusionAD, Eq. 11): the sum of Eq. 9, ours and Eq. 10."""

    def __init__(self, config: InspectorConfig, inspector: Inspector, dtype: torch.dtype) -> None:
        super().__init__()
        self.inspector = inspector
        self.detach = config.training.detach
        self.dtype = dtype

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `loss` (Eq. 11) and its parts: `noise` (Eq. 9), `features` (ours), `mask` (Eq. 10)."""
        inspector = self.inspector
        where = next(inspector.parameters()).device
        image = as_float(batch.photo.to(where))
        valid, normal = batch.valid.to(where).float(), batch.normal.to(where)
        noise, fine, anchor = batch.noise().to(where), batch.fine.to(where), batch.anchor.to(where)
        if inspector.diffusion.reconstruction == "iterative":  # it will see both ranges of steps
            small = torch.arange(len(fine), device=where) % 2 == 0
            fine = torch.where(small, fine, anchor)
        with hardware.autocast(where, self.dtype):
            features = inspector.features(image)
            if self.detach:
                guesses = self._learning_from_normal(image, noise, fine, anchor, normal)
                settled = [guess.map(torch.Tensor.detach) for guess in guesses]
            else:
                guesses = settled = inspector.guess(image, noise, fine, anchor)
            novelty = inspector.novelty(features, batch.family.to(where))
            logits = inspector.segment(image, inspector.guide(settled), features, novelty)
        expected = features[1:]
        losses = {
            "noise": self._noise(guesses, image, noise, normal, valid),
            "features": sum(
                (feature_loss(g.features, expected, normal, valid) for g in guesses),
                torch.zeros((), device=where),
            ),
            "mask": mask_loss(logits.float(), batch.mask.to(where).float()),
        }
        total = losses["noise"] + FEATURE_WEIGHT * losses["features"] + losses["mask"]
        return {"loss": total, **losses}

    def _learning_from_normal(
        self, image: Tensor, noise: Tensor, fine: Tensor, anchor: Tensor, normal: Tensor
    ) -> list[Guess]:
        """Return guesses that learn from the leading normal images only: the rest costs no backward."""
        count = int(normal.long().cumprod(0).sum())
        inputs = (image, noise, fine, anchor)
        parts = []
        for rows, learns in ((slice(0, count), True), (slice(count, None), False)):
            chosen = [value[rows] for value in inputs]
            if len(chosen[0]):
                with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                    parts.append(self.inspector.guess(*chosen))
        return [_joined(pair) for pair in zip(*parts, strict=True)]

    def _noise(
        self, guesses: list[Guess], image: Tensor, noise: Tensor, normal: Tensor, valid: Tensor
    ) -> Tensor:
        """Return Eq. 9 over the noise scales in use."""
        total = torch.zeros((), device=image.device)
        for scale, guess in enumerate(guesses):
            if self.inspector.by_noise:
                total = total + noise_loss(guess.output, noise[:, scale], normal, valid)
            else:
                total = total + clean_loss(guess.clean, image, guess.kept, normal, valid)
        return total


def _joined(parts: tuple[Guess, ...]) -> Guess:
    """Return the guesses about consecutive parts of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    rows = zip(*([*part[:3], *part.features] for part in parts), strict=True)
    output, clean, kept, *features = (torch.cat(row) for row in rows)
    return Guess(output, clean, kept, features)
