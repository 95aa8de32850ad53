"""A mask as polygons: exact outlines along the edges of its pixels."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Mask: TypeAlias = npt.NDArray[np.bool_]
Corner: TypeAlias = tuple[int, int]

Ring: TypeAlias = list[Corner]
"""Corners (x, y) in order, the first not repeated; (0, 0) is the outer corner of the first pixel."""

_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)


class Part(NamedTuple):
    """One connected part. mask: bool, its own box only; top, left: where the box lies."""

    top: int
    left: int
    mask: Mask


def parts(mask: Mask) -> list[Part]:
    """Return the connected parts of a mask, bool (H, W), row by row; corners connect."""
    from scipy import ndimage  # here: an edge machine reads photos without it

    numbered, _ = ndimage.label(mask, np.ones((3, 3)))
    return [
        Part(box[0].start, box[1].start, numbered[box] == number)
        for number, box in enumerate(ndimage.find_objects(numbered), 1)
    ]


def outline(part: Part) -> Ring:
    """Return one polygon that encloses exactly the pixels of a connected part.

    A hole is reached over a bridge of no width: the polygon runs in, around the hole and back the same
    way, so that formats without holes keep them, under both filling rules.
    """
    outer, *holes = sorted(_rings(part.mask), key=lambda ring: min(ring))
    # From left to right, so that what lies to the left of a hole has been joined already.
    for hole in holes:
        outer = _bridged(outer, hole)
    return [(x + part.left, y + part.top) for x, y in _without_middles(outer)]


def _rings(part: Mask) -> list[Ring]:
    """Return all closed outlines, a corner at each pixel; the part lies to the right of each step."""
    padded = np.pad(part, 1)
    steps: dict[Corner, list[Corner]] = defaultdict(list)
    shifts = (
        (_RIGHT, padded & ~np.roll(padded, 1, 0), (0, 0)),
        (_DOWN, padded & ~np.roll(padded, -1, 1), (1, 0)),
        (_LEFT, padded & ~np.roll(padded, -1, 0), (1, 1)),
        (_UP, padded & ~np.roll(padded, 1, 1), (0, 1)),
    )
    for direction, edge, (right, down) in shifts:
        for y, x in np.argwhere(edge).tolist():
            steps[x - 1 + right, y - 1 + down].append(direction)
    found = []
    while steps:
        start = min(steps)
        corner, heading = start, steps[start][0]
        ring: Ring = []
        while True:
            leaving = steps[corner]
            # Where two pixels touch at a corner, turning left keeps them in one outline.
            left = (heading[1], -heading[0])
            heading = left if left in leaving and len(leaving) > 1 else leaving[0]
            leaving.remove(heading)
            if not leaving:
                del steps[corner]
            ring.append(corner)
            corner = corner[0] + heading[0], corner[1] + heading[1]
            if corner == start:
                break
        found.append(ring)
    return found


def _bridged(outer: Ring, hole: Ring) -> Ring:
    """Return one ring of both, joined at the corner to the left of the hole's first."""
    entry = min(range(len(hole)), key=lambda index: hole[index])
    x, y = hole[entry]
    to_the_left = [index for index, corner in enumerate(outer) if corner[1] == y and corner[0] <= x]
    gate = max(to_the_left, key=lambda index: outer[index][0])
    around = [*hole[entry:], *hole[: entry + 1]]
    return [*outer[: gate + 1], *around, *outer[gate:]]


def _without_middles(ring: Ring) -> Ring:
    """Return the ring without corners at which it goes straight on; where it turns back, it stays."""
    corners = np.array(ring)
    came, goes = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    straight = (np.sign(came) == np.sign(goes)).all(1)
    return [(int(x), int(y)) for x, y in corners[~straight]]
