"""Pictures for people: heat maps over photos, outlined masks, and sheets of photos side by side.

Arrays are uint8 RGB (H, W, 3). Nothing here is read back by a machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from blemish.errors import ImageError

Photo = npt.NDArray[np.uint8]

# The "inferno" colour map of Smith and van der Walt (CC0) at 17 even steps: its lightness rises
# evenly, so it reads the same in grey print and with any colour vision.
INFERNO = (
    "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 "
    "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"
)
STOPS = np.array([tuple(bytes.fromhex(stop)) for stop in INFERNO.split()], dtype=np.float32)

# Inferno has no cyan, so an outline of it stands out on any heat.
OUTLINE = (0, 229, 255)
PAPER, INK = (255, 255, 255), (32, 33, 36)


def heat_colours(heat: npt.ArrayLike) -> Photo:
    """Return each value of a map (H, W) in [0, 1] as a colour, from black over red to yellow.

    Values outside [0, 1] get the colour of the nearer end.
    """
    place = np.clip(np.asarray(heat, dtype=np.float32), 0, 1) * (len(STOPS) - 1)
    lower = np.minimum(place.astype(np.intp), len(STOPS) - 2)
    share = (place - lower)[..., None]
    colours: Photo = np.rint(STOPS[lower] * (1 - share) + STOPS[lower + 1] * share).astype(np.uint8)
    return colours


def overlay(photo: Photo, heat: npt.ArrayLike) -> Photo:
    """Return the photo under its heat map: untouched where the map is 0, hidden where it is hot.

    photo: (H, W, 3); heat: (H, W) in [0, 1], on one scale for all photos and never stretched.

    Raises:
        ImageError: photo and map differ in size.
    """
    values = np.clip(np.asarray(heat, dtype=np.float32), 0, 1)
    _check_size(photo, values)
    # The square root lets faint heat show; at full heat a trace of the photo remains.
    cover = 0.9 * np.sqrt(values)[..., None]
    # A little of the scale's dark end is skipped, or faint heat would only look like shade.
    colours = heat_colours(0.2 + 0.8 * values).astype(np.float32)
    return np.rint(photo * (1 - cover) + colours * cover).astype(np.uint8)


def outlined(photo: Photo, mask: npt.NDArray[np.bool_]) -> Photo:
    """Return the photo with a cyan line a pixel away from the mask: the defect stays in view.

    photo: (H, W, 3); mask: bool (H, W).

    Raises:
        ImageError: photo and mask differ in size.
    """
    from scipy import ndimage  # here: an edge machine draws heat maps without it

    _check_size(photo, mask)
    inner, line, edge = (ndimage.binary_dilation(mask, iterations=n) for n in (1, 2, 3))
    drawn = photo.copy()
    # On white products only the dark edge tells the line from the paper.
    drawn[edge & ~line] = INK
    drawn[line & ~inner] = OUTLINE
    return drawn


def thumbnail(photo: Photo, longest: int) -> Photo:
    """Return the photo (H, W, 3) shrunk to at most `longest` pixels a side; never enlarged."""
    height, width = photo.shape[:2]
    if max(height, width) <= longest:
        return photo
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def captioned(photo: Photo, lines: Sequence[str]) -> Photo:
    """Return the photo (H, W, 3) with lines of small text on white below it, cut off at its width."""
    if not lines:
        return photo
    font = ImageFont.load_default(10)
    step = math.ceil(font.getbbox("Ág")[3]) + 2
    strip = Image.new("RGB", (photo.shape[1], step * len(lines) + 2), PAPER)
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((2, 2 + step * number), line, fill=INK, font=font)
    return np.concatenate([photo, np.asarray(strip)])


def contact_sheet(rows: Sequence[Sequence[Photo]], titles: Sequence[str] = ()) -> Photo:
    """Return pictures in a grid on white, each row a list of them, with a title over each column.

    rows: pictures (H, W, 3) of any size, centred in cells as large as the largest; a row may be
    short. titles: none, or one for each column.

    Raises:
        ImageError: there is no picture, or the titles do not match the columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns or (titles and len(titles) != columns):
        raise ImageError(
            f"expected pictures and no titles or one for each column, "
            f"got {columns} columns and {len(titles)} titles",
            hint="pass a list of rows, each a list of uint8 (H, W, 3) arrays",
        )
    gap = 8
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    font = ImageFont.load_default(max(10, min(18, width // 9)))
    top = gap + math.ceil(font.getbbox("Ág")[3]) + gap if titles else gap
    size = gap + columns * (width + gap), top + len(rows) * (height + gap)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        middle = gap + column * (width + gap) + width // 2
        pen.text((middle, gap), title, fill=INK, font=font, anchor="ma")
    for line, row in enumerate(rows):
        for column, picture in enumerate(row):
            left = gap + column * (width + gap) + (width - picture.shape[1]) // 2
            upper = top + line * (height + gap) + (height - picture.shape[0]) // 2
            sheet.paste(Image.fromarray(picture), (left, upper))
    return np.asarray(sheet)


def _check_size(photo: Photo, plane: npt.NDArray[np.generic]) -> None:
    if photo.ndim != 3 or photo.shape[:2] != plane.shape:
        raise ImageError(
            f"expected a photo (H, W, 3) and a map (H, W) of one size, "
            f"got {photo.shape} and {plane.shape}",
            hint="resize the map to the photo first",
        )
