"""Photos that clients send: read into memory, decoded there, never a file."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from blemish.data import decode_image
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
_decoder = ThreadPoolExecutor(1, "decoder")  # decoding sets the process-wide warning filters


@dataclass(frozen=True, slots=True)
class Upload:
    """One photo as a client sent it. name: for the answer only; image: None where it is no photo."""

    name: str
    image: npt.NDArray[np.uint8] | None = None
    error: ImageError | None = None


async def read_uploads(request: Request, settings: ServiceSettings) -> list[Upload]:
    """Return the photos of a multipart request, decoded; each that is none has its error.

    Raises:
        Problem: it is no multipart request (415), is damaged or holds no photo (400).
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
        raise Problem(400, error.message, _HINT) from error
    try:
        parts = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
        if not parts:
            raise Problem(400, f"the request holds no file named {FIELD}", _HINT)
        contents = [(_shown(part.filename, n), await part.read()) for n, part in enumerate(parts)]
    finally:
        await form.close()
    loop = asyncio.get_running_loop()
    return [
        await loop.run_in_executor(_decoder, _decoded, name, content, settings.max_pixels)
        for name, content in contents
    ]


def _shown(name: str | None, number: int) -> str:
    """Return what an answer calls a photo: the client's own word, which is never used as a path."""
    return (name or f"photo {number + 1}")[:_NAME]


def _decoded(name: str, content: bytes, most: int) -> Upload:
    try:
        return Upload(name, decode_image(content, name, most))
    except ImageError as error:
        return Upload(name, error=error)
