from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from blemish.data import cut_tile, tile_windows
from blemish.errors import ImageError
from blemish.verdicts import Calibration, Detector


@dataclass(frozen=True)
class View:
    framing: str
    size: int = 64
    overlap: float = 0.25


class Plain(Detector):
    """A detector that is never asked what it sees."""

    def __init__(self, framing: str) -> None:
        self.view, self.calibration = View(framing), Calibration.of([0.5], 0.5)

    def look(self, squares, *, reconstruct=True):
        raise NotImplementedError


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("framing", ["tiles", "strips"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_photo_that_is_a_thread_is_refused_before_its_squares_are_made(framing, turned):
    thread = np.broadcast_to(np.uint8(0), (1, 25_000_000, 3))
    with pytest.raises(ImageError, match="needs 520833 squares") as caught:
        Plain(framing).squares(thread.swapaxes(0, 1) if turned else thread)
    assert caught.value.hint
    assert len(Plain("letterbox").squares(photo(1, 100_000))) == 1


@pytest.mark.parametrize("framing", ["tiles", "strips"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 48_016), (16, 60_000), (60, 50)])
def test_every_other_photo_is_covered_by_the_squares_of_its_windows(framing, height, width):
    image = photo(height, width)
    windows = tile_windows(height, width, 64, 16)
    expected = [cut_tile(image, window, 64) for window in windows]
    np.testing.assert_array_equal(Plain(framing).squares(image), expected)


def test_what_is_no_photo_is_refused_in_every_framing():
    for framing in ("letterbox", "tiles"):
        for wrong in (photo(4, 4)[..., 0], photo(4, 4).astype(float), photo(4, 4)[:0]):
            with pytest.raises(ImageError, match="expected a photo as uint8"):
                Plain(framing).check(wrong)
