import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.synthesis import shading
from blemish.synthesis.shading import CHANGES, VISIBLE, shade


def photo(level=None):
    if level is not None:
        return np.full((48, 64, 3), level, np.uint8)
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("level", [None, 0, 60, 128, 250, 255])
def test_the_change_is_visible_under_the_mask_even_on_a_flat_photo(level):
    mask = np.zeros((48, 64), np.bool_)
    mask[10:20, 10:30] = True
    for seed in range(40):
        changed = shade(photo(level), mask, np.random.default_rng(seed))
        difference = np.abs(changed[mask].astype(int) - photo(level)[mask])
        assert difference.mean() >= VISIBLE


def test_darker_is_darker_and_brighter_is_brighter_everywhere():
    picture = Pillow.fromarray(photo())
    for seed in range(10):
        darker = np.asarray(shading.darken(picture, np.random.default_rng(seed)))
        brighter = np.asarray(shading.brighten(picture, np.random.default_rng(seed)))
        assert np.all(darker <= photo())
        assert np.all(brighter >= photo())
        assert not np.array_equal(darker, photo())
        assert not np.array_equal(brighter, photo())


def test_a_stain_is_the_photo_through_one_filter():
    gradient = np.arange(0, 240, 5, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(3, 2)
    for seed in range(10):
        stained = np.asarray(shading.tint(Pillow.fromarray(gradient), np.random.default_rng(seed)))
        gains = stained[20, 0] / gradient[20, 0]
        assert (abs(np.log(gains)) < 0.71).all()
        assert np.ptp(gains) > 0
        expected = np.clip(gradient * gains, 0, 255)
        assert np.abs(stained - expected).max() < 2


def test_a_grey_photo_is_never_stained_with_colour():
    grey = photo()[..., :1].repeat(3, axis=2)
    mask = np.ones(grey.shape[:2], np.bool_)
    colourful = {False: 0, True: 0}
    for monochrome in colourful:
        for seed in range(100):
            changed = shade(grey, mask, np.random.default_rng(seed), monochrome=monochrome)
            colourful[monochrome] += np.ptp(changed.astype(int), axis=2).max() > 0
    assert colourful == {False: pytest.approx(100 / 6, abs=12), True: 0}


def test_smearing_moves_the_photo_and_wraps_around():
    moved = np.asarray(shading.smear(Pillow.fromarray(photo()), np.random.default_rng(0)))
    shifts = [(down, across) for down in range(-6, 7) for across in range(-6, 7)]
    matches = [s for s in shifts if np.array_equal(moved, np.roll(photo(), s, (0, 1)))]
    assert len(matches) == 1
    assert matches != [(0, 0)]


def test_blurring_lowers_the_variance():
    blurred = np.asarray(shading.blur(Pillow.fromarray(photo()), np.random.default_rng(0)))
    assert blurred.var() < photo().var()


@pytest.mark.parametrize("change", [*CHANGES, shading.tint], ids=lambda change: change.__name__)
def test_every_change_keeps_size_and_mode(change):
    changed = change(Pillow.fromarray(photo()), np.random.default_rng(0))
    assert (changed.size, changed.mode) == ((64, 48), "RGB")
