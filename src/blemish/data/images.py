"""One photo or mask file in, one plain array out, or an ImageError that says why not."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from blemish.errors import ImageError
from blemish.runtime import atomic_write

IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".gif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm"}
)
MAX_PIXELS = 100_000_000

# A closed list: some of Pillow's other plugins start outside programs (EPS) or parse rare formats.
# MPO, a JPEG of several frames, has no opener of its own: JPEG's gives it.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM")
_JPEG_MID_RANGE = 128
_SIGNED = 2
_DEEP = ("I", "F")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO = 0
_ON_THE_SIDE = range(5, 9)
"""EXIF orientations that swap height and width."""


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Return the photo as uint8 RGB (H, W, 3), turned upright as its EXIF orientation says.

    Deep grey values are scaled by the full range of their format (16-bit: 65535), never by the
    photo's own extremes, so that equal surfaces stay equal from photo to photo. Float values must
    lie in [0, 1]. Transparent pixels are laid over white. CMYK and palettes are converted without
    colour profiles. Of an animation, the first frame is read. The file's content decides its type,
    not its name.

    Raises:
        ImageError: the file is missing, empty, truncated, not a photo, or over `MAX_PIXELS`.
    """
    return _decode(path, _rgb)


def deep_peak(path: Path) -> float | None:
    """Return the brightest value of a deep grey photo as a share of its full range; None of others.

    path: a photo that `read_image` reads.
    """
    with path.open("rb") as file, _opened(file) as image:
        if not image.mode.startswith(_DEEP):
            return None
        return float(np.asarray(image).max() / _top(image))


