"""Files such as lie around in factories: photos of odd kinds, damaged ones, and what is no photo.

The tests draw one of each kind, `benchmarks/robustness.py` two hundred. The same seed gives the same
bytes with the same version of Pillow.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from blemish.synthesis import draw_good

Fate = Literal["verdict", "error", "either"]
"""What a file must get; `either` where the damage decides."""

Make = Callable[[Image.Image, np.random.Generator], bytes]


class Kind(NamedTuple):
    """How a file of one kind is made from a photo, the end of its name, and what it must get."""

    suffix: str
    fate: Fate
    make: Make


class OddFile(NamedTuple):
    """A file that was laid out."""

    path: Path
    kind: str
    fate: Fate


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return the file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def plainly(form: str, mode: str = "RGB", **options: Any) -> Make:
    """Return how to encode the photo in a mode."""
    return lambda photo, _: encoded(photo.convert(mode), form, **options)


def resized(width: int, height: int) -> Make:
    """Return how to encode the photo at a size, aspect or not."""
    return lambda photo, _: encoded(photo.resize((width, height)), "PNG")


def animated(form: str, **options: Any) -> Make:
    """Return how to encode three frames."""

    def make(photo: Image.Image, _: np.random.Generator) -> bytes:
        others = [photo.rotate(angle) for angle in (90, 180)]
        return encoded(photo, form, save_all=True, append_images=others, **options)

    return make


def turned(orientation: int) -> Make:
    """Return how to encode the photo as a camera held otherwise does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda photo, _: encoded(photo, "JPEG", exif=exif)


def deep(photo: Image.Image) -> np.ndarray:
    """Return the photo's grey values at 16 bits."""
    return np.asarray(photo.convert("L")).astype(np.uint16) * 257


def scaled(top: float) -> Make:
    """Return how to encode grey values in [0, top] as float TIFF."""
    return lambda photo, _: encoded(Image.fromarray((deep(photo) * (top / 65535)).astype("f4")), "TIFF")


def deep_colour(photo: Image.Image, _: np.random.Generator) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow cannot write."""
    values = np.asarray(photo.convert("RGB")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", photo.width, photo.height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def translucent(photo: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a PNG with a random alpha channel."""
    layer = photo.convert("RGBA")
    layer.putalpha(Image.fromarray(rng.integers(0, 256, photo.size[::-1], np.uint8)))
    return encoded(layer, "PNG")


