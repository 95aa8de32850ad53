"""Training samples: half good photos, half photos with a drawn defect or an example of one.

Each is a pure function of (seed, iteration, slot): workers, ranks and resumed runs see the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from blemish.config import InspectorConfig
from blemish.detection.examples import Examples
from blemish.detection.photos import Photos, View, turned
from blemish.detection.variation import in_other_light
from blemish.errors import ConfigError
from blemish.randomness import generator, normal_noise, numpy_generator, stream_seed
from blemish.synthesis import (
    FolderTextures,
    ProceduralTextures,
    Recipe,
    TextureSource,
    synthesise,
)
from blemish.training import stream

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Batch:
    """Squares and what is known about them.

    photo: uint8 (B, S, S, 3). mask, valid: bool (B, 1, S, S), True = defect, True = not padding.
    normal: bool (B,). family: int64 (B,), that of the photo. fine, anchor: int64 (B,), the
    two diffusion steps. streams: the seeds of each image's private noise.
    """

    photo: Tensor
    mask: Tensor
    valid: Tensor
    normal: Tensor
    family: Tensor
    fine: Tensor
    anchor: Tensor
    streams: tuple[int, ...]

    def noise(self) -> Tensor:
        """Return standard normal noise, float32 (B, 2, 3, S, S): for the fine and the anchor step."""
        size = self.photo.shape[1]
        return normal_noise(self.streams, (2, 3, size, size))


def recipe(config: InspectorConfig) -> Recipe:
    """Return how defects are drawn; the kind of product must be decided."""
    synthesis = config.synthesis
    if synthesis.kind == "auto":
        raise ConfigError("synthesis.kind is not decided", hint="choose object or texture")
    return Recipe(
        kind=synthesis.kind,
        monochrome=bool(synthesis.monochrome),
        stroke_share=synthesis.stroke_share,
        shading_share=synthesis.shading_share,
        missing_share=synthesis.missing_share,
        opacity=synthesis.opacity,
    )


def texture_source(config: InspectorConfig) -> TextureSource:
    """Return where foreign appearances come from: the given folder or the procedural bank."""
    folder = config.synthesis.textures
    return ProceduralTextures() if folder is None else FolderTextures(folder)


class Samples(Dataset[list[Batch]]):
    """Item i is iteration i: this rank's micro-batches."""

    def __init__(
        self,
        photos: Photos,
        config: InspectorConfig,
        rank: int = 0,
        world: int = 1,
        examples: Examples | None = None,
    ) -> None:
        self.photos, self.config, self.examples = photos, config, examples
        self.recipe = recipe(config)
        self.textures = texture_source(config)
        if config.data.turns == "auto":
            raise ConfigError("data.turns is not decided", hint="name the turns, or () for none")
        self.turns = config.data.turns
        training = config.training
        parts = world * training.accumulation
        if training.normals % parts or training.defects % parts:
            raise ConfigError(
                f"a batch of {training.normals} + {training.defects} photos cannot be shared evenly "
                f"by {world} processes with {training.accumulation} micro-batches each",
                hint="choose training.normals and training.defects as multiples of their product",
            )
        slots = range(training.normals + training.defects)
        self.chunks = [
            slots[rank * training.accumulation + i :: parts] for i in range(training.accumulation)
        ]

    def __getitem__(self, iteration: int) -> list[Batch]:
        """Return the micro-batches of an iteration."""
        return [self.batch(iteration, chunk) for chunk in self.chunks]

    def batch(self, iteration: int, slots: range) -> Batch:
        """Return the samples of some slots of an iteration's global batch."""
        seed = self.config.training.seed
        rows = [self._sample(numpy_generator(seed, "sample", iteration, s), s) for s in slots]
        views, masks, families = zip(*rows, strict=True)
        diffusion = self.config.diffusion
        draws = [generator(seed, "steps", iteration, s) for s in slots]
        fine = [torch.randint(0, diffusion.split, (), generator=g) for g in draws]
        anchor = [torch.randint(diffusion.split, diffusion.steps, (), generator=g) for g in draws]
        return Batch(
            photo=torch.from_numpy(np.stack([view.image for view in views])),
            mask=torch.from_numpy(np.stack(masks))[:, None],
            valid=torch.from_numpy(np.stack([view.valid for view in views]))[:, None],
            normal=torch.tensor([not mask.any() for mask in masks]),
            family=torch.tensor(families),
            fine=torch.stack(fine),
            anchor=torch.stack(anchor),
            streams=tuple(stream_seed(seed, "noise", iteration, s) for s in slots),
        )

    def _sample(self, rng: np.random.Generator, slot: int) -> tuple[View, Mask, int]:
        """Return a square, its mask, and the family of its photo."""
        share, light = self.config.synthesis.examples_share, self.config.data.light
        shown = slot >= self.config.training.normals and self.examples is not None
        if shown and self.examples is not None and rng.random() < share:
            view, mask, family = self.examples.sample(rng, self.turns)
            return in_other_light(view, light, rng), mask, family
        number = int(rng.integers(len(self.photos)))
        family = self.photos.families[number]
        view = in_other_light(turned(self.photos.view(number, rng), self.turns, rng), light, rng)
        if slot < self.config.training.normals:
            return view, np.zeros(view.valid.shape, np.bool_), family
        return *drawn(view, self.recipe, self.textures, rng), family

    def stream(self, start: int, workers: int) -> Iterator[list[Batch]]:
        """Yield the micro-batches of iterations from `start` on, without end."""
        return stream(self, start, workers)


def drawn(
    view: View, how: Recipe, textures: TextureSource, rng: np.random.Generator
) -> tuple[View, Mask]:
    """Return the square with a drawn defect, and the defect's mask."""
    image, mask = synthesise(view.image, view.allowed & view.valid, how, textures, rng)
    return View(image, view.valid, view.allowed), mask
