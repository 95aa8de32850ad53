from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blemish.networks import LiteLocaliser

SIZE = 48


@pytest.fixture(scope="module")
def network() -> LiteLocaliser:
    torch.manual_seed(0)
    return LiteLocaliser(width=8).eval()


def photos(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def test_it_is_a_pyramid_from_coarse_to_fine_with_the_photo_at_the_finest_level(network):
    photo = photos(2)
    features = network.encoder(photo)
    x = network.refine[3](network.read[3](features[3]))
    for level in (2, 1, 0):
        lifted = network.lift[level](x).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        y = network.read[level](features[level]) + lifted
        if level == 0:
            y = y + network.pixels(F.pixel_unshuffle(photo, 2))
        x = network.refine[level](y)
    torch.testing.assert_close(network(photo), F.pixel_shuffle(network.head(x), 2))


@pytest.mark.parametrize("shape", [(16, 16), (48, 32), (64, 80)])
def test_there_is_a_logit_for_every_pixel_and_the_first_maps_are_dark(network, shape):
    logits = network(F.interpolate(photos(2), shape))
    assert logits.shape == (2, 1, *shape)
    assert logits.sigmoid().mean() < 0.15


def test_the_encoder_stays_frozen_and_all_else_learns():
    network = LiteLocaliser(width=8)
    network(photos(2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        if name.startswith("encoder"):
            assert parameter.grad is None
        else:
            assert parameter.grad.abs().sum() > 0, name


def test_the_map_of_a_photo_does_not_depend_on_its_neighbours_in_the_batch():
    network = LiteLocaliser(width=8).train()
    together, alone = network(photos(3)), network(photos(3)[:1])
    torch.testing.assert_close(together[:1], alone)