def strange_exif(photo: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a JPEG whose EXIF block is no EXIF."""
    return encoded(photo, "JPEG", exif=b"Exif\0\0" + rng.bytes(40))


def packed(photo: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a TIFF with one of the usual compressions."""
    return encoded(photo, "TIFF", compression=str(rng.choice(["tiff_lzw", "tiff_deflate", "packbits"])))


def vast(*_: object) -> bytes:
    """Return a small PNG that unfolds to 81 million pixels, which is allowed."""
    return encoded(Image.new("1", (9_000, 9_000)), "PNG")


# Damage


def cut(make: Make) -> Make:
    """Return how to make a file of which only a beginning is left."""

    def shortened(photo: Image.Image, rng: np.random.Generator) -> bytes:
        whole = make(photo, rng)
        return whole[: int(rng.integers(1, len(whole)))]

    return shortened


def flipped(make: Make) -> Make:
    """Return how to make a file in which up to 16 bits are turned over."""

    def damaged(photo: Image.Image, rng: np.random.Generator) -> bytes:
        content = bytearray(make(photo, rng))
        for place in rng.integers(0, len(content), int(rng.integers(1, 17))):
            content[place] ^= 1 << int(rng.integers(8))
        return bytes(content)

    return damaged


# Headers that promise more than there is


def patched(make: Make, place: Callable[[bytes], int], value: bytes) -> Make:
    """Return how to make a file with other bytes at one place."""

    def boast(photo: Image.Image, rng: np.random.Generator) -> bytes:
        content = bytearray(make(photo, rng))
        start = place(bytes(content))
        content[start : start + len(value)] = value
        return bytes(content)

    return boast


def claiming_png(side: int) -> Make:
    """Return how to make a PNG with a valid header of this size and next to no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return patched(plainly("PNG"), lambda _: 8, header)


def claiming_tiff(photo: Image.Image, _: np.random.Generator) -> bytes:
    """Return a TIFF whose tags for width and height say 60,000."""
    content = bytearray(encoded(photo, "TIFF"))
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    for place in range(start + 2, start + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, place)[0] in (256, 257):
            struct.pack_into("<HIHH", content, place + 2, 3, 1, 60_000, 0)
    return bytes(content)


def after(mark: bytes, distance: int) -> Callable[[bytes], int]:
    """Return where a field lies: a distance behind a mark."""
    return lambda content: content.index(mark) + len(mark) + distance


def always(content: bytes) -> Make:
    """Return how to make a file that is always the same."""
    return lambda *_: content


PLAIN: dict[str, Make] = {
    ".png": plainly("PNG"),
    ".jpg": plainly("JPEG"),
    ".tif": plainly("TIFF"),
    ".bmp": plainly("BMP"),
    ".webp": plainly("WEBP", lossless=True),
    ".gif": plainly("GIF", "P"),
    ".jp2": plainly("JPEG2000"),
    ".ppm": plainly("PPM"),
}
WHOLE: dict[str, Kind] = {
    name: Kind(suffix, "verdict", make)
    for name, suffix, make in (
        *((f"plain_{suffix[1:]}", suffix, make) for suffix, make in PLAIN.items()),
        ("shouting", ".JPG", plainly("JPEG")),
        ("progressive", ".jpeg", plainly("JPEG", progressive=True)),
        ("grey", ".png", plainly("PNG", "L")),
        ("grey_jpeg", ".jpg", plainly("JPEG", "L")),
        ("grey_alpha", ".png", plainly("PNG", "LA")),
        ("alpha", ".png", plainly("PNG", "RGBA")),
        ("translucent", ".png", translucent),
        ("palette", ".png", plainly("PNG", "P")),
        ("palette_clear", ".png", plainly("PNG", "P", transparency=0)),
        ("black_and_white", ".png", plainly("PNG", "1")),
        ("fax", ".tif", plainly("TIFF", "1", compression="group4")),
        ("deep", ".png", lambda photo, _: encoded(Image.fromarray(deep(photo)), "PNG")),
        ("deep_tiff", ".tif", lambda photo, _: encoded(Image.fromarray(deep(photo)), "TIFF")),
        ("deep_colour", ".png", deep_colour),
        ("float", ".tif", scaled(1.0)),
        ("cmyk", ".jpg", plainly("JPEG", "CMYK")),
        ("cmyk_tiff", ".tif", plainly("TIFF", "CMYK")),
        ("animated_gif", ".gif", animated("GIF")),
        ("animated_png", ".png", animated("PNG")),
        ("animated_webp", ".webp", animated("WEBP", lossless=True)),
        ("pages", ".tiff", animated("TIFF")),
        ("stereo", ".mpo", animated("MPO")),
        ("packed", ".tif", packed),
        ("dot", ".png", resized(1, 1)),
        ("needle", ".png", resized(1, 400)),
        ("panorama", ".png", resized(20_000, 20)),
        ("tower", ".png", resized(20, 20_000)),
        ("vast", ".png", vast),
        ("jpeg_called_png", ".png", plainly("JPEG")),
        (
            "tail",
            ".jpg",
            lambda photo, rng: encoded(photo, "JPEG") + b"appended by a camera" + rng.bytes(99),
        ),
        *((f"turned_{way}", ".jpg", turned(way)) for way in range(1, 9)),
    )
}
HOPELESS: dict[str, Kind] = {
    name: Kind(suffix, "error", make)
    for name, suffix, make in (
        ("empty", ".png", always(b"")),
        ("zeros", ".jpg", lambda _, rng: bytes(int(rng.integers(1, 9_999)))),
        ("head_only", ".png", lambda photo, _: encoded(photo, "PNG")[:30]),
        ("text", ".png", always(b"dear colleague, the camera is broken")),
        ("page", ".jpg", always(b"<!doctype html><title>404</title>")),
        ("drawing", ".png", always(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
        ("paper", ".png", always(b"%PDF-1.7\n")),
        ("script", ".tif", always(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
        ("archive", ".png", lambda _, rng: b"PK\3\4" + rng.bytes(2_000)),
        ("noise", ".tif", lambda _, rng: rng.bytes(5_000)),
        ("unit_unknown", ".tif", scaled(65_535.0)),
        ("undefined", ".tif", scaled(float("nan"))),
        ("boasting", ".png", claiming_png(9_900)),
        ("bomb_png", ".png", claiming_png(50_000)),
        ("bomb_jpeg", ".jpg", patched(PLAIN[".jpg"], after(b"\xff\xc0", 3), b"\xff\xdc\xff\xdc")),
        ("bomb_bmp", ".bmp", patched(PLAIN[".bmp"], lambda _: 18, struct.pack("<ii", 60_000, 60_000))),
        ("bomb_gif", ".gif", patched(PLAIN[".gif"], lambda _: 6, b"\xff\xff\xff\xff")),
        ("bomb_tiff", ".tif", claiming_tiff),
        ("bomb_webp", ".webp", patched(PLAIN[".webp"], after(b"VP8L", 5), b"\xff\xff\xff\x0f")),
        (
            "bomb_jp2",
            ".jp2",
            patched(PLAIN[".jp2"], after(b"ihdr", 0), struct.pack(">II", 60_000, 60_000)),
        ),
        ("bomb_ppm", ".ppm", always(b"P6\n60000 60000\n255\n" + bytes(999))),
    )
}
DAMAGED: dict[str, Kind] = {
    f"{name}_{suffix[1:]}": Kind(suffix, "either", damage(make))
    for name, damage in (("cut", cut), ("flipped", flipped))
    for suffix, make in PLAIN.items()
} | {"strange_exif": Kind(".jpg", "either", strange_exif)}
KINDS = WHOLE | HOPELESS | DAMAGED

ODD_NAMES = (
    "with space & 'quotes'.png",
    "zwei\nzeilen.png",
    "schräg_ß_日本_🔩.png",
    os.fsdecode(b"latin_\xe9.png"),
    "long_" + 230 * "n" + ".png",
    60 * "長" + ".png",
    "-v.png",
    "%s {0} $HOME.png",
)


def lay_places(folder: Path) -> Iterator[OddFile]:
    """Make what has a photo's name and is no file, or none that may be read; yield each."""
    (folder / "folder.png").mkdir()
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "there.png").symlink_to("back.png")
    (folder / "back.png").symlink_to("there.png")
    os.mkfifo(folder / "pipe.png")
    names = ["folder.png", "gone.png", "loop.png", "there.png", "back.png", "pipe.png"]
    (folder / "again").symlink_to(".")  # a folder within itself: passed over, and not for ever
    if os.geteuid() != 0:  # who may everything may read this too
        (folder / "secret.png").write_bytes(b"not for everybody")
        (folder / "secret.png").chmod(0)
        names.append("secret.png")
    for name in names:
        yield OddFile(folder / name, Path(name).stem, "error")


def lay_names(folder: Path, photo: Image.Image) -> Iterator[OddFile]:
    """Write the photo under each odd name; yield each."""
    for name in ODD_NAMES:
        (folder / name).write_bytes(encoded(photo, "PNG"))
        yield OddFile(folder / name, "odd_name", "verdict")


def lay_out(folder: Path, seed: int, count: int) -> list[OddFile]:
    """Fill a folder with `count` odd files: one of each kind, and for the rest damaged ones."""
    rng = np.random.default_rng(seed)
    laid = [*lay_places(folder), *lay_names(folder, drawn(rng))]
    kinds = chain(KINDS.items(), cycle(DAMAGED.items()))
    for index, (name, kind) in enumerate(islice(kinds, max(0, count - len(laid)))):
        path = folder / f"{index:03d}_{name}{kind.suffix}"
        path.write_bytes(kind.make(drawn(rng), rng))
        laid.append(OddFile(path, name, kind.fate))
    return laid


def drawn(rng: np.random.Generator) -> Image.Image:
    """Return a photo of a nut."""
    return Image.fromarray(draw_good("nut", 64, rng))
