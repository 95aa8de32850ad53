import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.errors import ConfigError
from blemish.synthesis import photometric
from blemish.synthesis.photometric import OPERATIONS, augment, grey


class Always:
    """A stream whose every draw is the given value."""

    def __init__(self, value):
        self.value = value

    def uniform(self, _low, _high, size=None):
        return self.value if size is None else np.full(size, self.value)

    def integers(self, _low, _high=None, size=None):
        return self.value if size is None else np.full(size, self.value)

    def random(self):
        return 0.0


def photo(height=40, width=56):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def apply(operation, value, image=None):
    picture = Pillow.fromarray(photo() if image is None else image)
    return np.asarray(operation(picture, Always(value)))


def test_there_are_ten_operations():
    assert len(set(OPERATIONS)) == 10


def test_gamma_one_changes_nothing_and_gamma_two_squares():
    assert np.array_equal(apply(photometric.gamma, 1.0), photo())
    squared = np.rint(255 * (photo() / 255) ** 2)
    assert np.array_equal(apply(photometric.gamma, 2.0), squared)


def test_brightness_multiplies_adds_and_clips():
    expected = np.clip(np.rint(photo() * 1.1 + 1.1), 0, 255)
    assert np.array_equal(apply(photometric.brightness, 1.1), expected)


def test_posterising_to_three_bits_leaves_multiples_of_32():
    assert np.array_equal(apply(photometric.posterise, 3), photo() // 32 * 32)


def test_solarising_inverts_from_the_threshold_upwards():
    expected = np.where(photo() >= 100, 255 - photo(), photo())
    assert np.array_equal(apply(photometric.solarise, 100), expected)


def test_inverting_gives_the_complement():
    assert np.array_equal(apply(photometric.invert, 0), 255 - photo())


def test_a_hue_shift_without_a_saturation_shift_leaves_a_grey_picture_alone():
    level = photo()[..., :1].repeat(3, axis=2)
    assert np.array_equal(apply(photometric.hue_and_saturation, -30, level), level)


def test_a_hue_shift_by_a_third_of_the_circle_turns_red_into_green():
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    shifted = apply(photometric.hue_and_saturation, 85, red)
    assert np.abs(shifted.astype(int) - (0, 255, 0)).max() <= 6


def test_equalising_spreads_the_levels_evenly():
    dark = (photo(64, 64) // 4).astype(np.uint8)
    shares = np.histogram(apply(photometric.equalise, 0, dark), 4, (0, 256))[0] / dark.size
    np.testing.assert_allclose(shares, 0.25, atol=0.05)


def test_autocontrast_reaches_black_and_white():
    flat = (100 + photo() // 8).astype(np.uint8)
    stretched = apply(photometric.autocontrast, 0, flat)
    assert (stretched.min(), stretched.max()) == (0, 255)


def test_sharpness_one_changes_nothing_and_less_lowers_the_variance():
    assert np.array_equal(apply(photometric.sharpness, 1.0), photo())
    assert apply(photometric.sharpness, 0.1).var() < photo().var()


@pytest.mark.parametrize("angle", [-45, -20, 0, 30, 45])
@pytest.mark.parametrize("size", [(40, 40), (12, 70), (70, 12)])
def test_rotation_never_brings_in_black_corners(angle, size):
    white = np.full((*size, 3), 255, np.uint8)
    assert np.all(apply(photometric.rotate, angle, white) == 255)


def test_rotation_by_zero_changes_nothing():
    assert np.array_equal(apply(photometric.rotate, 0), photo())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("size", [(1, 1), (9, 31)])
def test_every_operation_keeps_size_and_mode_at_any_size(operation, size):
    picture = Pillow.fromarray(photo(*size))
    changed = operation(picture, np.random.default_rng(0))
    assert (changed.size, changed.mode) == (picture.size, "RGB")


def test_augmenting_uses_distinct_operations(monkeypatch):
    used = []
    spies = tuple(
        lambda picture, _rng, index=index: used.append(index) or picture for index in range(10)
    )
    monkeypatch.setattr(photometric, "OPERATIONS", spies)
    for seed in range(50):
        used.clear()
        augment(photo(), np.random.default_rng(seed), count=3)
        assert len(used) == len(set(used)) == 3


def test_no_operation_leaves_the_picture_and_eleven_are_refused():
    assert np.array_equal(augment(photo(), np.random.default_rng(0), count=0), photo())
    with pytest.raises(ConfigError, match="11"):
        augment(photo(), np.random.default_rng(0), count=11)


def test_grey_has_three_equal_channels_and_keeps_a_grey_picture():
    assert np.ptp(grey(photo()), axis=2).max() == 0
    level = photo()[..., :1].repeat(3, axis=2)
    assert np.array_equal(grey(level), level)
