"""Procedural surfaces: a scalar field says where, a palette says which colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from blemish.synthesis.arrays import Field, Image
from blemish.synthesis.perlin import perlin

Pattern = Callable[[int, np.random.Generator], Field]


def procedural_texture(side: int, rng: np.random.Generator) -> Image:
    """Return one random surface: uint8 RGB (side, side, 3).

    A random pattern is stretched to [0, 1], painted with a random palette, lit unevenly half of the
    time, and gets grain.
    """
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    field = _stretch(pattern(side, rng))
    picture = palette(rng)[(field * 255).astype(np.uint8)].astype(np.float32)
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0.1, 0.4) * perlin(side, side, (3, 3), rng)
        picture *= light[..., np.newaxis]
    grain = rng.standard_normal((side, side, 1), dtype=np.float32)
    picture += rng.choice([0, 3, 12]) * grain
    return np.clip(picture, 0, 255).astype(np.uint8)


def palette(rng: np.random.Generator) -> Image:
    """Return 256 colours that run through 2 to 5 random ones: uint8 (256, 3).

    Half of the palettes are shades of one colour, as materials are; vividness varies from grey to
    full colour, most often low.
    """
    stops = int(rng.integers(2, 6))
    tints = rng.uniform(-1, 1, (stops, 3))
    if rng.random() < 0.5:
        tints = tints[:1] + 0.1 * tints
    lightness = rng.uniform(10, 245, (stops, 1))
    colours = np.clip(lightness + 160 * rng.beta(1, 2) * tints, 0, 255)
    places = np.sort(np.concatenate([[0, 255], rng.uniform(0, 255, stops - 2)]))
    levels = np.arange(256)
    ramp = [np.interp(levels, places, colours[:, channel]) for channel in range(3)]
    return np.stack(ramp, axis=1).astype(np.uint8)


def clouds(side: int, rng: np.random.Generator) -> Field:
    """Return octaves of Perlin noise, each twice as fine and weaker by a random persistence."""
    start = int(rng.integers(1, 9))
    persistence = rng.uniform(0.4, 0.9)
    field = np.zeros((side, side), np.float32)
    for octave in range(5):
        frequency = start * 2**octave
        field += np.float32(persistence**octave) * perlin(side, side, (frequency, frequency), rng)
    return field


def ridges(side: int, rng: np.random.Generator) -> Field:
    """Return clouds folded at zero: veins and wrinkles."""
    return np.asarray(-(np.abs(clouds(side, rng)) ** np.float32(rng.uniform(0.3, 1))), np.float32)


def camouflage(side: int, rng: np.random.Generator) -> Field:
    """Return clouds in a few flat steps."""
    return np.asarray(np.floor(_stretch(clouds(side, rng)) * rng.uniform(2, 6)), np.float32)


def blobs(side: int, rng: np.random.Generator) -> Field:
    """Return a few wide, smooth patches of colour."""
    cells = rng.integers(1, 5, size=2)
    return perlin(side, side, (int(cells[0]), int(cells[1])), rng)


def spectrum(side: int, rng: np.random.Generator) -> Field:
    """Return noise with a power-law spectrum, from near-white grain to soft haze."""
    down, across = np.fft.fftfreq(side)[:, np.newaxis], np.fft.rfftfreq(side)[np.newaxis]
    stretch = rng.uniform(0.2, 5)
    radius = np.hypot(down * stretch, across) + 1 / side
    phases = np.exp(2j * np.pi * rng.random(radius.shape))
    return np.asarray(
        np.fft.irfft2(phases * radius ** -rng.uniform(0.5, 2.2), s=(side, side)), np.float32
    )


def brushed(side: int, rng: np.random.Generator) -> Field:
    """Return white noise smeared along one axis: brushed metal, fur, grain of paper."""
    noise = rng.standard_normal((side, side), dtype=np.float32)
    smeared = ndimage.uniform_filter1d(noise, int(rng.integers(8, side // 2)), axis=0, mode="wrap")
    return np.asarray(smeared + smeared.std() * rng.uniform(0, 0.8) * clouds(side, rng), np.float32)


def speckle(side: int, rng: np.random.Generator) -> Field:
    """Return scattered grains of one size, as in terrazzo or granite."""
    noise = rng.standard_normal((side, side), dtype=np.float32)
    grains = ndimage.gaussian_filter(noise, rng.uniform(0.8, 4), mode="wrap")
    return np.asarray(np.maximum(grains / grains.std(), rng.uniform(-1, 1.5)), np.float32)


def stripes(side: int, rng: np.random.Generator) -> Field:
    """Return waves of one direction, warped a little, smooth or with hard edges."""
    across = _turned(side, rng)[0]
    wave = np.sin(2 * np.pi * rng.uniform(4, 40) * across + _warp(side, rng))
    return np.asarray(np.clip(wave * rng.choice([1, 8]), -1, 1), np.float32)


def marble(side: int, rng: np.random.Generator) -> Field:
    """Return waves strongly warped by clouds."""
    across = _turned(side, rng)[0]
    return np.asarray(
        np.sin(2 * np.pi * rng.uniform(2, 8) * across + rng.uniform(3, 9) * clouds(side, rng)),
        np.float32,
    )


def wood(side: int, rng: np.random.Generator) -> Field:
    """Return year rings seen along the trunk, with fibres."""
    across, along = _turned(side, rng)
    rings = np.hypot(across, 0.15 * along + 0.3) * rng.uniform(8, 25)
    rings = rings + 0.6 * blobs(side, rng)
    fibres = ndimage.uniform_filter1d(rng.standard_normal((side, side)), 41, axis=0, mode="wrap")
    return np.asarray(np.mod(rings, 1) + rng.uniform(0.2, 1.5) * fibres, np.float32)


def interference(side: int, rng: np.random.Generator) -> Field:
    """Return the sum of a few waves of random direction: grids, honeycombs, quasi-crystals."""
    scale = rng.uniform(5, 30)
    waves = [
        np.sin(2 * np.pi * scale * rng.uniform(0.8, 1.25) * _turned(side, rng)[0])
        for _ in range(rng.integers(2, 6))
    ]
    return np.asarray(np.sum(waves, axis=0), np.float32)


def weave(side: int, rng: np.random.Generator) -> Field:
    """Return crossing threads, each over and under the other."""
    across, along = _turned(side, rng)
    threads = rng.uniform(8, 45)
    warp, weft = across * threads, along * threads * rng.uniform(0.6, 1.4)
    over = (np.floor(warp) + np.floor(weft)) % int(rng.integers(2, 5)) == 0
    profile_warp = np.abs(np.sin(np.pi * warp))
    profile_weft = np.abs(np.sin(np.pi * weft))
    return np.asarray(np.where(over, profile_warp, rng.uniform(0.4, 1) * profile_weft), np.float32)


def bricks(side: int, rng: np.random.Generator) -> Field:
    """Return rows of bricks, each of its own tone, in mortar."""
    across, along = _turned(side, rng)
    rows = along * rng.uniform(4, 20) + 50
    columns = across * rng.uniform(2, 12) + 50 + np.floor(rows) % 2 * 0.5
    tone = rng.random((128, 128))[np.floor(rows).astype(int), np.floor(columns).astype(int)]
    joint = rng.uniform(0.04, 0.15)
    mortar = (np.mod(rows, 1) < joint) | (np.mod(columns, 1) < joint / 2)
    return np.asarray(np.where(mortar, -0.3, tone + 0.2 * clouds(side, rng)), np.float32)


def checks(side: int, rng: np.random.Generator) -> Field:
    """Return two sets of waves multiplied, hard or soft: checks, dots, plaids."""
    across, along = _turned(side, rng)
    warped = _warp(side, rng)
    frequency = 2 * np.pi * rng.uniform(4, 25)
    return np.asarray(
        np.clip(
            np.sin(frequency * across + warped)
            * np.sin(frequency * along + warped)
            * rng.choice([1, 10])
            + rng.uniform(-0.5, 0.5),
            -1,
            1,
        ),
        np.float32,
    )


def cells(side: int, rng: np.random.Generator) -> Field:
    """Return Voronoi cells, each of its own flat tone."""
    _, nearest = _nearest_seeds(side, rng)
    tones = rng.random(int(nearest.max()) + 1)
    return np.asarray(np.kron(tones[nearest[..., 0]], np.ones((2, 2)))[:side, :side], np.float32)


def cracked(side: int, rng: np.random.Generator) -> Field:
    """Return the borders between Voronoi cells: dry earth, craquelure, leather."""
    distances, _ = _nearest_seeds(side, rng)
    gap = ndimage.zoom(distances[..., 1] - distances[..., 0], 2, order=1)[:side, :side]
    width = rng.uniform(0.02, 0.6) * gap.max()
    return np.asarray(np.minimum(gap, width) / width + 0.1 * clouds(side, rng), np.float32)


def pebbles(side: int, rng: np.random.Generator) -> Field:
    """Return domes around scattered points: pebbles, scales, bubbles."""
    distances, _ = _nearest_seeds(side, rng)
    dome = ndimage.zoom(distances[..., 0], 2, order=1)[:side, :side]
    return np.asarray(-(dome ** rng.uniform(0.5, 2.5)) / dome.max(), np.float32)


def _nearest_seeds(
    side: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Return distance and index of the two nearest random points, at half resolution."""
    half = (side + 1) // 2
    seeds = rng.uniform(0, half, (int(np.exp(rng.uniform(np.log(20), np.log(1500)))), 2))
    stretch = np.array([1.0, rng.uniform(0.5, 2)])
    grid = np.argwhere(np.ones((half, half), np.bool_))
    distances, nearest = cKDTree(seeds * stretch).query(grid * stretch, k=2)
    return distances.reshape(half, half, 2), nearest.reshape(half, half, 2)


def _turned(
    side: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return coordinates across and along a random direction, about [-0.7, 0.7]."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side] / side - 0.5
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _warp(side: int, rng: np.random.Generator) -> Field:
    return np.float32(rng.choice([0, 1, 3])) * blobs(side, rng)


def _stretch(field: npt.NDArray[np.floating[Any]]) -> Field:
    """Return the field scaled so that its 1st and 99th percentiles become 0 and 1, and clipped."""
    low, high = np.percentile(field[::4, ::4], (1, 99))
    return np.asarray(np.clip((field - low) / max(high - low, 1e-6), 0, 1), np.float32)


PATTERNS: tuple[Pattern, ...] = (
    clouds,
    ridges,
    camouflage,
    blobs,
    spectrum,
    brushed,
    speckle,
    stripes,
    marble,
    wood,
    interference,
    weave,
    bricks,
    checks,
    cells,
    cracked,
    pebbles,
)
