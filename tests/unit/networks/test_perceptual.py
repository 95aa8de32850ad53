from __future__ import annotations

import importlib.util
import types

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file

from blemish.errors import ArtifactError, DependencyError
from blemish.metrics import intra_cluster_distance
from blemish.networks import Perceptual, distances_to, distances_within


@pytest.fixture(scope="module")
def reference() -> lpips.LPIPS:
    """The package's own LPIPS: its learned heads over a VGG16 with weights drawn at random."""
    make, plan = torchvision.models.vgg.make_layers, torchvision.models.vgg.cfgs["D"]
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        bare = lambda **_: types.SimpleNamespace(features=make(plan))  # noqa: E731
        patch.setattr(lpips.pretrained_networks.tv, "vgg16", bare)
        return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def trunk(reference) -> dict[str, torch.Tensor]:
    slices = [getattr(reference.net, f"slice{n}") for n in range(1, 6)]
    return {f"features.{k}": v for part in slices for k, v in part.state_dict().items()}


@pytest.fixture(scope="module")
def network(trunk, tmp_path_factory) -> Perceptual:
    folder = tmp_path_factory.mktemp("weights")
    save_file({**trunk, "classifier.0.bias": torch.ones(3)}, folder / "vgg16.safetensors")
    return Perceptual.load(folder)


def pictures(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (24 + index, 32, 3), dtype=np.uint8) for index in range(count)]


def resized(picture: np.ndarray, side: int) -> torch.Tensor:
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)


def test_the_distance_is_that_of_the_package(reference, network):
    some, others = torch.rand(2, 3, 3, 48, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = reference(some, others).flatten()
    torch.testing.assert_close(network(some, others), expected, rtol=1e-5, atol=0)
    assert torch.equal(network(some, some), torch.zeros(3))


def test_distances_to_real_ones_are_those_of_each_pair_resized(reference, network):
    made, real = pictures(0, 3), pictures(1, 2)
    found = distances_to(network, made, real, side=32)
    with torch.no_grad():
        expected = [[float(reference(resized(a, 32), resized(b, 32))) for b in real] for a in made]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert distances_to(network, [], real).shape == (0, 2)


def test_distances_within_clusters_are_symmetric_and_none_lies_between_two(network):
    made, owner = pictures(0, 5), np.array([0, 3, 0, 3, 0])
    found = distances_within(network, made, owner, side=32)
    every = distances_to(network, made, made, side=32)
    same = owner[:, None] == owner
    np.testing.assert_allclose(found[same], every[same], rtol=1e-6)
    assert np.isnan(found[~same]).all()


def test_ic_lpips_by_clusters_is_that_of_all_distances(network):
    made, real = pictures(0, 6), pictures(1, 2)
    to_real = distances_to(network, made, real, side=32)
    within = distances_within(network, made, to_real.argmin(1), side=32)
    every = distances_to(network, made, made, side=32)
    assert intra_cluster_distance(within, to_real) == pytest.approx(
        intra_cluster_distance(every, to_real)
    )


def test_torchvisions_file_is_read_as_well(trunk, network, tmp_path):
    torch.save(trunk, tmp_path / "vgg16-397923af.pth")
    some, others = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Perceptual.load(tmp_path)(some, others), network(some, others))


def test_weights_of_something_else_are_refused(trunk, tmp_path):
    torch.save({"features.0.weight": trunk["features.0.weight"]}, tmp_path / "vgg16.pth")
    with pytest.raises(ArtifactError, match="not the weights of LPIPS"):
        Perceptual.load(tmp_path)


def test_without_the_package_the_error_says_what_to_install(trunk, tmp_path, monkeypatch):
    torch.save(trunk, tmp_path / "vgg16.pth")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match="metrics"):
        Perceptual.load(tmp_path)
