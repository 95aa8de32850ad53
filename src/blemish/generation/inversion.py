"""Learning a product's defects: the losses of textual inversion, and the task that minimises them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blemish import hardware
from blemish.backbones import LatentBackbone, Scene
from blemish.data import write_png
from blemish.data.pictures import contact_sheet
from blemish.diffusion import add_noise, blend, kept_at, predict_clean
from blemish.errors import ConfigError
from blemish.generation.augmentation import Augmentation
from blemish.generation.embedding import Embedding
from blemish.generation.views import Batch, Subject, Views
from blemish.records import Sample

_VALIDATED = 16
_SHEET_ROWS = 6


def masked_noise_loss(
    predicted: Tensor, noise: Tensor, mask: Tensor, weight: Tensor | float = 1.0
) -> Tensor:
    """Return the denoising error inside the defect only, a scalar (AnomalyDiffusion, Eq. 5).

        L_dif = mean over images with a defect of  || m (epsilon - epsilon_theta) ||^2 / ||m||_1

    Each image's error is divided by its own defect's area: a scratch weighs as much as a hole. What
    is predicted outside the mask makes no difference. 0 when no image has a defect. predicted, noise:
    (B, C, h, w); mask: (B, 1 or C, h, w) in {0, 1}; weight: (B, 1, 1, 1), how much each image counts
    at its step.
    """
    inside = mask.expand_as(predicted)
    area = inside.flatten(1).sum(1)
    errors = weight * inside * (predicted - noise).square()
    return (errors.flatten(1).sum(1) / area.clamp_min(1)).sum() / (area > 0).sum().clamp_min(1)


def inversion_loss(predicted: Tensor, noise: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Return the denoising error everywhere: plain textual inversion (AnomalyDiffusion, Eq. 9).

        L = || epsilon - epsilon_theta(z_t, t, e_m) ||^2 / (B C h w)

    What masks are learned with, and defects in the ablation without Eq. 5. predicted, noise:
    (B, C, h, w); weight: (B, 1, 1, 1), how much each image counts at its step. A scalar.
    """
    return (weight * (predicted - noise).square()).mean()


@dataclass(frozen=True, slots=True)
class InversionSettings:
    """How defects are learned.

    subject: `defects` learns the anomaly tokens and the spatial encoder, `masks` the mask tokens.
    masked: Eq. 5; False is the paper's ablation. batch: photos an update, over all processes and
    micro-batches. network_lr: None leaves the backbone frozen, as the paper does; a rate adapts its
    network too. precision: `auto`, `bf16` or `fp32`.
    """

    subject: Subject = "defects"
    masked: bool = True
    batch: int = 4
    accumulation: int = 1
    embedding_lr: float = 5e-3
    encoder_lr: float = 1e-4
    network_lr: float | None = None
    weight_decay: float = 1e-2
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = "auto"
    seed: int = 0


class Objective(nn.Module):
    """What learns, and its loss on one micro-batch.

    The backbone's network is a part only where it learns: what is frozen is neither averaged nor
    written to checkpoints.
    """

    def __init__(
        self, backbone: LatentBackbone, embedding: Embedding, settings: InversionSettings
    ) -> None:
        super().__init__()
        self.embedding, self.settings = embedding, settings
        network = backbone.attention_modules()
        adapts = settings.network_lr is not None
        formats = {parameter.dtype for parameter in network.parameters()}
        if adapts and formats != {torch.float32}:
            raise ConfigError(
                f"the backbone's network cannot learn in {', '.join(map(str, formats))}",
                hint="open the backbone in float32, or leave its network frozen",
            )
        network.requires_grad_(adapts)
        self.network = network if adapts else None
        self._backbone = (backbone,)  # in a tuple, or a backbone that is a module would become a part

    @property
    def backbone(self) -> LatentBackbone:
        """The pretrained model."""
        return self._backbone[0]

    @property
    def device(self) -> torch.device:
        """Where the tokens live; the backbone must live there too."""
        return self.embedding.anomaly.device

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `loss`: Eq. 5, or Eq. 9 for masks and in the ablation."""
        clean, cells = self.latents(batch)
        noise, step = batch.noise(clean.shape[1:]).to(self.device), batch.step.to(self.device)
        predicted = self.predict(batch, clean, cells, noise, step)
        weight = self.backbone.loss_weight(step)
        if self.settings.subject == "defects" and self.settings.masked:
            return {"loss": masked_noise_loss(predicted, noise, cells, weight)}
        return {"loss": inversion_loss(predicted, noise, weight)}

    def latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the latents (B, C, h, w) of the pictures, and where they show the defect."""
        image = batch.image.to(self.device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), self._autocast():
            clean = self.backbone.encode(image, batch.latent_noise).float()
        return clean, self.backbone.cells(batch.mask.to(self.device).float())

    def predict(
        self, batch: Batch, clean: Tensor, cells: Tensor, noise: Tensor, step: Tensor
    ) -> Tensor:
        """Return the noise that the backbone sees in the noisy latents, under the learned tokens."""
        noisy = add_noise(clean, noise, kept_at(self.backbone.kept, step))
        with self._autocast():
            if self.settings.subject == "defects":
                tokens = self.embedding(batch.types, batch.mask.to(self.device).float())
                # The photo shows the answer: a backbone that looks at its scene must not find it there.
                scene = Scene(clean * (1 - cells), cells)
            else:
                tokens, scene = self.embedding.mask_tokens(batch.types), None
            context = self.backbone.context(tokens, len(tokens), batch.prompt)
            return self.backbone.predict_noise(noisy, step, context, scene).float()

    def _autocast(self) -> AbstractContextManager[None]:
        return hardware.autocast(self.device, hardware.precision(self.settings.precision, self.device))


