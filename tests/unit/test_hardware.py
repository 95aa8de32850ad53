from __future__ import annotations

import contextlib

import pytest
import torch
from accelerate import Accelerator, PartialState
from torch import nn

from blemish import hardware
from blemish.errors import ConfigError


@pytest.fixture
def on_a_card():
    """A process whose first call was for a graphics card."""
    hardware.processes(cpu=True)
    PartialState._shared_state["device"] = torch.device("cuda")
    yield
    PartialState._reset_state()


@pytest.mark.usefixtures("on_a_card")
def test_a_later_call_for_the_processor_is_not_answered_with_the_card_of_an_earlier_one():
    assert hardware.processes(cpu=True).device.type == "cpu"
    assert Accelerator(cpu=True).device.type == "cpu"


@pytest.mark.usefixtures("on_a_card")
def test_several_processes_that_share_another_kind_of_device_are_told(monkeypatch):
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 2)
    with pytest.raises(ConfigError, match="2 processes share work on cuda"):
        hardware.processes(cpu=True)


def test_float32_on_a_graphics_card_is_not_rounded_to_tf32(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    before = cudnn.allow_tf32
    try:
        for where, dtype, after in (
            ("cpu", torch.float32, True),
            ("cuda", torch.bfloat16, True),
            ("cuda", torch.float32, False),
        ):
            cudnn.allow_tf32 = True
            with hardware.autocast(torch.device(where), dtype):
                assert cudnn.allow_tf32 is after
    finally:
        cudnn.allow_tf32 = before


def test_a_device_that_cannot_hold_a_schedule_is_refused(monkeypatch):
    def empty(*_: object, dtype: torch.dtype, **__: object) -> None:
        if dtype == torch.float64:
            raise TypeError("this device has no float64")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ConfigError, match="lacks float64"):
        hardware.device("cpu")


def test_a_prepared_network_gives_the_same_bits_and_leaves_the_other_as_it_is():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(8 * 36, 4))
    network.register_buffer("seen", torch.zeros(3))
    photo, before = torch.rand(2, 3, 8, 8), {k: v.clone() for k, v in network.state_dict().items()}
    quick = hardware.prepared(network, torch.bfloat16)
    with torch.inference_mode(), hardware.autocast(torch.device("cpu"), torch.bfloat16):
        assert torch.equal(quick(photo), network(photo))
    assert quick[0].weight.dtype == quick[3].bias.dtype == torch.bfloat16
    assert {name: value.dtype for name, value in network.state_dict().items()} == dict.fromkeys(
        before, torch.float32
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.seen.fill_(7)
    assert quick.seen.tolist() == [7, 7, 7], "what is not rounded is the same tensor"
    assert quick[1].weight is network[1].weight
    assert hardware.prepared(network, torch.float32) is network
