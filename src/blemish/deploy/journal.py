"""What a watch has found, a line each on the disk, and what it remembers by that."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

from blemish.errors import ArtifactError
from blemish.runtime import logger

FINDINGS = "findings.jsonl"
_LOCK = ".lock"


class Look(NamedTuple):
    """How a file looked, size in bytes, dates in nanoseconds: while it arrives, that changes.

    altered: when anything about it last changed, its date of writing too; on Windows when it was made.
    """

    size: int
    written: int
    altered: int

    @classmethod
    def of(cls, told: os.stat_result) -> Look:
        """Return the look that the system tells of."""
        return cls(told.st_size, told.st_mtime_ns, told.st_ctime_ns)


class Journal:
    """The findings on the disk, each a line, and what they tell: this watch's and earlier ones'."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder, which is made if need be, and read what is there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._done: dict[str, tuple[str, Look]] = {}
        self._unread: dict[str, Look] = {}
        self._lock = _locked(folder / _LOCK)
        try:
            self._remember(folder / FINDINGS)
            self._file = (folder / FINDINGS).open("ab")
        except BaseException:
            self._lock.close()
            raise

    def has(self, name: str, look: Look) -> bool:
        """Whether this file was read and looked so."""
        return name in self._done and self._done[name][1] == look

    def has_met(self, name: str, digest: str, look: Look) -> bool:
        """Whether this file had this content when it was read last; if so, it now looks like this."""
        met = name in self._done and self._done[name][0] == digest
        if met:
            self._done[name] = digest, look
        return met

    def tells(self, name: str, look: Look) -> bool:
        """Whether there is a line on this file as it looks now, be it that it cannot be read."""
        return self.has(name, look) or self._unread.get(name) == look

    def add(self, line: dict[str, Any], look: Look) -> dict[str, Any]:
        """Return the line with the look, when it is on the disk."""
        line["look"] = list(look)
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._note(line)
        return line

    def close(self) -> None:
        """Let another watch in."""
        try:
            self._file.close()
        finally:
            self._lock.close()

    def _note(self, line: dict[str, Any]) -> None:
        name, digest, look = line["image"], line["sha256"], Look(*line["look"])
        if digest is None:
            self._unread[name] = look
        else:
            self._done[name] = digest, look

    def _remember(self, path: Path) -> None:
        """Note what the lines tell. What a kill or a power cut left of the last one is cut off.

        Raises:
            ArtifactError: a line is not ours.
        """
        path.touch()
        whole, size = 0, path.stat().st_size
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                last = whole + len(line) == size
                try:
                    told = json.loads(line)
                    if last and not line.endswith(b"\n"):
                        break
                    self._note(told)
                except (ValueError, TypeError, KeyError) as error:
                    if last and isinstance(error, ValueError):
                        break
                    raise ArtifactError(
                        f"{path} line {number} is not what `blemish watch` writes",
                        hint="choose another --out, or remove the line",
                    ) from error
                whole += len(line)
        if whole < size:
            logger.warning("%s ended in the middle of a line, which is dropped", path)
            os.truncate(path, whole)


def _locked(path: Path) -> IO[bytes]:
    """Return the open lock file; the system lets go of it when this process ends, however that comes.

    Where a file system has no locks, nobody is kept out.

    Raises:
        ArtifactError: another process holds it.
    """
    file = path.open("ab")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.close()
        raise ArtifactError(
            f"another watch writes into {path.parent}", hint="stop it, or choose another --out"
        ) from error
    except OSError as error:
        logger.debug("%s cannot be locked: %s", path, error)
    return file
