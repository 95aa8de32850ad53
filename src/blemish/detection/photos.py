"""Photos as the networks see them: squares of one size, kept in memory while they fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blemish.config import DataConfig, InspectorConfig, SynthesisConfig, Turn
from blemish.data import as_tiled, cut_tile, letterbox, read_sample
from blemish.errors import ConfigError
from blemish.networks.symmetry import TURNS
from blemish.randomness import numpy_generator
from blemish.records import Record
from blemish.synthesis import foreground, product_kind
from blemish.verdicts import tiles

Square = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.bool_]

LARGER = 2.0
"""Strips are taken where they show photos so many times larger than letterboxing would."""

_LOOK_AT = 16
_CACHED_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class View:
    """One square of a photo.

    image: uint8 (S, S, 3). valid: bool (S, S), False on padding. allowed: bool (S, S), where a drawn
    defect may lie as far as that is valid; of an example, its mask.
    """

    image: Square
    valid: Plane
    allowed: Plane

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.image.nbytes + self.valid.nbytes + self.allowed.nbytes


class Kept:
    """Views that are read once while they fit in so many bytes; the one unused for longest goes first.

    Raises:
        ConfigError: the framing is still to be decided.
    """

    def __init__(self, read: Callable[[int], View], config: DataConfig, room: int) -> None:
        if config.framing == "auto":
            raise ConfigError("data.framing is not decided", hint="choose letterbox, strips or tiles")
        self.read, self.room = read, room
        self.views: OrderedDict[int, View] = OrderedDict()
        self.used = 0

    def __call__(self, index: int) -> View:
        """Return a view, from memory where it is there."""
        if index not in self.views:
            self._keep(index, self.read(index))
        self.views.move_to_end(index)
        while self.used > self.room and len(self.views) > 1:
            self.used -= self.views.popitem(last=False)[1].nbytes
        return self.views[index]

    def warm(self, count: int) -> None:
        """Read the first `count` views that are not here yet, as many of them as fit."""
        for index in (number for number in range(count) if number not in self.views):
            view = self.read(index)
            if self.used + view.nbytes > self.room:
                return
            self._keep(index, view)

    def _keep(self, index: int, view: View) -> None:
        self.views[index] = view
        self.used += view.nbytes


class Photos:
    """Random access to good photos as squares; the same index and stream give the same square.

    families: a number for each photo, equal for photos of one part (`kinship.families`).
    """

    def __init__(
        self,
        records: Sequence[Record],
        settings: InspectorConfig,
        families: Sequence[int] | None = None,
    ) -> None:
        """`settings`: with product and framing decided; `families`: None = all are strangers."""
        self.records, self.settings = tuple(records), settings
        self.families = tuple(range(len(records)) if families is None else families)
        self.config = settings.data
        self.kind = settings.synthesis.kind
        self._whole = Kept(self._read, self.config, _CACHED_BYTES)

    def __reduce__(self) -> tuple[type[Photos], tuple[object, ...]]:
        """Return how a worker process that is not forked makes its own: the cache cannot travel."""
        return Photos, (self.records, self.settings, self.families)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.records)

    def warm(self) -> None:
        """Read the photos now, so that worker processes share one copy."""
        self._whole.warm(len(self))

    def view(self, index: int, rng: np.random.Generator) -> View:
        """Return the photo's square; of a tiled photo a random window."""
        whole = self._whole(index)
        if self.config.framing == "letterbox":
            return whole
        size = self.config.size
        height, width = whole.image.shape[:2]
        top = int(rng.integers(max(0, height - size) + 1))
        left = int(rng.integers(max(0, width - size) + 1))
        return window(whole, (top, left), size)

    def squares(self, index: int) -> int:
        """Return how many squares cover the photo."""
        if self.config.framing == "letterbox":
            return 1
        height, width = self._whole(index).image.shape[:2]
        return len(tiles(height, width, self.config))

    def _read(self, index: int) -> View:
        image = read_sample(self.records[index]).image
        if self.config.framing == "letterbox":
            square, frame = letterbox(image, self.config.size)
            image, valid = square, frame.valid()
        else:
            image = as_tiled(image, self.config.framing, self.config.size)
            valid = np.ones(image.shape[:2], np.bool_)
        return View(image, valid, valid & foreground(image) if self.kind == "object" else valid)


def some_squares(
    parts: Sequence[Photos], seed: int, most: int, windows: int = 1
) -> tuple[Square, tuple[int, ...]]:
    """Return squares (N, S, S, 3) of up to `most` photos of all parts, and the photos' families.

    windows: so many of each photo, or as many as cover it if that is less. The same photo of the same
    part gives the same ones, whichever parts come after.
    """
    rng = numpy_generator(seed, "statistics")
    places = [(number, index) for number, part in enumerate(parts) for index in range(len(part))]
    chosen = [places[place] for place in rng.permutation(len(places))[:most]]
    squares, families = [], []
    for turn in range(windows):
        for number, index in chosen:
            part = parts[number]
            if turn < part.squares(index):
                stream = numpy_generator(seed, "statistics", number, index, turn)
                squares.append(part.view(index, stream).image)
                families.append(part.families[index])
    return np.stack(squares), tuple(families)


def some_photos(records: Sequence[Record]) -> list[Square]:
    """Return up to 16 of the photos, evenly spread, to decide by: uint8 (H, W, 3) of any size."""
    step = max(1, len(records) // _LOOK_AT)
    return [read_sample(record).image for record in records[::step][:_LOOK_AT]]


def framed(config: DataConfig, images: Sequence[Square]) -> DataConfig:
    """Return the settings with the framing decided by some good photos.

    gain = min(1, S / shorter) / (S / longer),    strips where its median is above `LARGER`
    """
    if config.framing != "auto":
        return config
    size, sides = config.size, [sorted(image.shape[:2]) for image in images]
    gain = float(np.median([min(1, size / shorter) * longer / size for shorter, longer in sides]))
    return config.model_copy(update={"framing": "strips" if gain > LARGER else "letterbox"})


def settled(config: SynthesisConfig, images: Sequence[Square]) -> SynthesisConfig:
    """Return the settings with every `auto` decided by some good photos."""
    decided: dict[str, object] = {}
    if config.kind == "auto":
        decided["kind"] = product_kind(images)
    if config.monochrome == "auto":
        decided["monochrome"] = all(np.ptp(image, axis=2).max() == 0 for image in images)
    return config.model_copy(update=decided)


def window(whole: View, corner: tuple[int, int], size: int) -> View:
    """Return one tile of a photo; what lies beyond a small photo repeats its edge and is not valid."""
    valid = np.zeros((size, size), np.bool_)
    height, width = whole.allowed.shape
    valid[: height - corner[0], : width - corner[1]] = True
    return View(cut_tile(whole.image, corner, size), valid, cut_tile(whole.allowed, corner, size))


def turned(view: View, allowed: Sequence[Turn], rng: np.random.Generator) -> View:
    """Return the square as it is or in one of the allowed turns, all equally likely."""
    choice = int(rng.integers(len(allowed) + 1))
    if choice == len(allowed):
        return view
    turn = TURNS[allowed[choice]]
    image, valid, free = (turn(plane) for plane in (view.image, view.valid, view.allowed))
    return View(np.ascontiguousarray(image), np.ascontiguousarray(valid), np.ascontiguousarray(free))
