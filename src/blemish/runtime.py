"""What every program of ours needs of its system: talk, files, locks, memory, an end in time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from blemish.errors import ArtifactError, DependencyError

logger = logging.getLogger("blemish")

# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
_MALLOPT = ((-3, 2**31 - 1), (-1, 2**31 - 1), (-2, 2**28))


LOCK = ".lock"
"""The file by which programs keep each other out of a folder."""


def required(module: str, extra: str) -> Any:
    """Return a module of a package that comes with an extra of ours.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"{error.name} is not installed", hint=f"pip install 'blemish[{extra}]'"
        ) from error


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


def peak_memory() -> float | None:
    """Return the most memory that this process has held, MiB; None where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


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


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other programs that ask for the same out of a folder, until the block or this process ends.

    A lock of the system's on `folder/.lock`; a file of that name that a killed program left means
    nothing. Where a file system has no locks, nobody is kept out.

    Raises:
        ArtifactError: another program is writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with path.open("a") as file:
        # Who held it before may have removed it since it was opened: a lock on that keeps nobody out.
        if not _locked(file) or not _is_at(file, path):
            raise ArtifactError(
                f"another program is writing to {folder}",
                hint="wait until it has ended, stop it, or choose another folder",
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps open files
                path.unlink()


def _locked(file: IO[Any]) -> bool:
    """Return whether this process holds the lock now; children do not inherit it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def _is_at(file: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
