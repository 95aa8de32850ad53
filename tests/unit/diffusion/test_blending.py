from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from blemish.diffusion import add_noise, blend, dilate, linear_kept, mask_shrink, to_latent


def latents(count: int, *shape: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=rng) for _ in range(count)]


def dots(*shape: int, share: float = 0.1, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share).float()


def test_outside_the_mask_the_photo_comes_back_bit_for_bit_and_inside_the_painting():
    painted, photo = latents(2, 2, 4, 8, 8)
    mask = dots(2, 1, 8, 8, share=0.5)
    expected = torch.where(mask.bool(), painted, photo)
    assert torch.equal(blend(painted, photo, mask), expected)
    assert torch.equal(blend(painted, photo, torch.zeros_like(mask)), photo)


def test_a_soft_mask_is_the_equation_of_the_paper():
    painted, photo = latents(2, 2, 4, 8, 8)
    mask = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(blend(painted, photo, mask), painted * mask + photo * (1 - mask))


def test_with_nothing_left_of_the_noise_what_is_blended_in_is_the_photo_itself():
    photo, noise = latents(2, 1, 4, 8, 8)
    clean_end = torch.ones(1, 1, 1, 1)
    assert torch.equal(add_noise(photo, noise, clean_end), photo)


@pytest.mark.parametrize("step", [0, 24, 25, 149, 150, 500, 899, 900, 999])
def test_the_mask_grows_by_the_radius_of_the_published_code(step):
    assert mask_shrink(step) == (step + 100) * 8 // 1000


@pytest.mark.parametrize("most", [0, 1, 3, 8, 16])
@pytest.mark.parametrize("steps", [50, 400, 1000])
def test_the_mask_only_shrinks_and_is_obeyed_at_the_end(most, steps):
    radii = [mask_shrink(step, steps, most) for step in range(steps)]
    assert radii == sorted(radii)
    assert radii[0] == 0
    assert radii[-1] == most


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_a_grown_mask_is_the_dilation_of_scipy(radius):
    mask = dots(2, 1, 12, 17, share=0.03)
    square = np.ones((1, 1, 2 * radius + 1, 2 * radius + 1))
    expected = ndimage.binary_dilation(mask.numpy() > 0, square)
    assert np.array_equal(dilate(mask, radius).numpy(), expected)


@given(st.integers(0, 2**20), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_no_defect_vanishes_on_the_latent_grid_and_none_appears(seed, height, width, stride):
    mask = dots(3, 1, height, width, share=0.01, seed=seed)
    mask[0] = 0
    found = to_latent(mask, stride)
    assert found.shape == (3, 1, -(-height // stride), -(-width // stride))
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    assert found.flatten(1).any(1).tolist() == mask.flatten(1).any(1).tolist()


def test_cells_with_a_tenth_of_defect_count_and_those_with_less_do_not():
    mask = torch.zeros(1, 1, 8, 24)
    mask[0, 0, 0, :7] = 1  # 7 of 64 pixels
    mask[0, 0, 0, 8:14] = 1  # 6 of 64
    mask[0, 0, :, 16:] = 1
    assert to_latent(mask, 8)[0, 0].tolist() == [[1, 0, 1]]


def test_a_defect_too_thin_for_every_cell_keeps_all_that_it_touches():
    mask = torch.zeros(2, 1, 8, 24)
    mask[0, 0, 3, 7:9] = 1
    mask[1] = 1
    assert to_latent(mask, 8)[:, 0].tolist() == [[[1, 1, 0]], [[1, 1, 1]]]


def test_a_cell_that_the_border_cuts_counts_the_pixels_it_has():
    mask = torch.zeros(1, 1, 10, 10)
    mask[0, 0, 9, 9] = 1  # a quarter of a cell of 2 x 2 pixels
    mask[0, 0, 0, 0] = 1  # a 64th of a whole one
    assert to_latent(mask, 8)[0, 0].tolist() == [[0, 0], [0, 1]]


def test_a_photo_does_not_depend_on_its_neighbours_in_the_batch():
    mask = dots(3, 1, 32, 32, share=0.004)
    together = to_latent(mask, 8)
    assert torch.equal(torch.cat([to_latent(one[None], 8) for one in mask]), together)


def test_blending_at_every_step_ends_with_the_photo_outside_the_mask():
    photo, painted, noise = latents(3, 1, 4, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:6] = 1
    kept = torch.cat([linear_kept().flip(0)[::100].float(), torch.ones(1)])
    for now in kept:
        painted = blend(painted * 0.9, add_noise(photo, noise, now), mask)
    outside = (mask == 0).expand_as(photo)
    assert torch.equal(painted[outside], photo[outside])
    assert not torch.equal(painted, photo)
