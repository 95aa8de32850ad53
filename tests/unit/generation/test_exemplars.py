from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from blemish.diffusion import Patches, surroundings
from blemish.generation import exemplars
from blemish.generation.exemplars import SCALES, Exemplar, Patchwork, look
from blemish.generation.masks import Template
from blemish.networks.symmetry import TURNS
from blemish.randomness import generator

SIDE = 64
SIGMAS = [scale.above + 0.1 for scale in SCALES]
"""One for each scale."""

BLACK = 0.02
"""What is added to a brightness before two of them are compared."""


def rng(seed=0):
    return np.random.default_rng(seed)


def grain(height, width, seed):
    return rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


def box(height, width, rows, columns):
    mask = np.zeros((height, width), np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def exemplar(image, mask):
    return Exemplar(image, Template(mask, np.ones_like(mask)), "dent")


def pixels(photo):
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255


def noise(*names):
    return torch.randn(1, 3, SIDE, SIDE, generator=generator(0, *names))


@pytest.fixture
def photo():
    return grain(SIDE, SIDE, 1)


@pytest.fixture
def mask():
    """An ellipse with a bay, so that no two places of it are alike."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (((y - 32) / 9) ** 2 + ((x - 31) / 11) ** 2 <= 1) & ~box(SIDE, SIDE, (30, 35), (36, 64))


@pytest.fixture
def real():
    return exemplar(grain(72, 90, 2), box(72, 90, (30, 46), (40, 60)))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_outside_the_mask_the_photo_comes_back_bit_for_bit(photo, mask, real, sigma):
    made = Patchwork(photo, mask, [real], 1.0, 0.2, rng()).expected_clean(noise("seen"), sigma)
    outside = ~torch.from_numpy(mask).expand_as(made)
    assert torch.equal(made[outside], pixels(photo)[outside])
    assert not torch.equal(made, pixels(photo))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_of_the_noisy_square_only_what_is_inside_the_mask_is_looked_at(photo, mask, real, sigma):
    patchwork = Patchwork(photo, mask, [real], 1.0, 0.2, rng())
    seen = noise("seen")
    other = torch.where(torch.from_numpy(mask), seen, noise("other"))
    found, again = (patchwork.expected_clean(square, sigma) for square in (seen, other))
    assert torch.equal(found, again)


def test_without_noise_a_real_defect_is_seen_as_what_it_is(photo, mask):
    """The photo is the example itself: the patch around each pixel explains it without an error."""
    patchwork = Patchwork(photo, mask, [exemplar(photo, mask)], 1.0, 0.2, rng())
    made = patchwork.expected_clean(pixels(photo), 1e-4)
    torch.testing.assert_close(made, pixels(photo), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_grey_photo_is_painted_as_its_three_equal_channels_would_be(photo, mask, monkeypatch, sigma):
    grey, other = (np.repeat(plane[..., :1], 3, axis=2) for plane in (photo, grain(SIDE, SIDE, 6)))
    real, seen = exemplar(other, mask), noise("seen")
    assert exemplars._is_grey(pixels(grey))
    assert not exemplars._is_grey(pixels(photo))
    short = Patchwork(grey, mask, [real], 1.0, 0.2, rng())
    monkeypatch.setattr(exemplars, "_is_grey", lambda _: False)
    whole = Patchwork(grey, mask, [real], 1.0, 0.2, rng())
    torch.testing.assert_close(short.expected_clean(seen, sigma), whole.expected_clean(seen, sigma))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_what_lies_far_from_the_mask_plays_no_part(mask, sigma):
    """The same surroundings in a larger photo, moved by a whole number of the largest cells."""
    large = grain(176, 176, 1)
    rows, columns = slice(56, 56 + SIDE), slice(64, 64 + SIDE)
    within = np.zeros((176, 176), np.bool_)
    within[rows, columns] = mask
    near = large[rows, columns]
    real = exemplar(near, mask)
    seen = torch.randn(1, 3, 176, 176, generator=generator(0, "large"))
    whole = Patchwork(large, within, [real], 1.0, 0.2, rng()).expected_clean(seen, sigma)
    part = Patchwork(near, mask, [real], 1.0, 0.2, rng())
    found = part.expected_clean(seen[..., rows, columns], sigma)
    torch.testing.assert_close(whole[..., rows, columns], found)


def test_of_several_real_defects_the_one_that_is_seen_comes_back(photo, mask):
    others = [exemplar(grain(SIDE, SIDE, seed), mask) for seed in (5, 6)]
    some = [others[0], exemplar(photo, mask), others[1]]
    made = Patchwork(photo, mask, some, 1.0, 0.2, rng()).expected_clean(pixels(photo), 1e-4)
    torch.testing.assert_close(made, pixels(photo), rtol=0, atol=1e-5)


SMALL = box(SIDE, SIDE, (30, 35), (28, 33))
"""So small that each pixel sees the outline otherwise: the example's own pixel is always chosen."""


def on(level, colours):
    """A photo of one grey with the colours of a small defect on it."""
    photo = np.full((SIDE, SIDE, 3), level, np.uint8)
    photo[SMALL] = colours
    return photo


@pytest.fixture
def colours():
    return rng(3).integers(20, 120, (25, 3))


def painted(photo, example):
    patchwork = Patchwork(photo, SMALL, [example], 1.0, 1.0, rng())
    return patchwork.expected_clean(pixels(photo), 0.1)[0][:, torch.from_numpy(SMALL)].T.numpy()


@pytest.mark.parametrize(("level", "gain"), [(160, None), (80, None), (40, None), (10, 3), (255, None)])
def test_a_defect_is_as_much_darker_than_its_surroundings_as_in_its_own_light(colours, level, gain):
    """P' = g (P - r) + r_photo by hand, g at most 3."""
    own = np.rint(colours * level / 160).astype(np.uint8)
    around, here = level / 255, 120 / 255
    factor = gain or (here + BLACK) / (around + BLACK)
    expected = factor * (own / 255 - around) + here
    found = painted(on(120, 120), exemplar(on(level, own), SMALL))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_real_defect_photographed_in_half_the_light_paints_the_same(colours):
    """Half the light above the sensor's black, which is 0.02: within rounding to grey levels."""
    black = 255 * BLACK
    full = on(200, colours)
    half = np.rint((full + black) / 2 - black).clip(0).astype(np.uint8)
    bright, dim = (painted(on(120, 120), exemplar(photo, SMALL)) for photo in (full, half))
    rounding = 0.5 / 255
    gain = (120 / 255 + BLACK) / (100 / 255 - rounding)
    np.testing.assert_allclose(dim, bright, atol=2 * gain * rounding + 0.01)
    assert np.abs(bright - 120 / 255).max() > 0.1


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("turn", sorted(TURNS))
def test_a_turned_example_is_an_example_of_turned_arrays(photo, mask, real, turn, sigma):
    arrays = (TURNS[turn](plane) for plane in (real.image, real.template.mask))
    already = exemplar(*map(np.ascontiguousarray, arrays))
    turned = Patchwork(photo, mask, [real], 1.0, 0.2, rng(), turn)
    plain = Patchwork(photo, mask, [already], 1.0, 0.2, rng())
    seen = noise("seen")
    torch.testing.assert_close(turned.expected_clean(seen, sigma), plain.expected_clean(seen, sigma))


def test_turns_matter(photo, mask, real):
    seen = noise("seen")
    found = [
        Patchwork(photo, mask, [real], 1.0, 0.2, rng(), turn).expected_clean(seen, 0.1)
        for turn in (None, "mirror")
    ]
    assert not torch.equal(*found)


def test_a_larger_photo_of_the_same_defect_counts_the_same_at_half_the_scale(photo, mask):
    small = grain(96, 104, 4)
    where = box(96, 104, (40, 54), (44, 60))
    large = (np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1) for plane in (small, where))
    halved = Patchwork(photo, mask, [exemplar(*large)], 0.5, 0.2, rng())
    whole = Patchwork(photo, mask, [exemplar(small, where)], 1.0, 0.2, rng())
    for sigma in SIGMAS:
        seen = noise("seen")
        assert torch.equal(halved.expected_clean(seen, sigma), whole.expected_clean(seen, sigma))


