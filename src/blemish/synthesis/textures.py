"""Where foreign appearances come from: a bank of our own, or a folder such as DTD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from blemish.errors import ConfigError, DatasetError
from blemish.synthesis.patterns import PATTERNS, procedural_texture

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class TextureSource(Protocol):
    """Anything that hands out pictures of a wanted size."""

    def sample(self, height: int, width: int, rng: np.random.Generator) -> Image:
        """Return a random texture: uint8 RGB (height, width, 3)."""
        ...


class ProceduralTextures:
    """Surfaces of our own: `count` textures of `side` px, each a pure function of (seed, index).

    A texture is drawn when it is first wanted (about 20 ms) and then kept (0.4 MB at 352 px).
    """

    def __init__(self, seed: int = 0, count: int = 6 * len(PATTERNS), side: int = 352) -> None:
        if count < 1:
            raise ConfigError(f"expected at least 1 texture, got {count}", hint="try 100")
        self.seed = seed
        self.count = count
        self.side = side
        self._bank: dict[int, Image] = {}

    def texture(self, index: int) -> Image:
        """Return texture number `index`, whole: uint8 RGB (side, side, 3)."""
        if index not in self._bank:
            rng = np.random.default_rng([self.seed, index])
            self._bank[index] = procedural_texture(self.side, rng)
        return self._bank[index]

    def sample(self, height: int, width: int, rng: np.random.Generator) -> Image:
        """Return a random window of a random texture: uint8 RGB (height, width, 3)."""
        return random_window(self.texture(int(rng.integers(self.count))), height, width, rng)


class FolderTextures:
    """The pictures below a folder, at any depth, e.g. DTD.

    Pictures are read when first wanted, shrunk to `side` px on the shorter edge; the first
    `kept` of them stay in memory.

    Raises:
        DatasetError: the folder is missing or holds no picture, or a picture cannot be read.
    """

    def __init__(self, folder: Path, side: int = 384, kept: int = 512) -> None:
        self.paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
        )  # fmt: skip
        if not self.paths:
            raise DatasetError(
                f"expected pictures below {folder}, found none",
                hint=f"give a folder with {', '.join(sorted(SUFFIXES))} files, or leave the "
                "setting out to use the built-in textures",
            )
        self.side = side
        self.kept = kept
        self._bank: dict[Path, Image] = {}

    def sample(self, height: int, width: int, rng: np.random.Generator) -> Image:
        """Return a random window of a random picture: uint8 RGB (height, width, 3)."""
        path = self.paths[rng.integers(len(self.paths))]
        texture = self._bank.get(path)
        if texture is None:
            texture = self._read(path)
            if len(self._bank) < self.kept:
                self._bank[path] = texture
        return random_window(texture, height, width, rng)

    def _read(self, path: Path) -> Image:
        try:
            with Pillow.open(path) as file:
                file.draft("RGB", (self.side, self.side))
                picture = file.convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError(
                f"{path} cannot be read as a picture: {error}",
                hint="remove the file from the texture folder, or repair it",
            ) from error
        factor = self.side / min(picture.size)
        if factor < 1:
            size = (round(picture.width * factor), round(picture.height * factor))
            picture = picture.resize(size, Pillow.Resampling.BILINEAR)
        return np.array(picture)


def random_window(texture: Image, height: int, width: int, rng: np.random.Generator) -> Image:
    """Return a random part of a texture, turned by a multiple of 90 degrees and perhaps mirrored.

    The window is drawn between the wanted size and the largest that fits, then scaled to (height,
    width); a texture that is too small is scaled up.
    """
    texture = np.rot90(texture, int(rng.integers(4)))
    if rng.random() < 0.5:
        texture = texture[:, ::-1]
    room = min(texture.shape[0] / height, texture.shape[1] / width)
    scale = rng.uniform(min(1.0, room), room)
    # The side that fits exactly may come out a rounding error too long.
    top = rng.uniform(0, max(0.0, texture.shape[0] - height * scale))
    left = rng.uniform(0, max(0.0, texture.shape[1] - width * scale))
    first_row, first_column = int(top), int(left)
    window = texture[
        first_row : first_row + max(int(height * scale), 1),
        first_column : first_column + max(int(width * scale), 1),
    ]
    picture = Pillow.fromarray(np.ascontiguousarray(window))
    return np.array(picture.resize((width, height), Pillow.Resampling.BILINEAR))
