from __future__ import annotations

import pytest
import torch

from blemish.networks import UNetSegmenter


def test_the_network_of_the_paper_has_as_many_weights_as_the_published_one():
    with torch.device("meta"):
        assert sum(p.numel() for p in UNetSegmenter().parameters()) == 28_373_569


@pytest.mark.parametrize(("width", "millions"), [(32, 7.10), (16, 1.78)])
def test_narrower_networks_have_the_counted_weights(width, millions):
    with torch.device("meta"):
        found = sum(p.numel() for p in UNetSegmenter(width).parameters())
    assert round(found / 1e6, 2) == millions


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_there_is_a_logit_for_every_pixel(height, width):
    network = UNetSegmenter(2).eval()
    photo, reconstruction = torch.rand(2, 2, 3, height, width)
    assert network(photo, reconstruction).shape == (2, 1, height, width)


def test_swapping_photo_and_reconstruction_changes_the_map():
    network = UNetSegmenter(4).eval()
    photo, reconstruction = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(network(photo, reconstruction), network(reconstruction, photo), atol=1e-4)


def test_once_trained_the_map_of_an_image_does_not_depend_on_its_neighbours():
    network = UNetSegmenter(4).eval()
    photo, reconstruction = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alone = network(photo[:1], reconstruction[:1])
    torch.testing.assert_close(network(photo, reconstruction)[:1], alone)