def test_one_stream_chooses_the_same_patches_whichever_noise_is_asked_about_first(
    photo, mask, real, monkeypatch
):
    monkeypatch.setattr(exemplars, "_MOST", 15)
    seen = noise("seen")

    def found(seed, *sigmas):
        patchwork = Patchwork(photo, mask, [real], 1.0, 0.2, rng(seed))
        return [patchwork.expected_clean(seen, sigma) for sigma in sigmas][-1]

    alone = found(7, 0.1)
    assert torch.equal(alone, found(7, 0.1))
    assert torch.equal(alone, found(7, *SIGMAS, 0.1))
    assert not torch.equal(alone, found(8, 0.1))


def cut_all(image, mask, scale):
    """All patches of a scale around a defect, each phase of the grid in turn, cut out one and all."""
    looks, traits, centres = [], [], []
    cover = torch.from_numpy(mask).float()[None, None]
    for start in sorted({0, scale.cell // 2}):
        planes = [p[..., start:, start:] for p in (image, cover, exemplars._depth(mask))]
        cells, share, deep = (F.avg_pool2d(plane, scale.cell) for plane in planes)
        inside = share.flatten() > 0
        outline = surroundings(share, scale.side)[inside, 0]
        depth = deep.flatten()[inside, None] * math.sqrt(scale.side)
        looks.append(surroundings(cells, scale.side)[inside])
        traits.append(torch.cat([outline, depth], dim=1) / exemplars.SHAPE)
        centres.append(cells[0].flatten(1).T[inside])
    return [torch.cat(some) for some in (looks, traits, centres)]


@pytest.mark.parametrize("scale", SCALES)
def test_drawing_patches_before_they_are_cut_out_gives_those_drawn_from_all(mask, scale, monkeypatch):
    monkeypatch.setattr(exemplars, "_MOST", 12)
    masks = [mask, box(SIDE, SIDE, (30, 46), (0, 20)), box(SIDE, SIDE, (9, 10), (20, 21))]
    cuts = [(pixels(grain(SIDE, SIDE, 10 + n)), one) for n, one in enumerate(masks)]
    found = exemplars._known(cuts, scale, rng(4))
    parts = zip(*(cut_all(*cut, scale) for cut in cuts), strict=True)
    whole = [torch.cat(part) for part in parts]
    chosen = np.sort(rng(4).choice(len(whole[0]), 12, replace=False))
    expected = Patches(*(part[chosen] for part in whole))
    for name in ("flat", "constant", "centres"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_no_more_patches_are_cut_out_than_are_kept(mask, monkeypatch):
    cut = []

    def counted(picture, side, places):
        cut.append(len(places))
        return around(picture, side, places)

    around = exemplars._around
    monkeypatch.setattr(exemplars, "_around", counted)
    monkeypatch.setattr(exemplars, "_MOST", 12)
    exemplars._known([(pixels(grain(SIDE, SIDE, 1)), mask)], SCALES[-1], rng())
    assert cut == [12, 12]  # looks and outlines


def test_where_the_mask_fills_the_square_the_whole_of_it_is_painted(photo, real):
    whole = np.ones((SIDE, SIDE), np.bool_)
    made = Patchwork(photo, whole, [real], 1.0, 0.2, rng()).expected_clean(noise("seen"), 0.1)
    assert made.isfinite().all()
    assert ((made - pixels(photo)).abs().amax(1) > 0).float().mean() > 0.99


def test_a_defect_without_anything_beside_it_still_paints(photo, mask):
    whole = exemplar(photo, np.ones((SIDE, SIDE), np.bool_))
    made = Patchwork(photo, mask, [whole], 1.0, 0.2, rng()).expected_clean(noise("seen"), 0.1)
    assert made.isfinite().all()


def test_the_look_of_a_photo_is_its_brightness_and_contrast_in_logarithm():
    halves = np.zeros((4, 6, 3), np.uint8)
    halves[:, 3:] = 190
    assert look(halves) == pytest.approx((math.log(100), math.log(100)))
    assert look(np.full((4, 6, 3), 95, np.uint8)) == pytest.approx((math.log(100), math.log(5)))
    assert exemplar(halves, np.ones((4, 6), np.bool_)).look == look(halves)
