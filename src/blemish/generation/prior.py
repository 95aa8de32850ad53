"""The prior of the embedded backbone: what drawn defects look like on drawn surfaces.

    python -m blemish.generation.prior OUT [--minutes 120] [--seed 0] [--resume]

A backbone that paints, a describer that reads a defect off a photo, and a spatial encoder learn
together: the tokens of one drawn photo must denoise another of the same style. No real photo plays a
part, so what is learned can be given away.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from blemish import artifacts
from blemish.backbones import Scene
from blemish.backbones.embedded import Embedded, Shape
from blemish.data import write_png
from blemish.data.pictures import contact_sheet
from blemish.diffusion import add_noise, kept_at
from blemish.generation.inversion import masked_noise_loss
from blemish.generation.sampler import Sampling, paint
from blemish.hardware import device, precision
from blemish.networks import Describer, LiteEncoder
from blemish.networks.spatial import SmallSpatialEncoder
from blemish.randomness import generator, normal_noise, numpy_generator, stream_seed
from blemish.runtime import configure_logging, keep_memory
from blemish.synthesis.styles import draw_mask, draw_style, draw_surface
from blemish.synthesis.styles import paint as paint_style
from blemish.training import Plan, Run, stream

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

ANOMALY_TOKENS, SPATIAL_TOKENS = 8, 4
READERS = "readers.safetensors"
_UNTOLD, _OTHER_MATERIAL = 0.1, 0.3
_VALIDATED, _SHEET_ROWS = 32, 8
_SURFACES = 64


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two drawn photos of each defect style: one to describe, one to paint.

    exemplar, image: uint8 (B, S, S, 3); exemplar_mask, mask: bool (B, 1, S, S); step: int64 (B,);
    told: bool (B,), False where the painting must do without the description; streams: seeds of the
    private noise of each image.
    """

    exemplar: Tensor
    exemplar_mask: Tensor
    image: Tensor
    mask: Tensor
    step: Tensor
    told: Tensor
    streams: tuple[int, ...]

    def noise(self, shape: Sequence[int]) -> Tensor:
        """Return standard normal noise, float32 (B, *shape)."""
        return normal_noise(self.streams, shape)


class DrawnPairs(Dataset[list[Pairs]]):
    """Endless batches of drawn pairs; iteration i is a pure function of (seed, i)."""

    def __init__(self, size: int, batch: int, steps: int, seed: int) -> None:
        self.size, self.count, self.steps, self.seed = size, batch, steps, seed

    def __getitem__(self, iteration: int) -> list[Pairs]:
        """Return the one micro-batch of an iteration."""
        return [self.batch([("pair", iteration, slot) for slot in range(self.count)])]

    def batch(self, names: Sequence[tuple[str, int, int]], step: Tensor | None = None) -> Pairs:
        """Return the pairs of these names, at random steps unless they are given."""
        drawn = [self._pair(numpy_generator(self.seed, *name)) for name in names]
        exemplar, exemplar_mask, image, mask = (np.stack(part) for part in zip(*drawn, strict=True))
        if step is None:
            draws = [generator(self.seed, "step", *name) for name in names]
            step = torch.stack([torch.randint(0, self.steps, (), generator=draw) for draw in draws])
        told = [float(numpy_generator(self.seed, "told", *name).random()) >= _UNTOLD for name in names]
        return Pairs(
            torch.from_numpy(exemplar),
            torch.from_numpy(exemplar_mask)[:, None],
            torch.from_numpy(image),
            torch.from_numpy(mask)[:, None],
            step,
            torch.tensor(told),
            tuple(stream_seed(self.seed, "noise", *name) for name in names),
        )

    def stream(self, start: int, workers: int) -> Iterator[list[Pairs]]:
        """Yield the batches of iterations start, start + 1, ..."""
        return stream(self, start, workers)

    def _pair(self, rng: np.random.Generator) -> tuple[Picture, Mask, Picture, Mask]:
        """Return exemplar and target, each with its mask: one style, and mostly one material."""
        style = draw_style(rng)
        surface = draw_surface(rng, self.size)
        other = np.ascontiguousarray(surface[::-1, ::-1])
        if rng.random() < _OTHER_MATERIAL:
            other = draw_surface(rng, self.size)
        masks = [draw_mask(rng, style, self.size) for _ in range(2)]
        exemplar = paint_style(rng, surface, masks[0], style)
        return exemplar, masks[0], paint_style(rng, other, masks[1], style), masks[1]


