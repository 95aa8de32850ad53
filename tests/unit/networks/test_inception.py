from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from blemish.errors import ArtifactError, DependencyError
from blemish.networks import open_inception
from blemish.networks.inception import INCEPTION

LAYERS = ["2048", "logits_unbiased", "logits"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> FeatureExtractorInceptionV3:
    """The network with weights drawn at random, which lie in `reference.folder`."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_, **__: None)
        network = FeatureExtractorInceptionV3("x", LAYERS, feature_extractor_weights_path="none")
    network.fc.bias.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))
    torch.save(network.state_dict(), folder / INCEPTION.names[0])
    network.folder = folder
    return network


def test_features_and_classes_are_those_of_torch_fidelity_with_the_weights_of_the_file(reference):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 50, 3), (64, 64, 3))]
    found = open_inception(reference.folder)(pictures)
    assert found.features.shape == (2, 2048)
    for index, picture in enumerate(pictures):
        features, unbiased, _ = reference(torch.from_numpy(picture).permute(2, 0, 1)[None])
        np.testing.assert_allclose(found.features[index], features[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.classes[index], unbiased[0].softmax(0), rtol=1e-4)
    assert np.ptp(found.features, axis=0).max() > 0


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / INCEPTION.names[0])
    with pytest.raises(ArtifactError, match="is not the weights of InceptionV3"):
        open_inception(tmp_path)


def test_without_the_file_the_error_says_which_and_where_to_get_it(tmp_path):
    with pytest.raises(ArtifactError, match="pt_inception-2015-12-05-6726825d") as found:
        open_inception(tmp_path)
    assert "github.com/toshas/torch-fidelity" in str(found.value)


def test_without_torch_fidelity_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / INCEPTION.names[0]).touch()
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(DependencyError, match="metrics"):
        open_inception(tmp_path)
