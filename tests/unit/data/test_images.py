from __future__ import annotations

import errno
import io
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from blemish.data.images import MAX_PIXELS, encode_png, image_shape, read_image, read_mask, write_png
from blemish.errors import ImageError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def refusal(path: Path) -> ImageError | None:
    """What reading says of a file; any other exception goes through and fails the test."""
    try:
        read_image(path)
    except ImageError as error:
        return error
    return None


def test_a_png_photo_reads_back_as_written(tmp_path):
    write_png(tmp_path / "deep" / "ü 1.png", PHOTO)
    np.testing.assert_array_equal(read_image(tmp_path / "deep" / "ü 1.png"), PHOTO)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["ü 1.png"]


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "jp2", "ppm", "gif"])
def test_the_content_decides_the_type_and_not_the_name(tmp_path, suffix):
    grey = Image.fromarray(np.full((8, 9), 77, np.uint8))
    grey.save(tmp_path / f"x.{suffix}", lossless=True)
    (tmp_path / f"x.{suffix}").rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), np.full((8, 9, 3), 77))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_their_full_range_and_not_by_the_photo(tmp_path, suffix):
    deep = np.array([[0, 257, 128 * 257], [65535, 300, 5 * 257]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"x.{suffix}")
    expected = np.array([[0, 1, 128], [255, 1, 5]])
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}")[..., 0], expected)


def test_a_deep_tiff_in_which_zero_is_white_reads_as_it_looks(tmp_path):
    """Of shallow ones Pillow turns the values itself, when it writes and when it reads."""
    looks = np.array([[255, 0], [204, 51]], np.uint8)
    stored = ((255 - looks).astype(np.uint16)) * 257
    for name, values in (("deep", stored), ("shallow", looks)):
        Image.fromarray(values).save(tmp_path / f"{name}.tif", tiffinfo={262: 0})
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.tif")[..., 0], looks)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.tif"), looks > 0)


def test_a_sixteen_bit_pgm_reads_like_a_sixteen_bit_png(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([257, 65535], ">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "x.pgm")[0, :, 0], [1, 255])


def test_thirty_two_bit_integers_are_scaled_by_their_full_range(tmp_path):
    top = 2**31 - 1
    Image.fromarray(np.array([[0, top // 2, top]], np.int32)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif")[0, :, 0], [0, 127, 255])


def test_float_photos_are_read_in_zero_to_one_and_refused_beyond(tmp_path):
    Image.fromarray(np.array([[0, 0.2, 1]], np.float32)).save(tmp_path / "unit.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "unit.tif")[0, :, 0], [0, 51, 255])
    for name, value in (("big", 255.0), ("below", -0.1), ("nan", np.nan)):
        Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / f"{name}.tif")
        with pytest.raises(ImageError, match=f"{name}.tif.*unit is not known"):
            read_image(tmp_path / f"{name}.tif")


def test_transparent_pixels_are_laid_over_white(tmp_path):
    colours = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "x.png")
    expected = [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    Image.new("RGB", (5, 4), "white").convert(mode).save(tmp_path / "x.tif", compression=None)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), np.full((4, 5, 3), 255))


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    indexed.save(tmp_path / "x.png", transparency=b"\x00\xff")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png")[0, 0], [255, 255, 255])


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("white", "black")]
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read_image(path), np.full((5, 6, 3), 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_photo_and_mask_are_turned_upright_as_pillow_turns_them(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(PHOTO).save(path, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes()))))
    np.testing.assert_array_equal(read_image(path), upright)
    np.testing.assert_array_equal(read_mask(path), upright.any(axis=2))
    assert image_shape(path) == upright.shape[:2]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "gif", "webp", "jp2"])
def test_every_prefix_of_a_photo_is_read_or_refused_but_nothing_else(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.kron(PHOTO, np.ones((4, 4, 1), np.uint8))).save(path)
    whole = path.read_bytes()
    refused = 0
    for share in np.linspace(0, 0.95, 12):
        path.write_bytes(whole[: int(share * len(whole))])
        error = refusal(path)
        if error is None:
            assert read_image(path).shape == (48, 80, 3)
        else:
            assert str(path) in str(error)
            assert error.hint
            refused += 1
    assert refused >= 6