class PriorObjective(nn.Module):
    """What learns, and its loss: the tokens of one photo must denoise the other."""

    def __init__(self, backbone: Embedded, encoder: LiteEncoder) -> None:
        super().__init__()
        self.backbone, self.encoder = backbone, encoder
        self.backbone.network.requires_grad_(requires_grad=True)
        self.describer = Describer(ANOMALY_TOKENS, backbone.token_width)
        self.spatial = SmallSpatialEncoder(SPATIAL_TOKENS, backbone.token_width)

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Return `loss`: Eq. 5, weighted by how much there is to learn at each step."""
        where = self.backbone.level.device
        image, mask = _standardised(batch.image.to(where)), batch.mask.to(where).float()
        clean, cells = self.patches(image), self.backbone.cells(mask)
        noise, step = batch.noise(clean.shape[1:]).to(where), batch.step.to(where)
        noisy = add_noise(clean, noise, kept_at(self.backbone.kept, step))
        tokens = self.tokens(batch) * batch.told.to(where)[:, None, None]
        context = self.backbone.context(tokens, len(tokens))
        guess = self.backbone.predict_noise(noisy, step, context, Scene(clean * (1 - cells), cells))
        return {"loss": masked_noise_loss(guess, noise, cells, self.backbone.loss_weight(step))}

    def tokens(self, batch: Pairs) -> Tensor:
        """Return the tokens that the exemplars' looks and the targets' masks give, (B, k + n, D)."""
        where = self.backbone.level.device
        with torch.no_grad():
            features = self.encoder(batch.exemplar.to(where).permute(0, 3, 1, 2).float() / 255)
        shown = _standardised(batch.exemplar.to(where))
        look = self.describer(shown, batch.exemplar_mask.to(where).float(), features)
        place = self.spatial(batch.mask.to(where).float())
        return torch.cat([look, place], dim=1)

    def patches(self, image: Tensor) -> Tensor:
        """Return standardised pictures (B, 3, S, S) as the backbone's latents."""
        return nn.functional.pixel_unshuffle(image, self.backbone.stride)


def _standardised(photo: Tensor) -> Tensor:
    """Return uint8 (B, S, S, 3) as float32 (B, 3, S, S), each picture with mean 0 and variance 1."""
    image = photo.permute(0, 3, 1, 2).float() / 255
    variance, mean = torch.var_mean(image, dim=(1, 2, 3), keepdim=True)
    return (image - mean) / variance.sqrt().clamp_min(0.02)


def described(
    readers: Mapping[str, Tensor], squares: Sequence[tuple[Picture, Mask]], shape: Sequence[int]
) -> Tensor:
    """Return the tokens that a saved prior's describer reads off defects, (B, *shape).

    readers: the file beside the prior; squares: uint8 (S, S, 3) and bool (S, S); shape: tokens, width.
    """
    describer, encoder = Describer(shape[0], shape[1]), LiteEncoder()
    for name, module in (("describer", describer), ("encoder", encoder)):
        module.load_state_dict({k: v.float() for k, v in artifacts.part(readers, name).items()})
    images, masks = (torch.from_numpy(np.stack(part)) for part in zip(*squares, strict=True))
    with torch.no_grad():
        features = encoder(images.permute(0, 3, 1, 2).float() / 255)
        tokens: Tensor = describer(_standardised(images), masks[:, None].float(), features)
    return tokens


