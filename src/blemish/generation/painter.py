"""What fills a mask: the patches of real defects, a network that has learned them, or both."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from blemish.backbones import LatentBackbone
from blemish.backbones.embedded import PixelCodec
from blemish.errors import ConfigError
from blemish.generation.embedding import Embedding
from blemish.generation.exemplars import Exemplar, Patchwork, as_picture
from blemish.generation.sampler import Reweighting, Sampling, paint
from blemish.generator_config import PaintingConfig
from blemish.randomness import numpy_generator, stream_seed

if TYPE_CHECKING:
    from blemish.config import Turn
    from blemish.synthesis.arrays import Image, Mask

_DEFECT = 0.9
"""A learned mask is what is brighter: 0.8 of pictures in [-1, 1] (the paper's code)."""


def refuse_unfit(painter: str, backbone: PixelCodec | LatentBackbone) -> None:
    """Stop where patches are to paint on a backbone whose latents are no pixels.

    Raises:
        ConfigError: they are.
    """
    if painter != "network" and not isinstance(backbone, PixelCodec):
        raise ConfigError(
            f"painting.painter={painter} needs the embedded backbone: others have no pixels",
            hint="set painting.painter=network, or leave learning.backbone at embedded",
        )


def refuse_inert(how: PaintingConfig, backbone: PixelCodec | LatentBackbone) -> None:
    """Stop where attention is to be weighted in a form that changes nothing.

    All tokens of the embedded backbone are learned ones: equal weights on all of a row cancel in its
    softmax.

    Raises:
        ConfigError: it is.
    """
    weighted = how.reweighting not in ("off", "prompt_to_prompt") and how.painter != "patches"
    if weighted and how.form == "logit_add" and isinstance(backbone, PixelCodec):
        raise ConfigError(
            f"painting.reweighting={how.reweighting} in the form logit_add changes nothing here: the "
            "embedded backbone reads no words beside the learned tokens",
            hint="set painting.form=probs too, or leave reweighting off",
        )


class Painter:
    """Paints defects into squares.

    backbone: `PixelCodec` alone where patches do all the work. embedding: None likewise. unfilled: the
    types whose masks the network does not fill by itself, which `reweighting=auto` is for.
    """

    def __init__(
        self,
        backbone: PixelCodec | LatentBackbone,
        embedding: Embedding | None,
        how: PaintingConfig,
        unfilled: Collection[str] = (),
    ) -> None:
        refuse_unfit(how.painter, backbone)
        if how.painter != "patches" and embedding is None:
            raise ConfigError(
                f"painting.painter={how.painter}, but this generator has learned patches only",
                hint="learn again with painting.painter set, or paint with patches",
            )
        self.backbone, self.embedding, self.how = backbone, embedding, how
        self.unfilled = frozenset(unfilled)

    @property
    def size(self) -> int:
        """Side of the square that is painted, pixels."""
        return self.backbone.size

    @property
    def device(self) -> torch.device:
        """Where it paints."""
        where: torch.device = self.backbone.kept.device
        return where

    def painting(self, how: PaintingConfig) -> Painter:
        """Return a painter with the same knowledge that paints otherwise.

        Raises:
            ConfigError: it has not learned what that takes.
        """
        return Painter(self.backbone, self.embedding, how, self.unfilled)

    def fill(
        self,
        photo: Image,
        mask: Mask,
        label: str,
        sources: Sequence[Exemplar],
        scale: float,
        stream: int,
        turn: Turn | None = None,
    ) -> Image:
        """Return the square with a defect of a type inside the mask, uint8 (S, S, 3).

        photo: uint8 (S, S, 3); mask: bool (S, S); sources: real defects of the type; scale: pixels of
        the square per pixel of the photo that it is of; stream: the seed of all that is drawn.
        """
        how, where = self.how, self.device
        patches = []
        if how.painter != "network":
            spread = float(cast(PixelCodec, self.backbone).spread)
            rng = numpy_generator(stream, "patches")
            patches = [Patchwork(photo, mask, sources, scale, spread, rng, turn, where)]
        covered = torch.from_numpy(mask.astype(np.float32))[None, None].to(where)
        tokens = None
        if how.painter != "patches":
            assert self.embedding is not None  # noqa: S101 - checked in __init__
            with torch.no_grad():
                tokens = self.embedding([label], covered)
        made = paint(
            self.backbone,
            tokens,
            as_picture(photo).to(where),
            covered,
            [stream_seed(stream, "noise")],
            self._sampling(label),
            patches,
        )
        levels = np.rint(made[0].permute(1, 2, 0).float().cpu().numpy() * 255)
        return np.asarray(levels, np.uint8)

    def mask(self, label: str, guidance: float, steps: int, name: tuple[int, int]) -> Mask:
        """Return a mask from the mask embedding alone, bool (S, S) (AnomalyDiffusion, Eq. 9 and 10).

        Plain sampling from noise under classifier-free guidance; what is brighter than `_DEFECT` is
        defect. name: seed and number of the mask.
        """
        assert self.embedding is not None  # noqa: S101 - it has learned masks
        size, where = self.size, self.device
        blank = torch.zeros(1, 3, size, size, device=where)
        tokens = self.embedding.mask_tokens([label]).detach()
        stream = [stream_seed(name[0], "mask", label, name[1])]
        how = Sampling("ddim", steps=steps, spacing=1.0, guidance=guidance, handover=0.0)
        drawn = paint(self.backbone, tokens, blank, torch.ones_like(blank[:, :1]), stream, how)
        return np.asarray((drawn[0].mean(0) > _DEFECT).cpu().numpy())

    def _sampling(self, label: str) -> Sampling:
        """Return how a type is painted."""
        how = self.how
        handover = {"patches": math.inf, "mixed": how.handover, "network": 0.0}[how.painter]
        asked = how.reweighting
        settled: Reweighting = "tempered" if asked == "auto" and label in self.unfilled else "off"
        return Sampling(
            solver=how.solver,
            steps=how.steps,
            spacing=how.spacing,
            eta=how.eta,
            guidance=how.guidance,
            reweighting=settled if asked == "auto" else asked,
            form=how.form,
            shrink=how.shrink,
            handover=handover,
        )
