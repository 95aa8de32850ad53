"""What is learned of a product's defects: a few tokens for each type, and an encoder of places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from blemish import randomness
from blemish.errors import ConfigError
from blemish.networks.spatial import SpatialKind, spatial_encoder

NOISE = 0.02
"""Root mean square of a fresh token where no word is given: about that of a text model's words."""

_BROKEN_SYMMETRY = 0.01


class Embedding(nn.Module):
    """The spatial anomaly embedding of each defect type of a product (AnomalyDiffusion, 3.2).

        e = {e_a,i, E(m)}

    e_a,i: k tokens that say what a defect of type i looks like; E(m): n tokens that say where it is;
    e_m,i: k' tokens that say which shapes it has. All types share the encoder E. Types are kept in
    sorted order, whatever order they are given in.
    """

    def __init__(
        self,
        types: Iterable[str],
        token_width: int,
        *,
        anomaly_tokens: int = 8,
        spatial_tokens: int = 4,
        mask_tokens: int = 4,
        encoder: SpatialKind = "small",
    ) -> None:
        super().__init__()
        self.types = tuple(sorted(set(types)))
        counts = (len(self.types), token_width, anomaly_tokens, spatial_tokens, mask_tokens)
        if min(counts) < 1:
            raise ConfigError(
                f"cannot embed {len(self.types)} types in {counts[2:]} tokens of width {token_width}",
                hint="give at least one type of defect and one token of each kind",
            )
        self.shape: dict[str, Any] = {
            "token_width": token_width,
            "anomaly_tokens": anomaly_tokens,
            "spatial_tokens": spatial_tokens,
            "mask_tokens": mask_tokens,
            "encoder": encoder,
        }
        self.anomaly = nn.Parameter(torch.zeros(len(self.types), anomaly_tokens, token_width))
        self.mask = nn.Parameter(torch.zeros(len(self.types), mask_tokens, token_width))
        self.encoder = spatial_encoder(encoder, spatial_tokens, token_width)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(NOISE))

    @classmethod
    def fresh(
        cls,
        types: Iterable[str],
        token_width: int,
        *,
        seed: int = 0,
        word: Tensor | None = None,
        scale: float = NOISE,
        **shape: Any,
    ) -> Self:
        """Return an untrained embedding: every token the vector of a word, or small noise.

        word: (token_width,); zeros count as none. The tokens of a type start 1 % apart: what reads them
        without regard to their order would otherwise keep them equal for ever. scale: root mean square
        of the noise. Location tokens start as large as the others. shape: see the class.

        Raises:
            ConfigError: no type is given, or the word is not of the tokens' width.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(randomness.stream_seed(seed, "spatial encoder"))
            embedding = cls(types, token_width, **shape)
        if word is not None and word.shape != (token_width,):
            raise ConfigError(
                f"the initial word is {tuple(word.shape)}, expected ({token_width},)",
                hint="give one row of the text model's token embedding",
            )
        start = None if word is None or not word.any() else word.detach().float().cpu()
        with torch.no_grad():
            embedding.scale.fill_(scale if start is None else float(start.square().mean().sqrt()))
            for name, tokens in (("anomaly", embedding.anomaly), ("mask", embedding.mask)):
                noise = torch.randn(tokens.shape, generator=randomness.generator(seed, name, "tokens"))
                tokens.copy_(embedding.scale * noise)
                if start is not None:
                    tokens.mul_(_BROKEN_SYMMETRY).add_(start)
        return embedding

    def forward(self, types: Sequence[str], mask: Tensor) -> Tensor:
        """Return the tokens of defects of these types at these places, (B, k + n, token_width).

        types: B names; mask: (B, 1, H, W) in {0, 1}.

        Raises:
            ConfigError: a type is unknown.
        """
        return torch.cat([self.anomaly[self.index(types)], self.scale * self.encoder(mask)], dim=1)

    def mask_tokens(self, types: Sequence[str]) -> Tensor:
        """Return the tokens of the mask shapes of these types, (B, k', token_width).

        Raises:
            ConfigError: a type is unknown.
        """
        return self.mask[self.index(types)]

    def index(self, types: Sequence[str]) -> list[int]:
        """Return the places of these types in the sorted order.

        Raises:
            ConfigError: a type is unknown.
        """
        for name in types:
            if name not in self.types:
                raise ConfigError(
                    f"the type of defect {name!r} was not learned",
                    hint=f"choose of: {', '.join(self.types)}",
                )
        return [self.types.index(name) for name in types]