def test_random_damage_gives_a_photo_or_an_image_error_and_no_warning(tmp_path):
    damage = np.random.default_rng(1)
    for suffix in ("png", "jpg", "tif", "gif", "webp", "bmp"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(PHOTO).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            broken = whole.copy()
            places = damage.integers(0, len(broken), 6)
            broken[places] = damage.integers(0, 256, 6)
            path.write_bytes(broken.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                error = refusal(path)
            assert error is None or error.hint


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path, side):
    assert side * side > MAX_PIXELS
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(ImageError, match="claims more than 100 million pixels"):
        read_image(tmp_path / "bomb.png")


def test_what_is_no_photo_is_refused_with_a_hint(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a photo")
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    cases = {
        "empty": "0 bytes",
        "text": "known format",
        "page": "known format",
        "folder": "is not a file",
        "pipe": "is not a file",
        "gone": "is a link to nothing",
        "loop": "is a link to nothing",
        "absent": "does not exist",
    }
    for name, what in cases.items():
        with pytest.raises(ImageError, match=f"{name}.png.*{what}") as caught:
            read_image(tmp_path / f"{name}.png")
        assert caught.value.hint


def test_the_shape_of_what_is_no_photo_is_refused_as_the_photo_is(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no photo")
    for path in (tmp_path / "x.png", tmp_path / "absent.png"):
        with pytest.raises(ImageError) as caught:
            image_shape(path)
        with pytest.raises(ImageError, match=re.escape(str(caught.value))):
            read_image(path)


def test_a_photo_on_a_damaged_disk_is_told_as_such(tmp_path, monkeypatch):
    write_png(tmp_path / "x.png", PHOTO)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(ImageError, match=r"x\.png cannot be read: Input/output error") as caught:
        read_image(tmp_path / "x.png")
    assert caught.value.hint


def test_a_photo_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    write_png(tmp_path / "x.png", PHOTO)

    def closed(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", closed)  # root may read whatever its mode
    with pytest.raises(ImageError, match=r"x\.png may not be read") as caught:
        read_image(tmp_path / "x.png")
    assert caught.value.hint


@pytest.mark.parametrize("defect", [1, 7, 255])
def test_any_value_above_zero_is_a_defect(tmp_path, defect):
    values = np.array([[0, defect], [0, 0]], np.uint8)
    expected = np.array([[False, True], [False, False]])
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    blue = np.dstack([values * 0, values * 0, values])
    Image.fromarray(blue).save(tmp_path / "blue.png")
    for name in ("grey", "deep", "blue"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), expected)


def test_the_transparency_of_a_mask_is_ignored(tmp_path):
    colours = np.zeros((2, 3, 4), np.uint8)
    colours[..., 3] = 255
    colours[0, 0] = (255, 255, 255, 0)
    Image.fromarray(colours).save(tmp_path / "x.png")
    assert np.argwhere(read_mask(tmp_path / "x.png")).tolist() == [[0, 0]]


def test_the_ringing_of_a_jpeg_mask_is_not_a_defect(tmp_path):
    drawn = np.zeros((64, 64), bool)
    drawn[21:40, 13:50] = True
    Image.fromarray(np.uint8(drawn) * 255).save(tmp_path / "x.jpg", quality=60)
    with Image.open(tmp_path / "x.jpg") as stored:
        assert (np.asarray(stored) > 0).sum() > drawn.sum()
    np.testing.assert_array_equal(read_mask(tmp_path / "x.jpg"), drawn)


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_png(tmp_path / "x.png", np.ones((4, 6), bool))
    assert read_mask(tmp_path / "x.png", (4, 6)).all()
    with pytest.raises(ImageError, match=r"6x4.*expected 4x6"):
        read_mask(tmp_path / "x.png", (6, 4))


def test_masks_are_written_as_zero_and_255():
    content = encode_png(np.array([[True, False]]))
    assert np.asarray(Image.open(io.BytesIO(content))).tolist() == [[255, 0]]


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8)])
def test_what_is_no_picture_is_not_written(tmp_path, array):
    with pytest.raises(ImageError, match="expected uint8"):
        write_png(tmp_path / "x.png", array)
    assert not list(Path(tmp_path).iterdir())