class PriorTask:
    """The training task of the prior; fits `blemish.training.Run`."""

    module: nn.Module

    def __init__(
        self, backbone: Embedded, pairs: DrawnPairs, *, lr: float = 4e-4, workers: int = 1
    ) -> None:
        self.pairs, self.lr, self.workers = pairs, lr, workers
        streams = (numpy_generator(pairs.seed, "surface", index) for index in range(_SURFACES))
        seen = [draw_surface(stream, pairs.size) for stream in streams]
        encoder = LiteEncoder.imagenet(
            torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() / 255
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(pairs.seed, "prior"))
            self.module = self.objective = PriorObjective(backbone, encoder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all that learns, in one group."""
        learning = [p for p in self.module.parameters() if p.requires_grad]
        return [{"params": learning, "lr": self.lr, "weight_decay": 1e-2}]

    def batches(self, start: int, rank: int, world: int) -> Iterable[Sequence[Pairs]]:
        """Yield the micro-batches of iteration start, start + 1, ..."""
        del rank, world  # one process draws, paints and learns
        return self.pairs.stream(start, self.workers)

    def validate(self) -> dict[str, float]:
        """Return the loss on pairs that training never sees; the objective is its negative."""
        step = (torch.arange(_VALIDATED) * 2 + 1) * self.pairs.steps // (2 * _VALIDATED)
        held = self.pairs.batch([("held out", 0, slot) for slot in range(_VALIDATED)], step)
        with torch.no_grad():
            loss = float(self.objective(held)["loss"])
        return {"loss": loss, "objective": -loss}

    def sheet(self, path: Path) -> None:
        """Draw what is described, what should be painted, and what is painted."""
        names = [("held out", 0, slot) for slot in range(_SHEET_ROWS)]
        batch = self.pairs.batch(names)
        backbone = self.objective.backbone
        image = batch.image.permute(0, 3, 1, 2).float() / 255
        rows = []
        with torch.no_grad():
            tokens = self.objective.tokens(batch)
            for row in range(_SHEET_ROWS):
                backbone.standardise([image[row]])
                painted = paint(
                    backbone,
                    tokens[row : row + 1],
                    image[row : row + 1],
                    batch.mask[row : row + 1].float(),
                    batch.streams[row : row + 1],
                    Sampling(),
                )
                made = np.rint(painted[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
                mask = batch.mask[row, 0].numpy()[..., None].repeat(3, axis=2) * np.uint8(255)
                rows.append([batch.exemplar[row].numpy(), batch.image[row].numpy(), mask, made])
        write_png(path, contact_sheet(rows, ["described", "drawn", "mask", "painted"]))

    def settle(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        """Write the prior with these weights: the backbone in diffusers' layout, its readers beside."""
        objective = self.objective
        objective.load_state_dict(weights, strict=False)
        objective.eval()
        objective.backbone.save(folder, torch.float16)
        state = objective.state_dict()
        readers = {n: v.half() for n, v in state.items() if not n.startswith("backbone.")}
        save_file(readers, folder / READERS)


def main() -> None:
    """Train a prior and write it to a folder."""
    parser = argparse.ArgumentParser(description="Train the prior of the embedded backbone.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    configure_logging()
    keep_memory()
    where = device()
    backbone = Embedded.fresh(Shape(), options.seed)
    backbone.dtype = precision("auto", where)
    backbone.to(memory_format=torch.channels_last)
    pairs = DrawnPairs(backbone.size, options.batch, len(backbone.kept), options.seed)
    task = PriorTask(backbone, pairs)
    plan = Plan(seconds=60 * options.minutes, warmup=200, decay=0.3, ema=0.999)
    folder = options.out / "run"
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Run(task, plan, folder, cpu=where.type == "cpu").fit(resume=options.resume)
    task.settle(outcome.weights, options.out / "prior")


if __name__ == "__main__":
    main()
