"""Where the networks run: the device and the number format; one place looks for hardware."""

from __future__ import annotations

import contextlib
import copy
import os
import platform
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch import nn

from blemish.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


def device(name: str = "auto") -> torch.device:
    """Return the device to run on: the named one, or the fastest that this machine has.

    Of several processes (torchrun) each gets the graphics card of its LOCAL_RANK. Whichever card it is
    becomes the current one: accelerate takes that one too.

    Raises:
        ConfigError: there is no such device, or several processes were told to use one card.
    """
    if name != "auto":
        found = _named_device(name)
    elif torch.cuda.is_available():
        found = torch.device("cuda")
    else:
        found = torch.device("cpu")
    return _own_card(found) if found.type == "cuda" else found


def model(where: torch.device) -> str:
    """Return what a device calls itself, such as the name of a processor or of a graphics card."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _own_card(found: torch.device) -> torch.device:
    """Return the graphics card of this process, now the current one."""
    rank = int(os.environ.get("LOCAL_RANK", "-1"))  # accelerate's word for none, too
    if rank >= 0:
        own = torch.device("cuda", rank % torch.cuda.device_count())
        if found.index not in (None, own.index):
            raise ConfigError(
                f"the process of LOCAL_RANK {rank} was told to use {found}, its own card is {own}",
                hint="leave the device at auto; CUDA_VISIBLE_DEVICES chooses among the cards",
            )
        found = own
    if found.index is not None:
        torch.cuda.set_device(found)
    return found


def _named_device(name: str) -> torch.device:
    try:
        found = torch.device(name)
        torch.empty(0, device=found, dtype=torch.float64)  # schedules are kept in it
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ConfigError(
            f"there is no device {name!r} on this machine, or it lacks float64",
            hint="leave it at auto, or give cpu, cuda or cuda:1; see `blemish doctor`",
        ) from error
    return found


_WAIT = timedelta(hours=6)
"""How long processes wait for one that reads all photos for them, or that validates."""


def processes(*, cpu: bool) -> PartialState:
    """Return the processes that share the work (torchrun, accelerate), on processors or on cards.

    accelerate keeps to the kind of device of a process's first call; here a later one may differ.

    Raises:
        ConfigError: several processes share the other kind already.
    """
    state = PartialState(cpu=cpu, timeout=_WAIT)
    if (state.device.type == "cpu") == cpu:
        return state
    if state.num_processes > 1:
        raise ConfigError(
            f"these {state.num_processes} processes share work on {state.device.type} already",
            hint="give all calls of one program the same device",
        )
    AcceleratorState._reset_state(reset_partial_state=True)
    return PartialState(cpu=cpu, timeout=_WAIT)


def has_fast_bfloat16(where: torch.device) -> bool:
    """Return whether bfloat16 convolutions are faster than float32 ones on this device.

    True on CUDA with native support and on processors with AMX or AVX512-BF16 instructions.
    """
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if where.type != "cpu":
        return False
    has = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    also = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(has() or also())


def precision(name: str, where: torch.device) -> torch.dtype:
    """Return the number format of the networks' arithmetic for `auto`, `bf16` or `fp32`."""
    if name == "bf16" or (name == "auto" and has_fast_bfloat16(where)):
        return torch.bfloat16
    return torch.float32


def prepared(module: Module, dtype: torch.dtype) -> Module:
    """Return a network whose convolutions and linear layers hold their weights in `dtype`.

    What `autocast` works out is the same, bit for bit, without rounding the weights anew in each pass.
    All else is shared with `module`, which stays as it is; in float32 that itself is returned. What is
    later loaded into it does not reach the rounded weights: prepare it again.
    """
    if dtype == torch.float32:
        return module
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    copied = copy.deepcopy(module, shared)
    for layer in copied.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            for name, weight in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(weight.detach().to(dtype), requires_grad=False))
    return copied


@contextlib.contextmanager
def autocast(where: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run the block's convolutions and matrix products in `dtype`.

    float32 means float32: on graphics cards PyTorch would round what convolutions multiply to ten bits
    (TF32), which moves scores by more than formats are allowed to. From then on it does not.
    """
    if where.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False
    with torch.autocast(where.type, dtype=dtype, enabled=dtype != torch.float32):
        yield
