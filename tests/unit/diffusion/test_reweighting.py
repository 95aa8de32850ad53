from __future__ import annotations

from functools import partial

import pytest
import torch

from blemish.diffusion import paper_weights, reference_weights, tempered_weights

CLIPPED = [reference_weights, tempered_weights, partial(tempered_weights, temperature=0.2, ceiling=3)]


def scene(batch: int = 2, channels: int = 4, side: int = 6) -> tuple[torch.Tensor, ...]:
    """Return a painting, a photo, and a mask of a different size for each image."""
    rng = torch.Generator().manual_seed(0)
    painted, photo = torch.randn(2, batch, channels, side, side, generator=rng).unbind()
    mask = torch.zeros(batch, 1, side, side)
    for index in range(batch):
        mask[index, 0, 1 : 3 + index, 1:5] = 1
    return painted, photo, mask


def distances(painted: torch.Tensor, photo: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return by brute force the squared distance of each cell of the mask of one image."""
    cells = inside[0].nonzero().tolist()
    return torch.stack([(painted[:, y, x] - photo[:, y, x]).square().sum() for y, x in cells])


def test_the_paper_hands_out_the_area_of_the_mask_by_a_softmax_of_one_over_the_distance():
    painted, photo, mask = scene()
    found = paper_weights(painted, photo, mask)
    for index in range(2):
        closeness = 1 / distances(painted[index], photo[index], mask[index])
        expected = len(closeness) * closeness.exp() / closeness.exp().sum()
        torch.testing.assert_close(found[index][mask[index] > 0], expected)
    assert not found[mask == 0].any()
    torch.testing.assert_close(found.sum((1, 2, 3)), mask.sum((1, 2, 3)))


def test_the_formula_of_the_paper_gives_all_to_one_pixel_and_nothing_to_one_that_equals_the_photo():
    photo = torch.zeros(1, 3, 2, 2)
    painted = torch.tensor([[0.0, 1e-3], [0.3, 0.5]]).expand(1, 3, 2, 2)
    found = paper_weights(painted, photo, torch.ones(1, 1, 2, 2))
    assert found.flatten().tolist() == [0, 4, 0, 0]


@pytest.mark.parametrize("apart", [0.0, 1e-30])
def test_the_formula_of_the_paper_survives_a_painting_that_is_the_photo(apart):
    _, photo, mask = scene()
    found = paper_weights(photo * (1 - apart), photo, mask)
    assert torch.equal(found, mask)


def test_the_code_hands_out_the_area_of_the_mask_in_inverse_proportion_to_the_distance():
    painted, photo, mask = scene()
    found = reference_weights(painted, photo, mask, ceiling=1.5)
    for index in range(2):
        closeness = 1 / distances(painted[index], photo[index], mask[index])
        expected = (len(closeness) * closeness / closeness.sum()).clamp(1, 1.5)
        torch.testing.assert_close(found[index][mask[index] > 0], expected)


def test_three_cells_by_hand():
    photo = torch.zeros(1, 1, 1, 3)
    painted = torch.tensor([0.0, 1.0, 2**0.5]).view(1, 1, 1, 3)  # d = 0, 1, 2 and their mean 1
    found = tempered_weights(painted, photo, torch.ones(1, 1, 1, 3), ceiling=9)
    e = torch.tensor(1.0).exp()
    first = 3 / (1 + 1 / e + 1 / e**2)
    torch.testing.assert_close(found.flatten(), torch.stack([first, torch.ones(()), torch.ones(())]))


@pytest.mark.parametrize("weigh", CLIPPED)
def test_weights_lie_between_one_and_the_ceiling_and_are_one_outside_the_mask(weigh):
    painted, photo, mask = scene()
    found = weigh(painted, photo, mask)
    ceiling = 3 if isinstance(weigh, partial) else 1.5
    assert float(found.min()) == 1
    assert 1 < float(found.max()) <= ceiling
    assert (found[mask == 0] == 1).all()


@pytest.mark.parametrize("weigh", CLIPPED)
def test_the_closer_to_the_photo_the_larger_the_weight(weigh):
    painted, photo, mask = scene(batch=1)
    apart = distances(painted[0], photo[0], mask[0])
    by_distance = weigh(painted, photo, mask)[0][mask[0] > 0][apart.argsort()]
    assert by_distance.tolist() == sorted(by_distance.tolist(), reverse=True)
    assert by_distance[0] > by_distance[-1]


@pytest.mark.parametrize("weigh", CLIPPED)
def test_where_all_cells_differ_equally_nothing_is_weighted(weigh):
    _, photo, mask = scene()
    for apart in (0.0, 0.7):
        found = weigh(photo + apart, photo, mask)
        torch.testing.assert_close(found, torch.ones_like(found))


@pytest.mark.parametrize("weigh", CLIPPED)
def test_an_image_without_a_defect_is_not_weighted(weigh):
    painted, photo, mask = scene()
    mask[0] = 0
    found = weigh(painted, photo, mask)
    assert (found[0] == 1).all()
    assert (found[1] > 1).any()


def test_the_scale_of_the_distances_does_not_matter_and_the_temperature_flattens():
    painted, photo, mask = scene()
    once = tempered_weights(painted, photo, mask, ceiling=99)
    apart = 1e-3 * (painted - photo)
    torch.testing.assert_close(tempered_weights(apart, 0 * apart, mask, ceiling=99), once)
    warm = tempered_weights(painted, photo, mask, temperature=4, ceiling=99)
    assert 1 < float(warm.max()) < float(once.max())


@pytest.mark.parametrize("weigh", [paper_weights, *CLIPPED])
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(weigh):
    painted, photo, mask = scene()
    together = weigh(painted, photo, mask)
    torch.testing.assert_close(weigh(painted[1:], photo[1:], mask[1:]), together[1:])


@pytest.mark.parametrize("weigh", [paper_weights, *CLIPPED])
def test_what_happens_outside_the_mask_does_not_matter(weigh):
    painted, photo, mask = scene()
    elsewhere = torch.where(mask > 0, painted, 7.0)
    assert torch.equal(weigh(elsewhere, photo, mask), weigh(painted, photo, mask))
