"""Where the work runs: device, number format, private random streams, logging, atomic files."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from blemish.errors import ConfigError

logger = logging.getLogger("blemish")

# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
_MALLOPT = ((-3, 2**31 - 1), (-1, 2**31 - 1), (-2, 2**28))


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
    elif torch.backends.mps.is_available():
        found = torch.device("mps")
    else:
        found = torch.device("cpu")
    return _own_card(found) if found.type == "cuda" else found


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
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"there is no device {name!r} on this machine",
            hint="leave it at auto, or give cpu, cuda, cuda:1 or mps; see `blemish doctor`",
        ) from error
    return found


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


@contextlib.contextmanager
def autocast(where: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run the block's convolutions and matrix products in `dtype`; float32 leaves all as it is."""
    with torch.autocast(where.type, dtype=dtype, enabled=dtype != torch.float32):
        yield


def keep_memory() -> None:
    """Let glibc keep freed blocks instead of returning them to the system; elsewhere do nothing.

    Blocks over 32 MiB, a batch of feature maps, are otherwise mapped, zeroed and unmapped by the kernel
    at every use: an eighth of a training step on two cores (docs/lab.md).
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in _MALLOPT:
            library.mallopt(parameter, value)


def end_with_parent(parent: int) -> None:
    """Let this process end within a second or two of its parent's death, however that came.

    A worker that lives on would go on writing into a folder that by then is another run's. `parent`:
    its process number. A thread looks: not every system tells a child, and one that dies cannot.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that is a pure function of the seed and the names."""
    text = json.dumps([seed, *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a private CPU random stream: same seed and names, same numbers, whatever ran before."""
    return torch.Generator("cpu").manual_seed(stream_seed(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a private NumPy random stream: same seed and names, same numbers."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *names)))


def normal_noise(streams: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Return standard normal noise, float32 (B, *shape): each row from the stream of its seed."""
    rows = [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(s)) for s in streams]
    return torch.stack(rows)


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        encoding = None if "b" in mode else "utf-8"
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path, value: object) -> None:
    """Write a value as readable JSON, atomically."""
    with atomic_write(path, "w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def configure_logging(verbosity: int = 0) -> None:
    """Send the package's talk to stderr: warnings always, news by default, details with -v."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
    logger.propagate = False
