from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from blemish.errors import DependencyError
from blemish.networks.spatial import SmallSpatialEncoder, spatial_encoder


def rectangles(count: int, seed: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """Return masks (N, 1, side, side) and what they are about: row, column and root of the area."""
    rng = torch.Generator().manual_seed(seed)
    masks, facts = torch.zeros(count, 1, side, side), []
    for mask in masks:
        size = torch.randint(3, side // 2, (2,), generator=rng)
        corner = (torch.rand(2, generator=rng) * (side + 1 - size)).long()
        (top, left), (height, width) = corner, size
        mask[0, top : top + height, left : left + width] = 1
        facts.append([top + height / 2, left + width / 2, (height * width).sqrt()])
    return masks, torch.tensor(facts) / side


@pytest.fixture(params=["small", "paper"])
def encoder(request) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return spatial_encoder(request.param, tokens=3, width=16)


def test_a_line_through_the_tokens_tells_where_a_mask_is_and_how_large():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, line = SmallSpatialEncoder(tokens=4, width=8), nn.Linear(32, 3)
    masks, facts = rectangles(256, seed=1)
    optimizer = torch.optim.Adam([*network.parameters(), *line.parameters()], lr=1e-3)
    for iteration in range(60):
        rows = torch.arange(32) + 32 * (iteration % 8)
        loss = (line(network(masks[rows]).flatten(1)) - facts[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen, truth = rectangles(128, seed=2)
    with torch.no_grad():
        error = (line(network(unseen).flatten(1)) - truth).square().mean(0)
    constant = truth.var(0, correction=0)
    assert (error < 0.25 * constant).all()


def test_fresh_tokens_differ_between_places_and_have_mean_square_one(encoder):
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, 4:20, 4:20] = 1
    masks[1, :, 40:56, 40:56] = 1
    with torch.no_grad():
        tokens = encoder(masks)
    assert tokens.shape == (2, 3, 16)
    torch.testing.assert_close(tokens.square().mean(-1), torch.ones(2, 3), atol=1e-2, rtol=0)
    assert (tokens[0] - tokens[1]).square().mean() > 1e-3


def test_the_tokens_of_a_mask_do_not_depend_on_its_neighbours_in_the_batch(encoder):
    masks, _ = rectangles(3, seed=3)
    encoder.train()
    with torch.no_grad():
        torch.testing.assert_close(encoder(masks)[1:2], encoder(masks[1:2]), atol=1e-4, rtol=1e-4)


def test_the_tokens_of_a_mask_do_not_depend_on_its_resolution(encoder):
    masks, _ = rectangles(1, seed=4)
    doubled = masks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    quadrupled = doubled.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        torch.testing.assert_close(encoder(doubled), encoder(quadrupled), atol=1e-4, rtol=1e-4)


def test_a_single_pixel_of_a_large_mask_is_noticed(encoder):
    masks = torch.zeros(2, 1, 512, 512)
    masks[1, 0, 300, 200] = 1
    with torch.no_grad():
        nothing, something = encoder(masks)
    assert (nothing - something).abs().max() > 1e-3


def test_the_small_encoder_is_small_at_the_width_of_large_language_models():
    network = spatial_encoder("small", tokens=4, width=1280)
    assert sum(p.numel() for p in network.parameters()) < 3_000_000


def test_every_weight_of_the_encoder_learns(encoder):
    encoder(rectangles(1, seed=5)[0]).square()[..., 0].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_the_papers_encoder_without_torchvision_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(DependencyError, match="blemish\\[paper\\]"):
        spatial_encoder("paper", tokens=1, width=8)
