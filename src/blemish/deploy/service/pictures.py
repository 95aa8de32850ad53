"""Pictures in answers: PNG, as bytes or as data URLs."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt
from starlette.responses import Response

from blemish.data import decode_mask, encode_png
from blemish.deploy.service.problems import Problem

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


def data_url(picture: Picture) -> str:
    """Return a picture, uint8 (H, W, 3) or (H, W), or a bool mask, as a data URL."""
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()


def png(picture: Picture) -> Response:
    """Return a picture as a response."""
    return Response(encode_png(picture), media_type="image/png")


def sent_mask(text: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask that a client sent as PNG in base64, bare or as a data URL.

    Raises:
        ImageError: it is no picture, or not of the photo's size.
        Problem: it is not base64, or marks nothing (400).
    """
    try:
        content = base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, f"the mask is not base64: {error}", "send a PNG in base64") from error
    mask = decode_mask(content, "the mask", shape)
    if not mask.any():
        raise Problem(400, "the mask marks nothing", "paint where the defect is")
    return mask
