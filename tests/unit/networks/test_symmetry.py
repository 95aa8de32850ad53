from __future__ import annotations

import numpy as np
import pytest

from blemish.networks import LiteEncoder
from blemish.networks.symmetry import TURNS, symmetries


@pytest.fixture(scope="module")
def encoder():
    network = LiteEncoder()
    network.load_imagenet()
    return network


def printed(rng: np.random.Generator, *, anyhow: bool) -> np.ndarray:
    """A light square with a dark label in its upper left corner, or lying in any turn."""
    square = np.full((128, 128, 3), 200, np.uint8)
    square[14:44, 10:80] = (40, 30, 120)
    square[50:60, 10:40] = (160, 60, 40)
    if anyhow:
        names = [None, *TURNS]
        name = names[int(rng.integers(len(names)))]
        square = square if name is None else TURNS[name](square)
    shaken = square.astype(np.int16) + rng.integers(-12, 13, square.shape)
    return np.ascontiguousarray(shaken.clip(0, 255).astype(np.uint8))


def test_what_lies_anyhow_may_be_turned_and_what_is_always_upright_may_not(encoder):
    rng = np.random.default_rng(0)
    upright = np.stack([printed(rng, anyhow=False) for _ in range(12)])
    anyhow = np.stack([printed(rng, anyhow=True) for _ in range(64)])
    assert symmetries(upright, encoder) == ()
    assert set(symmetries(anyhow, encoder)) == set(TURNS)


def test_two_photos_tell_nothing_about_turns(encoder):
    assert symmetries(np.zeros((2, 64, 64, 3), np.uint8), encoder) == ()


def test_the_turns_and_the_photo_as_it_is_are_the_eight_symmetries_of_a_square():
    square = np.arange(16).reshape(4, 4)
    looks = {turn(square).tobytes() for turn in TURNS.values()} | {square.tobytes()}
    assert len(looks) == 8