def decode_image(content: bytes, name: str, most: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Return a photo that is in memory, as `read_image` returns one of a file.

    name: what errors call it; most: pixels that are decoded at all. One thread at a time.

    Raises:
        ImageError: it is empty, truncated, not a photo, or larger.
    """
    return _decode_memory(content, name, _rgb, most)


def decode_mask(content: bytes, name: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a mask that is in memory, as `read_mask` returns one of a file.

    Raises:
        ImageError: it cannot be decoded, or it is not of the wanted shape (H, W).
    """
    mask = _decode_memory(content, name, _any_above_zero, shape[0] * shape[1])
    return _of_shape(mask, name, shape)


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> npt.NDArray[np.bool_]:
    """Return the mask as bool (H, W), True = defect, turned upright as its EXIF orientation says.

    A pixel is a defect where any colour channel is above 0: masks of 0/1, of 0/255 and of small
    integers all read right. Palettes count by colour; transparency is ignored. A JPEG rings
    around its edges, so there a pixel is a defect from mid-range (128) on.

    shape: the (H, W) of the mask's photo, None to accept any.

    Raises:
        ImageError: the file cannot be read, or it is not of the wanted shape.
    """
    mask = _decode(path, _any_above_zero)
    return mask if shape is None else _of_shape(mask, str(path), shape)


def _of_shape(mask: npt.NDArray[np.bool_], name: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    if mask.shape != tuple(shape):
        raise ImageError(
            f"{name} is {mask.shape[1]}x{mask.shape[0]} (width x height): "
            f"expected {shape[1]}x{shape[0]}, the size of its photo",
            hint="draw the mask on the photo as it is now, without cropping or resizing either",
        )
    return mask


def encode_png(array: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> bytes:
    """Return the PNG bytes of a uint8 (H, W, 3) or (H, W) picture, or of a bool mask as 0/255."""
    if array.dtype == np.bool_:
        array = np.where(array, np.uint8(255), np.uint8(0))
    grey_or_rgb = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not grey_or_rgb or array.size == 0:
        raise ImageError(
            f"cannot write {array.dtype} {array.shape} as PNG: expected uint8 (H, W, 3) or (H, W)",
            hint="convert to uint8 RGB first; masks may stay bool",
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: Path, array: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> None:
    """Write a picture or mask as PNG; the file appears whole or not at all."""
    content = encode_png(array)
    with atomic_write(path) as file:
        file.write(content)


def claimed_pixels(file: bytes | Path) -> int:
    """Return the pixels that the header of a photo claims, in memory or a file; 0 where it is none."""
    try:
        if isinstance(file, Path):
            _refuse_what_is_no_file(file)
        with _opened(file if isinstance(file, Path) else io.BytesIO(file)) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - damaged files raise nearly any; decoding says what is wrong
        return 0


def image_shape(path: Path) -> tuple[int, int]:
    """Return (H, W) of the photo that `read_image` gives, from its header alone.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with _opened(path) as image:
            # The base class's: a PNG's own reads all of the file for a tag after its pixels.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            # The size of a TIFF is turned already.
            turned = orientation in _ON_THE_SIDE and image.format != "TIFF"
            width, height = image.size[::-1] if turned else image.size
    except Exception:  # noqa: BLE001 - damaged files raise nearly any; decoding says what is wrong
        height, width = read_image(path).shape[:2]
    return height, width


@contextlib.contextmanager
def _opened(file: IO[bytes] | Path) -> Iterator[Image.Image]:
    """Give the block a photo of which the header alone has been read.

    Pillow warns about odd headers and large sizes; what matters of these others judge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file, formats=_FORMATS) as image:
            yield image


def _decode_memory(
    content: bytes, name: str, convert: Callable[[Image.Image], npt.NDArray[Any]], most: int
) -> npt.NDArray[Any]:
    if not content:
        raise ImageError(f"{name} is empty (0 bytes)", hint="send it again")
    return _decode_open(io.BytesIO(content), name, convert, most)


def _decode(path: Path, convert: Callable[[Image.Image], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    try:
        _refuse_what_is_no_file(path)
        file = path.open("rb")
    except PermissionError as error:
        raise ImageError(
            f"{path} may not be read", hint="ask its owner for the right to read it, or leave it out"
        ) from error
    except OSError as error:  # a damaged disk, a network that is gone, a file removed meanwhile
        raise ImageError(
            f"{path} cannot be read: {error.strerror}", hint="copy it again, or check its disk"
        ) from error
    with file:
        return _decode_open(file, str(path), convert, MAX_PIXELS)


def _decode_open(
    file: IO[bytes], name: str, convert: Callable[[Image.Image], npt.NDArray[Any]], most: int
) -> npt.NDArray[Any]:
    try:
        with _opened(file) as image:
            if image.width * image.height > most:
                raise _too_large(name, most)
            image.load()
            array = convert(image)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return np.ascontiguousarray(_upright(array, orientation))
    except ImageError as error:
        if name in str(error):
            raise
        raise ImageError(f"{name} {error.args[0]}", hint=error.hint) from None
    except Image.DecompressionBombError as error:
        raise _too_large(name, most) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a photo in a known format: expected one of {', '.join(_FORMATS)}",
            hint="open it in an image viewer and save it as PNG, or remove it",
        ) from error
    except Exception as error:
        # Damaged files make Pillow's decoders raise nearly any exception there is.
        raise ImageError(
            f"{name} cannot be decoded ({error or type(error).__name__}): "
            "it is truncated, damaged, or of a kind that is not supported",
            hint="copy it again from where it came, save it as PNG, or remove it",
        ) from error


def _refuse_what_is_no_file(path: Path) -> None:
    if not path.is_file():
        absent = "is a link to nothing" if path.is_symlink() else "does not exist"
        found = "is not a file" if path.exists() else absent
        raise ImageError(f"{path} {found}", hint="check the path and the spelling")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes)", hint="copy it again, or remove it")


def _too_large(name: str, most: int) -> ImageError:
    return ImageError(
        f"{name} claims more than {most / 1e6:g} million pixels",
        hint="cut it into smaller photos, or remove it if it should not be that large",
    )


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith(_DEEP):
        return np.repeat(_grey(image)[..., None], 3, axis=2)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    values = np.asarray(image).astype(np.float64)
    top = _top(image)
    if not np.all((values >= 0) & (values <= top)):
        raise ImageError(
            f"holds {image.mode} values outside [0, {top:g}]: their unit is not known",
            hint="scale the values to [0, 1], or save the photo as 8-bit or 16-bit PNG",
        )
    if _is_negative(image):
        values = top - values
    return np.rint(values * (255 / top)).astype(np.uint8)


def _top(image: Image.Image) -> float:
    """Return the largest value that the format can hold, 1 of floats; only TIFF has a choice."""
    if image.mode == "F":
        return 1.0
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return float(2 ** (bits - 1 if signed else bits) - 1)


def _is_negative(image: Image.Image) -> bool:
    """Return whether 0 stands for white in a deep photo; of shallow ones Pillow has turned it."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _any_above_zero(image: Image.Image) -> npt.NDArray[np.bool_]:
    least = _JPEG_MID_RANGE if image.format in ("JPEG", "MPO") else 1
    if image.mode.startswith(_DEEP):
        values = np.asarray(image)
        return np.asarray(values < _top(image) if _is_negative(image) else values > 0, np.bool_)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")) >= least
    return np.asarray(np.asarray(image.convert("RGB")).max(axis=2) >= least)


def _upright(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return the array as EXIF tag 274 asks for; a value outside 2..8 leaves it as it is."""
    turns: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    return turns[orientation](array) if orientation in turns else array
