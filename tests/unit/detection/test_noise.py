from __future__ import annotations

import numpy as np
import pytest
import torch

from blemish.detection.noise import NoiseField


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def batch(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures))


def test_the_corner_is_the_sum_of_sums_in_whole_numbers():
    field = NoiseField(64)
    across, down = field.across.tolist(), field.down.tolist()
    pixels = picture().reshape(64, -1).tolist()
    rows = [sum(a * x for a, x in zip(across, row, strict=True)) % 256 for row in pixels]
    corners = [sum(b * r for b, r in zip(words, rows, strict=True)) % 256 for words in down]
    assert field.corners(batch(picture())).tolist() == [corners]


@pytest.mark.parametrize("exporting", [False, True])
def test_the_noise_is_the_window_at_that_corner(exporting, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: exporting)
    field, photo = NoiseField(64), batch(picture(0), picture(1))
    for noise, corner in zip(field(photo), field.corners(photo).tolist(), strict=True):
        for scale, (top, left) in enumerate((corner[:2], corner[2:])):
            window = field.field[scale, :, top : top + 64, left : left + 64]
            assert torch.equal(noise[scale], window)


@pytest.mark.parametrize("size", [32, 256, 1024])
def test_every_sum_of_the_hash_is_exact_in_32_bit_floats(size):
    field = NoiseField(size)
    assert 255 * int(field.across.sum()) < 2**24
    assert 255 * int(field.down.sum(1).max()) < 2**24


def test_equal_pictures_get_equal_noise_whoever_draws_it():
    one, other = NoiseField(64)(batch(picture()))[0], NoiseField(64)(batch(picture()))[0]
    assert torch.equal(one, other)


def test_noise_follows_the_pixels_and_not_their_place_in_memory():
    field, upside_down = NoiseField(64), picture()[::-1]
    assert torch.equal(field(batch(upside_down)), field(batch(upside_down.copy())))


def test_one_changed_pixel_changes_the_noise():
    field, other = NoiseField(64), picture()
    other[5, 7, 1] ^= 1
    assert not torch.equal(field(batch(picture())), field(batch(other)))


def test_the_noise_is_standard_normal_and_the_two_scales_are_independent():
    fine, anchor = NoiseField(64)(batch(picture()))[0].flatten(1).double()
    for noise in (fine, anchor):
        assert float(noise.mean()) == pytest.approx(0, abs=0.04)
        assert float(noise.var()) == pytest.approx(1, abs=0.06)
    assert float(torch.corrcoef(torch.stack([fine, anchor]))[0, 1]) == pytest.approx(0, abs=0.04)
