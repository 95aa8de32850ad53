"""Photos inspected as they arrive in a folder, each once, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, NamedTuple, Self

from blemish.data.listing import is_photo, natural_key
from blemish.deploy.inspection import Finding, inspect_files, write_overlay
from blemish.errors import ArtifactError, DatasetError, ImageError
from blemish.runtime import file_sha256, logger
from blemish.verdicts import Detector

FINDINGS = "findings.jsonl"
OVERLAYS = "overlays"
_LOCK = ".lock"
_STEM = 40
_PATIENCE = 5
"""Looks at a file that cannot be read before that is its finding: it may be still arriving."""


class _Seen(NamedTuple):
    """How a file looked: while it arrives, that changes."""

    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> _Seen:
        told = path.stat()
        return cls(told.st_size, told.st_mtime_ns)


class Watch:
    """A folder under watch. What was found is in `findings.jsonl`, which is also the memory.

    A photo is its name below the folder together with its content: a file that is overwritten with
    another picture is a new photo, a copy that only has a newer date is not. Its heat map is written
    first, its line last: with the line on the disk it is done. So a kill loses nothing and repeats
    nothing in the findings. A file is read when two looks have found it unchanged.
    """

    def __init__(self, detector: Detector, folder: Path, out: Path, *, overlays: bool = True) -> None:
        """`out`: of this watch alone.

        Raises:
            DatasetError: the folder is not there, or `out` is the folder itself.
            ArtifactError: another watch writes into `out`, or its findings are damaged.
        """
        if not folder.is_dir():
            raise DatasetError(f"{folder} is no folder", hint="make it, or check the name")
        if out.resolve() == folder.resolve():
            raise DatasetError(f"{out} is the folder that is watched", hint="choose another --out")
        self.detector, self.folder, self.out, self.overlays = detector, folder, out, overlays
        self._stop = threading.Event()
        self._before: dict[Path, _Seen] = {}
        self._failures: dict[Path, int] = {}
        out.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(out / _LOCK)
        try:
            self._done, self._known, self._count = self._remembered()
            self._journal = (out / FINDINGS).open("a", encoding="utf-8")
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        """Let SIGTERM and SIGINT end the watch after the photo at hand."""
        self._handlers = {s: signal.signal(s, self._asked) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the findings and let another watch in."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._journal.close()
        self._lock.close()

    def lines(self, *, every: float = 1.0, once: bool = False) -> Iterator[dict[str, Any]]:
        """Yield a finding ready for JSON, when it is on the disk, for each photo that arrives.

        every: seconds between two looks at the folder; once: end when nothing is left to do.
        """
        while not self._stop.is_set():
            settled, arriving = self._look()
            for path, seen in settled:
                if self._stop.is_set():
                    return
                line = self._inspected(path, seen)
                arriving |= path in self._failures
                if line is not None:
                    yield line
            if once and not arriving:
                return
            self._stop.wait(every)

    def _look(self) -> tuple[list[tuple[Path, _Seen]], bool]:
        """Return the files to inspect now, in natural order, and whether others are arriving."""
        now: dict[Path, _Seen] = {}
        for place, folders, names in os.walk(self.folder):
            inside = Path(place)
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".") and (inside / name).resolve() != self.out.resolve()
            ]
            for name in names:
                if is_photo(path := inside / name):
                    with contextlib.suppress(OSError):  # gone again
                        now[path] = _Seen.of(path)
        waiting = {
            path: seen for path, seen in now.items() if self._known.get(self._name(path)) != seen
        }
        settled = [(path, seen) for path, seen in waiting.items() if self._before.get(path) == seen]
        self._before = waiting
        self._failures = {path: n for path, n in self._failures.items() if path in waiting}
        settled.sort(key=lambda one: natural_key(str(one[0])))
        return settled, len(settled) < len(waiting)

    def _inspected(self, path: Path, seen: _Seen) -> dict[str, Any] | None:
        """Return the finding on a file, None where there is none yet, or none any more."""
        name = self._name(path)
        try:
            digest = file_sha256(path)
            if (name, digest) in self._done:
                self._known[name] = seen
                return None
            finding = next(inspect_files(self.detector, [path], batch_size=1))
            if _Seen.of(path) != seen:  # it went on arriving
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            digest = ""
            hint = "check who may read it"
            finding = Finding(path, error=ImageError(f"{path} cannot be read: {error}", hint=hint))
        if finding.error is not None and self._failures.get(path, 0) < _PATIENCE:
            self._failures[path] = self._failures.get(path, 0) + 1
            return None
        self._failures.pop(path, None)
        line = {**finding.line(), "image": name, "sha256": digest, "time": round(time.time(), 3)}
        if self.overlays:
            picture = f"{self._count:06d}_{path.stem[:_STEM]}"
            written = write_overlay(self.out / OVERLAYS, finding, picture)
            line["overlay"] = None if written is None else f"{OVERLAYS}/{picture}.png"
        line["seen"] = list(seen)
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._done.add((name, digest))
        self._known[name] = seen
        self._count += 1
        return line

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _remembered(self) -> tuple[set[tuple[str, str]], dict[str, _Seen], int]:
        """Return what the findings tell of earlier watches: photos done, their looks, their number.

        A last line without its end is what a killed watch leaves: it is cut off.
        """
        path = self.out / FINDINGS
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            logger.warning("%s ended in the middle of a line, which is dropped", path)
            os.truncate(path, len(whole))
        done, known = set(), {}
        lines = whole.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                told = json.loads(line)
                done.add((told["image"], told["sha256"]))
                known[told["image"]] = _Seen(*told["seen"])
            except (ValueError, TypeError, KeyError) as error:
                raise ArtifactError(
                    f"{path} line {number} is not what `blemish watch` writes",
                    hint="choose another --out, or repair the line",
                ) from error
        return done, known, len(lines)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stop.set()


def _locked(path: Path) -> IO[bytes]:
    """Return the open lock file; the system lets go of it when this process ends, however that comes.

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
    except OSError as error:
        file.close()
        raise ArtifactError(
            f"another watch writes into {path.parent}", hint="stop it, or choose another --out"
        ) from error
    return file
