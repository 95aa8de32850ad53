from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blemish.networks import Comparator
from blemish.networks.comparator import log_distance

CHANNELS = (4, 6, 8, 10)
STRIDES = (2, 4, 8, 16)
SIZE = 32


@pytest.fixture
def network() -> Comparator:
    torch.manual_seed(0)
    return Comparator(CHANNELS, width=8).eval()


def scene(batch: int, seed: int = 0) -> tuple:
    rng = torch.Generator().manual_seed(seed)
    photo, reconstruction = torch.rand(2, batch, 3, SIZE, SIZE, generator=rng)
    features = [
        torch.randn(batch, c, SIZE // s, SIZE // s, generator=rng)
        for c, s in zip(CHANNELS, STRIDES, strict=True)
    ]
    expected = [torch.randn(f.shape, generator=rng) for f in features[1:]]
    novelty = torch.randn(batch, 1, SIZE // 8, SIZE // 8, generator=rng)
    return photo, reconstruction, features, expected, novelty


def one_convolution(layers: list[torch.nn.Module], inputs: list[torch.Tensor]) -> torch.Tensor:
    """Return one convolution of the concatenated inputs, with the layers' weights side by side."""
    weight = torch.cat([layer.weight for layer in layers], dim=1)
    bias = sum(layer.bias for layer in layers if layer.bias is not None)
    return F.conv2d(torch.cat(inputs, dim=1), weight, bias)


def test_the_sums_of_convolutions_are_one_convolution_of_the_concatenation(network):
    photo, reconstruction, features, expected, novelty = scene(2)
    pictures = torch.cat([photo, reconstruction], dim=1)
    x = None
    for level in (3, 2, 1, 0):
        layers, inputs = [network.photo[level]], [features[level]]
        if level == 0:
            layers.append(network.pixels)
            inputs.append(F.pixel_unshuffle(pictures, 2))
        else:
            layers += [network.difference[level - 1], network.distance[level - 1]]
            difference = features[level] - expected[level - 1]
            inputs += [difference, log_distance(difference)]
        if STRIDES[level] == 8:
            layers.append(network.novelty)
            inputs.append(novelty)
        if x is not None:
            layers.append(network.lift[level])
            inputs.append(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        x = network.refine[level](one_convolution(layers, inputs))
    reference = F.pixel_shuffle(network.head(x), 2)
    found = network(photo, reconstruction, features, expected, novelty)
    torch.testing.assert_close(found, reference)


def test_the_log_distance_of_one_odd_feature_reaches_its_eight_neighbours():
    difference = torch.zeros(1, 2, 5, 5)
    difference[0, 0, 2, 2] = 6.0
    expected = torch.full((5, 5), 0.1)
    expected[1:4, 1:4] += 6.0**2 / 2 / 9
    torch.testing.assert_close(log_distance(difference)[0, 0], expected.log())


def test_there_is_a_logit_for_every_pixel_and_the_first_maps_are_dark(network):
    logits = network(*scene(2))
    assert logits.shape == (2, 1, SIZE, SIZE)
    assert logits.sigmoid().mean().item() < 0.15


def test_the_map_of_an_image_does_not_depend_on_its_neighbours_in_the_batch(network):
    network.train()
    photo, reconstruction, features, expected, novelty = scene(3)
    together = network(photo, reconstruction, features, expected, novelty)
    first = [[x[:1] for x in features], [x[:1] for x in expected], novelty[:1]]
    alone = network(photo[:1], reconstruction[:1], *first)
    torch.testing.assert_close(together[:1], alone)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_expected_at_each_stride_matters(network, level):
    photo, reconstruction, features, expected, novelty = scene(1)
    before = network(photo, reconstruction, features, expected, novelty)
    expected[level] = expected[level] + 1
    after = network(photo, reconstruction, features, expected, novelty)
    assert not torch.allclose(after, before, atol=1e-3)


def test_novelty_matters(network):
    *rest, novelty = scene(1)
    before = network(*rest, novelty)
    novelty[..., 1, 2] += 5
    assert not torch.allclose(network(*rest, novelty), before, atol=1e-3)
