from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator, PartialState

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


def test_a_device_that_cannot_hold_a_schedule_is_refused(monkeypatch):
    def empty(*_: object, dtype: torch.dtype, **__: object) -> None:
        if dtype == torch.float64:
            raise TypeError("this device has no float64")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ConfigError, match="lacks float64"):
        hardware.device("cpu")
