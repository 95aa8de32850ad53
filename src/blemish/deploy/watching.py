"""Photos inspected as they arrive in a folder, each once, whatever happens in between."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

from blemish.data.images import decode_image
from blemish.data.listing import natural_key
from blemish.deploy.inspection import STEM, Finding, photos_below, write_overlay
from blemish.deploy.journal import Journal, Look
from blemish.errors import DatasetError, ImageError
from blemish.runtime import logger
from blemish.verdicts import Detector

OVERLAYS = "overlays"
_MARK = 16  # hex digits of a photo's hash: enough to tell all photos apart
_PATIENCE = 5.0
"""Seconds that a file looks the same before it is said that it cannot be read: it may be arriving."""
_COARSE = 2.0
"""Seconds between two dates of a file system that counts in whole ones; FAT's are the longest."""
_LARGEST = 1 << 30
"""Bytes of a file that is read at all: more than any photo that is decoded has."""
_NAP = 0.1


class _Arrival(NamedTuple):
    """A file that has no finding yet, and since when (monotonic seconds) it has looked like this."""

    look: Look
    since: float

    def settled(self, now: float) -> bool:
        """Whether it may be read: seen twice, and another content would have another date by now."""
        coarse = self.look.written % 1_000_000_000 == 0
        return now - self.since >= _COARSE if coarse else now > self.since


class Watch:
    """A folder under watch. What was found is in `findings.jsonl`, which is also the memory.

    A photo is its name below the folder together with its content: a file that is overwritten with
    another picture is a new photo, one that only has a newer date is not. It is read once, and what is
    hashed is what is inspected. Its heat map, named by that hash, is written first, its line last:
    with the line on the disk it is done. So a kill loses nothing and repeats nothing.

    What is no photo gets a line with an error. So does a file that may not be read, and it is tried
    again at each look.
    """

    def __init__(self, detector: Detector, folder: Path, out: Path, *, overlays: bool = True) -> None:
        """`out`: of this watch alone.

        Raises:
            DatasetError: the folder is not there, or it lies in `out`.
            ArtifactError: another watch writes into `out`, or its findings are damaged.
        """
        if not folder.is_dir():
            raise DatasetError(f"{folder} is no folder", hint="make it, or check the name")
        if folder.resolve().is_relative_to(out.resolve()):
            raise DatasetError(
                f"{folder}, which is watched, lies in {out}, which is written",
                hint="choose another --out; it may lie in the watched folder",
            )
        self.detector, self.folder, self.out, self.overlays = detector, folder, out, overlays
        self._stopping = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._arriving: dict[str, _Arrival] = {}
        self._missed: dict[str, str] = {}
        self._journal = Journal(out)

    def __enter__(self) -> Self:
        """Let SIGTERM and SIGINT end the watch after the photo at hand; the second ends it at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._asked)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the findings and let another watch in."""
        self._give_signals_back()
        self._journal.close()

    def lines(self, *, every: float = 1.0, once: bool = False) -> Iterator[dict[str, Any]]:
        """Yield a finding ready for JSON, when it is on the disk, for each photo that arrives.

        every: seconds between two looks at the folder; once: end when all that is there has one.
        """
        while not self._stopping:
            now = self._look()
            for name, arrival in self._arriving.items():
                if self._stopping:
                    return
                if arrival.settled(now) and (line := self._inspected(name, arrival)) is not None:
                    yield line
            if once and all(self._journal.tells(name, a.look) for name, a in self._arriving.items()):
                return
            self._rest(every)

    def _look(self) -> float:
        """Note the files that have no finding, in natural order; return when, monotonic seconds."""
        root = self.folder.resolve()
        found: dict[str, Look] = {}
        missed: dict[str, str] = {}

        def miss(error: OSError) -> None:
            missed[str(error.filename)] = error.strerror or str(error)

        for path in photos_below(root, miss, without=self.out):
            try:
                told = path.stat()
            except FileNotFoundError:  # gone again, or a link to nothing
                continue
            except OSError as error:
                miss(error)
                continue
            name, look = path.relative_to(root).as_posix(), Look.of(told)
            if stat.S_ISREG(told.st_mode) and not self._journal.has(name, look):
                found[name] = look
        for place in missed.keys() - self._missed.keys():
            logger.warning("%s is passed over for now: %s", place, missed[place])
        self._missed = missed
        now, before = time.monotonic(), self._arriving
        self._arriving = {}
        for name in sorted(found, key=natural_key):
            arrival = before.get(name)
            if arrival is None or arrival.look != found[name]:
                arrival = _Arrival(found[name], now)
            self._arriving[name] = arrival
        return now

    def _inspected(self, name: str, arrival: _Arrival) -> dict[str, Any] | None:
        """Return the finding on a file, None where there is none yet, or nothing new."""
        path, look, digest = self.folder / name, arrival.look, None
        try:
            content = _content(path, look)
            if content is None:
                return None
            digest = hashlib.sha256(content).hexdigest()
            if self._journal.has_met(name, digest, look):
                return None
            image = decode_image(content, str(path))
            (prediction,) = self.detector.predict_many([image], reconstruct=False)
            finding = Finding(path, image, prediction)
        except ImageError as error:
            if time.monotonic() - arrival.since < _PATIENCE or self._journal.tells(name, look):
                return None
            finding = Finding(path, error=error)
        line = {**finding.line(), "image": name, "sha256": digest, "time": round(time.time(), 3)}
        if self.overlays:
            picture = f"{path.stem[:STEM]}_{str(digest)[:_MARK]}"
            written = write_overlay(self.out / OVERLAYS, finding, picture)
            line["overlay"] = written and f"{OVERLAYS}/{written.name}"
        return self._journal.add(line, look)

    def _rest(self, seconds: float) -> None:
        """Sleep in naps: a signal ends no sleep, and its handler could block on an event it sets."""
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))

    def _asked(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True
        self._give_signals_back()

    def _give_signals_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _content(path: Path, look: Look) -> bytes | None:
    """Return a file's bytes; None where it is gone, or no longer looks as it did.

    An open file is asked, before and after: a file server's answer about a name may be an old one.

    Raises:
        ImageError: it cannot be read, or is larger than any photo.
    """
    if look.size > _LARGEST:
        raise ImageError(f"{path} is larger than any photo: {look.size} bytes", hint="remove it")
    try:
        with path.open("rb") as file:
            before = Look.of(os.fstat(file.fileno()))
            content = file.read()
            after = Look.of(os.fstat(file.fileno()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check who may read it; it is tried again",
        ) from error
    return content if before == after == look else None
