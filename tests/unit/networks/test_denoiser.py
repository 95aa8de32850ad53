from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blemish.networks import Denoiser
from blemish.networks.denoiser import SelfAttention, folded, time_features


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network with no weight at zero, as if it had learnt something."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return module.eval()


def small(**changes: object) -> nn.Module:
    shape = {"width": 8, "multipliers": (1, 2), "attention": (8,), "groups": 4} | changes
    return scrambled(Denoiser(16, **shape))


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_network_of_the_paper_has_as_many_weights_as_the_published_one():
    with torch.device("meta"):
        assert weights(Denoiser(256)) == 131_654_403


@pytest.mark.parametrize(
    ("size", "width", "multipliers", "millions"),
    [
        (256, 64, (1, 1, 2, 2, 4, 4), 32.95),
        (256, 32, (1, 1, 2, 2, 4, 4), 8.26),
        (128, 128, (1, 1, 2, 3, 4), 99.94),
        (128, 64, (1, 1, 2, 3, 4), 25.02),
        (128, 32, (1, 1, 2, 3, 4), 6.27),
    ],
)
def test_narrower_and_smaller_networks_have_the_counted_weights(size, width, multipliers, millions):
    with torch.device("meta"):
        found = weights(Denoiser(size, width, multipliers))
    assert round(found / 1e6, 2) == millions


def test_before_training_the_network_predicts_zero():
    found, _ = Denoiser(16, 8, (1, 2), attention=(8,), groups=4)(
        noise(2, 3, 16, 16), torch.tensor([0, 9])
    )
    assert torch.equal(found, torch.zeros(2, 3, 16, 16))


def test_the_prediction_for_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    network, images, steps = small(), noise(3, 3, 16, 16), torch.tensor([5, 300, 999])
    together, _ = network(images, steps)
    others = torch.cat([images[:1], noise(2, 3, 16, 16, seed=9)])
    among_others, _ = network(others, torch.tensor([5, 1, 2]))
    torch.testing.assert_close(together[0], among_others[0])
    torch.testing.assert_close(together[:1], network(images[:1], steps[:1])[0])


def test_the_prediction_depends_on_the_step():
    network, images = small(), noise(1, 3, 16, 16)
    early, late = (network(images, torch.tensor([step]))[0] for step in (10, 900))
    assert not torch.allclose(early, late, atol=1e-3)


def blocked_bottleneck(network: nn.Module) -> nn.Module:
    """Return the network with nothing coming through its deepest part."""
    network.middle[0].register_forward_pre_hook(lambda _, given: (torch.zeros_like(given[0]), given[1]))
    return network


def test_nothing_passes_an_autoencoder_but_through_its_bottleneck():
    network, step = blocked_bottleneck(small(skips=False)), torch.tensor([7])
    one, other = (network(noise(1, 3, 16, 16, seed=seed), step)[0] for seed in (1, 2))
    assert torch.equal(one, other)


def test_a_u_net_has_connections_around_its_bottleneck():
    network, step = blocked_bottleneck(small()), torch.tensor([7])
    one, other = (network(noise(1, 3, 16, 16, seed=seed), step)[0] for seed in (1, 2))
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("resampling_blocks", [True, False])
def test_picture_and_side_output_have_their_grids(patch, resampling_blocks):
    network = small(patch=patch, side_channels=5, resampling_blocks=resampling_blocks)
    picture, side = network(noise(2, 3, 16, 16), torch.tensor([0, 1]))
    assert picture.shape == (2, 3, 16, 16)
    assert side.shape == (2, 5, 16 // patch, 16 // patch)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_pixels_are_folded_as_pixel_unshuffle_does(memory):
    x = noise(2, 3, 8, 12).to(memory_format=memory)
    found = folded(x, 4)
    assert torch.equal(found, F.pixel_unshuffle(x, 4))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_folding_patches_loses_no_pixel():
    network = Denoiser(16, 8, (1, 2), attention=(), groups=4, patch=4)
    image = noise(1, 3, 16, 16)
    seen = {}
    network.stem.register_forward_pre_hook(lambda _, given: seen.update(x=given[0]))
    network(image, torch.tensor([0]))
    assert sorted(seen["x"].flatten().tolist()) == sorted(image.flatten().tolist())


def test_time_features_of_hand_computed_steps():
    found = time_features(torch.tensor([0, 3]), 4)
    assert found[0].tolist() == [1, 1, 0, 0]
    slow = 3 * 10_000**-0.5
    expected = torch.tensor([math.cos(3), math.cos(slow), math.sin(3), math.sin(slow)])
    torch.testing.assert_close(found[1], expected)


def test_attention_is_the_softmax_of_scaled_products_written_out():
    layer = scrambled(SelfAttention(8, heads=2, groups=4))
    x = noise(1, 8, 3, 2)
    query, key, value = layer.qkv(layer.norm(x)).reshape(3, 2, 4, 6)
    mixed = torch.zeros(2, 4, 6)
    for head in range(2):
        for here in range(6):
            similar = torch.stack([query[head, :, here] @ key[head, :, there] for there in range(6)])
            share = torch.softmax(similar / 4**0.5, dim=0)
            mixed[head, :, here] = sum(share[there] * value[head, :, there] for there in range(6))
    torch.testing.assert_close(layer(x), x + layer.out(mixed.reshape(1, 8, 3, 2)))