class Inversion:
    """The training task that finds the tokens of a product's defects (AnomalyDiffusion, Eq. 6 and 9).

        e_a*, E* = argmin E[L_dif],    e_m* = argmin E[L]

    Joint over all types, which come up equally often however many photos each has. Fits
    `blemish.training.Run`: iteration i draws the same whatever ran before. Changes what the embedding
    and the backbone's network let learn; the backbone must be on the device that the run uses.

    Raises:
        DatasetError: a photo has no mask of a defect.
        ConfigError: a photo's type is not in the embedding, or a setting does not fit.
    """

    module: nn.Module

    def __init__(
        self,
        backbone: LatentBackbone,
        embedding: Embedding,
        samples: Sequence[Sample],
        settings: InversionSettings | None = None,
    ) -> None:
        self.settings = settings = settings or InversionSettings()
        if embedding.shape["token_width"] != backbone.token_width:
            raise ConfigError(
                f"the embedding's tokens are {embedding.shape['token_width']} wide, "
                f"the backbone reads tokens of {backbone.token_width}",
                hint="make the embedding for this backbone",
            )
        embedding.index([sample.record.label for sample in samples])
        self.views = Views(
            samples, backbone.size, settings.subject, settings.augmentation, settings.seed
        )
        embedding.anomaly.requires_grad_(settings.subject == "defects")
        embedding.encoder.requires_grad_(settings.subject == "defects")
        embedding.mask.requires_grad_(settings.subject == "masks")
        self.embedding = embedding
        self.module = self._objective = Objective(backbone, embedding, settings)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group for the tokens, which do not decay, and one for each network that learns."""
        settings, embedding = self.settings, self.embedding
        masks = settings.subject == "masks"
        tokens = embedding.mask if masks else embedding.anomaly
        groups = [{"params": [tokens], "lr": settings.embedding_lr, "weight_decay": 0.0}]
        others = [] if masks else [(embedding.encoder, settings.encoder_lr)]
        if self._objective.network is not None and settings.network_lr is not None:
            others.append((self._objective.network, settings.network_lr))
        for network, rate in others:
            parameters = [p for p in network.parameters() if p.requires_grad]
            groups.append({"params": parameters, "lr": rate, "weight_decay": settings.weight_decay})
        return groups

    def batches(self, start: int, rank: int, world: int) -> Iterable[Sequence[Batch]]:
        """Yield this rank's micro-batches of iteration start, start + 1, ...

        Raises:
            ConfigError: the batch cannot be shared evenly.
        """
        batch, parts = self.settings.batch, world * self.settings.accumulation
        if batch % parts:
            raise ConfigError(
                f"a batch of {batch} photos cannot be shared evenly by {world} processes with "
                f"{self.settings.accumulation} micro-batches each",
                hint=f"choose a batch that is a multiple of {parts}",
            )
        chunks = [
            range(rank * self.settings.accumulation + part, batch, parts)
            for part in range(self.settings.accumulation)
        ]
        return self.views.stream(start, batch, chunks, len(self._objective.backbone.kept))

    def validate(self) -> dict[str, float]:
        """Return the loss on fixed views, steps and noise; the objective is its negative.

        There are too few photos to hold any out: this tells when learning has stopped, not how well it
        will do elsewhere.
        """
        batches = self._fixed(_VALIDATED)
        with torch.no_grad():
            losses = [float(self._objective(batch)["loss"]) for batch in batches]
        loss = float(np.mean(losses))
        return {"loss": loss, "objective": -loss}

    def settle(self, weights: Mapping[str, Tensor]) -> Embedding:
        """Return the embedding with these learned weights; an adapted network gets its own."""
        self._objective.load_state_dict(weights, strict=False)
        self._objective.eval()
        return self.embedding

    def sheet(self, path: Path) -> None:
        """Draw some pictures, and what is made of them in one step from more and more noise."""
        objective, steps = self._objective, len(self._objective.backbone.kept)
        quarters = [steps * quarter // 4 for quarter in (1, 2, 3)]
        rows = []
        for batch in self._fixed(_SHEET_ROWS):
            clean, cells = objective.latents(batch)
            noise = batch.noise(clean.shape[1:]).to(objective.device)
            row = [batch.image.numpy()[0], _grey(batch.mask.numpy()[0, 0])]
            for quarter in quarters:
                step = torch.tensor([quarter], device=objective.device)
                with torch.no_grad():
                    predicted = objective.predict(batch, clean, cells, noise, step)
                    kept = kept_at(objective.backbone.kept, step)
                    guess = predict_clean(add_noise(clean, noise, kept), predicted, kept)
                    if self.settings.subject == "defects":
                        guess = blend(guess, clean, cells)
                    shown = objective.backbone.decode(guess)[0].permute(1, 2, 0).float().cpu().numpy()
                row.append(np.rint(shown.clip(0, 1) * 255).astype(np.uint8))
            rows.append(row)
        titles = ["learned from", "mask", *(f"guess at step {quarter}" for quarter in quarters)]
        write_png(path, contact_sheet(rows, titles))

    def _fixed(self, count: int) -> list[Batch]:
        """Return batches of one that are always the same, their steps spread evenly."""
        return self.views.fixed(count, len(self._objective.backbone.kept))


def _grey(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
