from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from blemish.diffusion import local
from blemish.diffusion.local import Patches, patch_posterior, surroundings
from blemish.randomness import generator


class Facts(NamedTuple):
    """What makes patches: looks (N, C, A), traits (N, K), centres (N, C)."""

    looks: Tensor
    traits: Tensor
    centres: Tensor


class Asked(NamedTuple):
    """What is asked about cells: looks (M, C, A), precision (M, A), traits (M, K)."""

    looks: Tensor
    precision: Tensor
    traits: Tensor


def draw(*shape: int) -> Tensor:
    stream = generator(0, "local", *shape)
    return torch.randn(shape, generator=stream, dtype=torch.float64)


@pytest.fixture
def facts() -> Facts:
    return Facts(draw(13, 3, 4), draw(13, 2), draw(13, 3))


@pytest.fixture
def asked() -> Asked:
    return Asked(draw(7, 3, 4), draw(7, 4).square() + 0.1, draw(7, 2))


def log_weights(asked: Asked, facts: Facts):
    """The formula, one cell and one patch at a time."""
    found = np.empty((len(asked.looks), len(facts.looks)))
    for cell, (q, p, e) in enumerate(zip(*(values.numpy() for values in asked), strict=True)):
        for index, (look, trait) in enumerate(zip(facts.looks, facts.traits, strict=True)):
            apart = p * ((q - look.numpy()) ** 2).sum(0)
            found[cell, index] = -apart.sum() / 2 - ((e - trait.numpy()) ** 2).sum() / 2
    return found


def test_the_expected_value_is_the_mean_of_the_patches_by_their_likelihood(asked, facts):
    weights = np.exp(log_weights(asked, facts))
    expected = weights @ facts.centres.numpy() / weights.sum(1, keepdims=True)
    found = patch_posterior(*asked, Patches(*facts))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_the_mode_is_the_value_of_the_likeliest_patch(asked, facts):
    expected = facts.centres.numpy()[log_weights(asked, facts).argmax(1)]
    found = patch_posterior(*asked, Patches(*facts), mode=True)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_two_patches_a_hand_can_weigh():
    """Seen 1.5 between patches of 0 and 2: log-odds (1.5^2 - 0.5^2) / 2 = 1."""
    looks, centres = torch.tensor([[[0.0]], [[2.0]]]), torch.tensor([[0.0], [10.0]])
    known = Patches(looks, torch.zeros(2, 1), centres)
    seen, certain, nothing = torch.tensor([[[1.5]]]), torch.ones(1, 1), torch.zeros(1, 1)
    found = patch_posterior(seen, certain, nothing, known)
    assert found.item() == pytest.approx(10 / (1 + np.exp(-1)))
    assert patch_posterior(seen, certain, nothing, known, mode=True).item() == 10


@pytest.mark.parametrize("mode", [False, True])
def test_of_one_patch_its_middle_comes_back_whatever_is_seen(asked, facts, mode):
    one = Facts(*(values[:1] for values in facts))
    found = patch_posterior(*asked, Patches(*one), mode=mode)
    torch.testing.assert_close(found, one.centres.expand(7, -1))


@pytest.mark.parametrize("mode", [False, True])
def test_traits_decide_where_looks_do_not(facts, mode):
    looks, traits = facts.looks[:1].expand(13, -1, -1), 1000 * facts.traits
    known, order = Patches(looks, traits, facts.centres), torch.arange(13).flip(0)
    found = patch_posterior(draw(13, 3, 4), torch.ones(13, 4), traits[order], known, mode=mode)
    torch.testing.assert_close(found, facts.centres[order])


@pytest.mark.parametrize("mode", [False, True])
def test_what_is_not_known_has_no_say(asked, facts, mode):
    precision = asked.precision.clone()
    precision[:, 2:] = 0
    other = asked.looks.clone()
    other[:, :, 2:] += 100
    found = [
        patch_posterior(seen, precision, asked.traits, Patches(*facts), mode=mode)
        for seen in (asked.looks, other)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize("queries", [1, 3, 7])
def test_the_answer_does_not_depend_on_how_many_cells_are_asked_at_a_time(
    asked, facts, monkeypatch, mode, queries
):
    whole = patch_posterior(*asked, Patches(*facts), mode=mode)
    monkeypatch.setattr(local, "_QUERIES", queries)
    torch.testing.assert_close(patch_posterior(*asked, Patches(*facts), mode=mode), whole)


def test_no_cells_give_no_values(facts):
    none = patch_posterior(draw(0, 3, 4), draw(0, 4), draw(0, 2), Patches(*facts))
    assert none.shape == (0, 3)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_surroundings_of_a_cell_are_its_neighbours_mirrored_at_the_border(side):
    picture = draw(1, 2, 4, 5)
    half = side // 2
    padded = np.pad(picture[0].numpy(), ((0, 0), (half, half), (half, half)), mode="reflect")
    found = surroundings(picture, side).numpy()
    assert found.shape == (4 * 5, 2, side**2)
    for row in range(4):
        for column in range(5):
            square = padded[:, row : row + side, column : column + side]
            np.testing.assert_array_equal(found[row * 5 + column], square.reshape(2, -1))
