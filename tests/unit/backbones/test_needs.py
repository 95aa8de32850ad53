import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from blemish.backbones.layouts import load_parts
from blemish.backbones.needs import estimate, kept_for_backward
from tiny_backbones import write_ldm, write_stable


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
def test_the_weights_are_those_of_the_networks_that_are_opened(tmp_path, write):
    parts = load_parts(write(tmp_path))
    networks = (parts.autoencoder, parts.unet, parts.encoder)
    count = sum(w.numel() for network in networks for w in network.parameters())
    assert estimate(tmp_path, batch=1, dtype=torch.float32).weights == 4 * count
    assert estimate(tmp_path, batch=1, dtype=torch.bfloat16).weights == 2 * count


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
def test_what_a_step_keeps_without_numbers_is_what_it_keeps_with_them(tmp_path, write):
    parts = load_parts(write(tmp_path))
    with sdpa_kernel(SDPBackend.MATH):
        real = kept_for_backward(parts.unet, parts.encoder, 3)
    found = estimate(tmp_path, batch=3, dtype=torch.float32).step
    assert found == pytest.approx(real, rel=1e-3)  # some indices are kept on a real device only


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
def test_what_a_step_keeps_grows_with_the_batch_alone(tmp_path, write):
    folder = write(tmp_path)
    one, ten = (estimate(folder, batch=b, dtype=torch.float32).step for b in (1, 10))
    assert ten == pytest.approx(10 * one, rel=0.02)
