"""Batches to learn from: each a pure function of (seed, iteration, slot), all types equally often."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish.backbones import TEMPLATES
from blemish.data import letterbox
from blemish.errors import DatasetError
from blemish.generation.augmentation import Augmentation, augmented
from blemish.randomness import generator, normal_noise, numpy_generator, stream_seed
from blemish.records import Sample

Subject = Literal["defects", "masks"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Square pictures and what is known about them.

    image: uint8 (B, S, S, 3). mask: bool (B, 1, S, S), True = defect. types: B names. step: int64
    (B,), the diffusion steps. streams: the seeds of each picture's private noise. prompt: in which the
    learned tokens stand, where the backbone reads words.
    """

    image: Tensor
    mask: Tensor
    types: tuple[str, ...]
    step: Tensor
    streams: tuple[int, ...]
    prompt: str

    def noise(self, shape: Sequence[int]) -> Tensor:
        """Return standard normal noise, float32 (B, *shape)."""
        return normal_noise(self.streams, shape)

    def latent_noise(self, shape: Sequence[int]) -> Tensor:
        """Return other noise of the same kind, for a sample of an autoencoder's distribution."""
        return normal_noise([stream_seed(stream, "latent") for stream in self.streams], shape)


class Views:
    """Endless pictures of a few samples: augmented photos of defects, or their masks as pictures.

    Raises:
        DatasetError: there are no samples, or one has no mask of a defect.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        subject: Subject,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        for sample in samples:
            if sample.mask is None or not sample.mask.any():
                raise DatasetError(
                    f"{sample.record.image} has no mask of its defect",
                    hint="draw one, or leave the photo out",
                )
        if not samples:
            raise DatasetError(
                "there is no photo of a defect to learn from", hint="a few of each type are enough"
            )
        self.size, self.subject, self.augmentation, self.seed = size, subject, augmentation, seed
        self.types = sorted({sample.record.label for sample in samples})
        self.samples = {t: [s for s in samples if s.record.label == t] for t in self.types}

    def turn(self, position: int) -> Sample:
        """Return the sample that is due: each type once a round, each of its n photos in n rounds."""
        rounds, place = divmod(position, len(self.types))
        order = numpy_generator(self.seed, "types", rounds).permutation(len(self.types))
        name = self.types[int(order[place])]
        photos = self.samples[name]
        epoch, place = divmod(rounds, len(photos))
        order = numpy_generator(self.seed, "photos", name, epoch).permutation(len(photos))
        return photos[int(order[place])]

    def batch(self, positions: Sequence[int], steps: int, prompt: str) -> Batch:
        """Return the pictures at these positions of the endless sequence, with steps below `steps`."""
        names = [("view", position) for position in positions]
        draws = [generator(self.seed, "step", position) for position in positions]
        step = [torch.randint(0, steps, (), generator=draw) for draw in draws]
        return self._batch(positions, names, torch.stack(step), prompt)

    def fixed(self, count: int, steps: int) -> list[Batch]:
        """Return batches of one, of other views than training sees, their steps spread evenly."""
        step = (torch.arange(count) * 2 + 1) * steps // (2 * count)
        return [
            self._batch([i], [("fixed view", i)], step[i : i + 1], TEMPLATES[0]) for i in range(count)
        ]

    def stream(
        self, start: int, batch: int, chunks: Sequence[range], steps: int
    ) -> Iterator[list[Batch]]:
        """Yield micro-batches of iterations start, start + 1, ...; one is made ahead in a thread.

        batch: pictures an iteration, over all processes; chunks: which of them each micro-batch holds.
        """

        def made(iteration: int) -> list[Batch]:
            draw = numpy_generator(self.seed, "prompt", iteration)
            prompt = TEMPLATES[int(draw.integers(len(TEMPLATES)))]
            first = iteration * batch
            return [self.batch([first + slot for slot in chunk], steps, prompt) for chunk in chunks]

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(made, start)
            for iteration in itertools.count(start + 1):
                ready = ahead.result()
                ahead = thread.submit(made, iteration)
                yield ready

    def _batch(
        self, positions: Sequence[int], names: Sequence[tuple[str, int]], step: Tensor, prompt: str
    ) -> Batch:
        samples = [self.turn(position) for position in positions]
        pairs = [
            self._picture(sample, numpy_generator(self.seed, *name))
            for sample, name in zip(samples, names, strict=True)
        ]
        images, masks = zip(*pairs, strict=True)
        return Batch(
            image=torch.from_numpy(np.stack(images)),
            mask=torch.from_numpy(np.stack(masks))[:, None],
            types=tuple(sample.record.label for sample in samples),
            step=step,
            streams=tuple(stream_seed(self.seed, "noise", *name) for name in names),
            prompt=prompt,
        )

    def _picture(
        self, sample: Sample, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        assert sample.mask is not None  # noqa: S101 - checked in __init__
        if self.subject == "defects":
            return augmented(sample.image, sample.mask, self.size, rng, self.augmentation)
        mask, _ = letterbox(sample.mask, self.size)
        return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255, mask
