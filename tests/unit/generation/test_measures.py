import numpy as np
import pytest

from blemish.generation.measures import healed, masked_features, most_alike, portrait, realised, seam


def surface(seed=0, noise=4.0, shape=(96, 96)):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(120, noise, (*shape, 3)), 0, 255).astype(np.uint8)


def disc(radius=14, shape=(96, 96), row=48, column=48):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def painted(photo, mask, value):
    made = photo.copy()
    made[mask] = np.clip(made[mask].astype(int) + value, 0, 255)
    return made


def test_a_photo_that_did_not_change_has_not_been_realised():
    photo = surface()
    assert realised(photo, photo, disc()) == (0, 0)


def test_new_grain_alone_is_no_change():
    mask = disc()
    made = np.where(mask[..., None], surface(seed=1), surface(seed=0))
    change, fill = realised(surface(seed=0), made, mask)
    assert fill < 0.05
    assert change < 2


def test_a_painted_half_fills_half_of_the_mask():
    photo, mask = surface(), disc()
    half = mask & (np.arange(96) < 48)
    _, fill = realised(photo, painted(photo, half, 60), mask)
    assert fill == pytest.approx(half.sum() / mask.sum(), abs=0.08)


def test_the_change_is_measured_in_the_noise_of_the_photo():
    mask = disc()
    quiet, loud = (
        realised(surface(noise=n), painted(surface(noise=n), mask, 40), mask)[0] for n in (3, 12)
    )
    assert quiet / loud == pytest.approx(4, rel=0.15)


def test_a_constant_change_of_a_flat_photo_is_counted_in_half_grey_levels():
    photo, mask = np.full((50, 50, 3), 100, np.uint8), disc(8, (50, 50), 25, 25)
    change, fill = realised(photo, painted(photo, mask, 6), mask)
    assert change == pytest.approx(12)
    assert fill == 1


def test_a_hairline_is_measured_on_itself_alone():
    photo, mask = np.full((50, 50, 3), 100, np.uint8), np.zeros((50, 50), np.bool_)
    mask[25, 5:45] = True
    assert realised(photo, painted(photo, mask, 6), mask) == (pytest.approx(12), 1)


def test_a_border_that_does_not_show_has_a_seam_of_one():
    assert seam(surface(), disc()) == pytest.approx(1, abs=0.1)


def test_a_seam_by_hand():
    photo, mask = np.full((50, 50, 3), 100, np.uint8), np.zeros((50, 50), np.bool_)
    mask[20:30, 20:30] = True
    photo[mask] = 107
    assert seam(photo, mask) == pytest.approx((1 + 7) / (1 + 0))


def test_a_mask_without_border_has_no_seam():
    assert seam(surface(), np.ones((96, 96), np.bool_)) == 1


def test_healing_takes_the_colour_from_around_the_mask():
    photo, mask = np.full((50, 50, 3), 100, np.uint8), disc(8, (50, 50), 25, 25)
    photo[:, 25:] = 150
    dented = painted(photo, mask, -90)
    restored = healed(dented, mask)
    np.testing.assert_array_equal(restored[~mask], photo[~mask])
    assert np.abs(restored[mask].astype(int) - photo[mask]).mean() < 6
    np.testing.assert_array_equal(healed(photo, np.ones((50, 50), np.bool_)), photo)


def structured(seed, mask):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    photo = surface()
    photo[mask] = np.kron(coarse, np.ones((12, 12), np.uint8))[mask][:, None]
    return photo


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [1, -1])
def test_a_copy_is_found_in_every_turn_and_a_stranger_is_not(turn, mirror):
    mask = disc() | disc(8, row=40, column=66)
    known = [portrait(structured(seed, mask), mask) for seed in range(3)]
    photo, moved = structured(1, mask), mask
    photo, moved = (np.rot90(plane[:, ::mirror], turn) for plane in (photo, moved))
    copy = portrait(np.ascontiguousarray(photo), np.ascontiguousarray(moved))
    assert most_alike(copy, known) > 0.99
    assert most_alike(portrait(structured(9, mask), mask), known) < 0.8


def test_a_brighter_copy_is_still_a_copy():
    mask = disc()
    photo = structured(1, mask) // 2
    brighter = photo + np.uint8(60)
    assert most_alike(portrait(brighter, mask), [portrait(photo, mask)]) > 0.99


def test_without_others_and_without_structure_nothing_is_alike():
    mask = disc()
    one = portrait(structured(1, mask), mask)
    flat = portrait(np.full((96, 96, 3), 90, np.uint8), mask)
    assert most_alike(one, []) == -1
    assert most_alike(flat, [flat]) == 0


def test_two_masks_that_share_little_are_not_compared():
    line = np.zeros((96, 96), np.bool_)
    line[np.arange(20, 70), np.arange(20, 70)] = True
    wide = disc()
    photo = structured(1, wide | line)
    assert most_alike(portrait(photo, line), [portrait(photo, wide)]) == 0


def test_masked_features_are_unit_means_of_the_cells_under_the_mask():
    features = np.zeros((3, 4, 4), np.float32)
    features[:, 1, 1] = (3, 0, 4)
    features[:, 3, 3] = 100
    mask = np.zeros((16, 16), np.bool_)
    mask[4:8, 4:8] = True
    np.testing.assert_allclose(
        masked_features([features, 2 * features], mask), [0.6, 0, 0.8] * 2, rtol=1e-6
    )
