"""Photos that clients send: read into memory, decoded there, never a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from blemish.data import claimed_pixels, decode_image
from blemish.deploy.service.problems import Problem
from blemish.deploy.service.settings import ServiceSettings
from blemish.errors import ImageError

FIELD = "photos"
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}

_NAME = 200
_HINT = f"send each photo as a file field named {FIELD}"
_FEWER = "send fewer photos at a time; /api/v1/models tells the limits"
_decoder = ThreadPoolExecutor(1, "decoder")  # decoding sets the process-wide warning filters


_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Sent:
    """One file as a client sent it. name: for the answer only; pixels: that decoding it gives."""

    name: str
    content: bytes
    pixels: int


@dataclass(frozen=True, slots=True)
class Upload:
    """One photo of a client. name: for the answer only; image: None where it cannot be inspected."""

    name: str
    image: npt.NDArray[np.uint8] | None = None
    error: ImageError | None = None


async def in_turn(task: Callable[..., _Found], *given: object) -> _Found:
    """Return what a task gives that decodes photos: one at a time, so that memory stays bounded."""
    return await asyncio.get_running_loop().run_in_executor(_decoder, task, *given)


async def read_uploads(request: Request, settings: ServiceSettings) -> list[Sent]:
    """Return the files of a multipart request, none of them decoded.

    Raises:
        Problem: it is no multipart request (415), is damaged or holds no photo (400), or it holds more
            photos or pixels than may wait (413).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(415, f"expected multipart/form-data, got {kind or 'nothing'}", _HINT)
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=settings.max_photos, max_fields=8
    )
    parser.spool_max_size = settings.max_bytes + 1  # in memory, whatever comes
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            most = f"{settings.max_photos} photos"
            raise Problem(413, f"the request holds more than {most}", _FEWER) from error
        raise Problem(400, error.message, _HINT) from error
    try:
        parts = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
        if not parts:
            raise Problem(400, f"the request holds no file named {FIELD}", _HINT)
        contents = [(_shown(part.filename, n), await part.read()) for n, part in enumerate(parts)]
    finally:
        await form.close()
    found = [
        Sent(name, content, await in_turn(_pixels, content, settings.max_pixels))
        for name, content in contents
    ]
    if (pixels := sum(sent.pixels for sent in found)) > settings.pixels:
        told = f"the photos have {pixels / 1e6:g} million pixels together"
        raise Problem(413, f"{told}, more than {settings.pixels / 1e6:g} million", _FEWER)
    return found


async def decode(
    sent: Sequence[Sent], most: int, check: Callable[[npt.NDArray[np.uint8]], None]
) -> list[Upload]:
    """Return photos; each that is none, has more pixels or does not pass the check has its error.

    most: pixels of a photo; check: raises an ImageError.
    """
    return [await in_turn(_decoded, one, most, check) for one in sent]


def _shown(name: str | None, number: int) -> str:
    """Return what an answer calls a photo: the client's own word, which is never used as a path."""
    return (name or f"photo {number + 1}")[:_NAME]


def _pixels(content: bytes, most: int) -> int:
    """Return the pixels that a file claims to have; 0 where it will not be decoded, or is no photo."""
    claimed = claimed_pixels(content)
    return claimed if claimed <= most else 0


def _decoded(sent: Sent, most: int, check: Callable[[npt.NDArray[np.uint8]], None]) -> Upload:
    try:
        image = decode_image(sent.content, sent.name, most)
        check(image)
    except ImageError as error:
        return Upload(sent.name, error=error)
    return Upload(sent.name, image)
