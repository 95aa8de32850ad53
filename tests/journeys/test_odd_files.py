"""Forty files such as lie around in factories: each gets one line, and none stops the others."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.synthesis import draw_good

NUT = Image.fromarray(draw_good("nut", 64, np.random.default_rng(0)))
GREY16 = np.asarray(NUT.convert("L")).astype(np.uint16) * 257


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(NUT, "JPEG", exif=exif)


def claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header promises more than there is."""
    header = bytearray(encoded(NUT, "PNG"))
    header[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(header)


FRAMES = [NUT.rotate(angle) for angle in (90, 180)]
GOOD: dict[str, Callable[[], bytes]] = {
    "plain.png": lambda: encoded(NUT, "PNG"),
    "plain.jpg": lambda: encoded(NUT, "JPEG"),
    "SHOUTING.JPG": lambda: encoded(NUT, "JPEG"),
    "progressive.jpeg": lambda: encoded(NUT, "JPEG", progressive=True),
    "grey.png": lambda: encoded(NUT.convert("L"), "PNG"),
    "grey_alpha.png": lambda: encoded(NUT.convert("LA"), "PNG"),
    "alpha.png": lambda: encoded(NUT.convert("RGBA"), "PNG"),
    "palette.png": lambda: encoded(NUT.convert("P"), "PNG"),
    "black_and_white.png": lambda: encoded(NUT.convert("1"), "PNG"),
    "deep.png": lambda: encoded(Image.fromarray(GREY16), "PNG"),
    "deep.tif": lambda: encoded(Image.fromarray(GREY16), "TIFF"),
    "float.tif": lambda: encoded(Image.fromarray(GREY16.astype(np.float32) / 65535), "TIFF"),
    "cmyk.jpg": lambda: encoded(NUT.convert("CMYK"), "JPEG"),
    "cmyk.tif": lambda: encoded(NUT.convert("CMYK"), "TIFF"),
    "animated.gif": lambda: encoded(NUT, "GIF", save_all=True, append_images=FRAMES),
    "animated.png": lambda: encoded(NUT, "PNG", save_all=True, append_images=FRAMES),
    "animated.webp": lambda: encoded(NUT, "WEBP", save_all=True, append_images=FRAMES),
    "pages.tiff": lambda: encoded(NUT, "TIFF", save_all=True, append_images=FRAMES),
    "windows.bmp": lambda: encoded(NUT, "BMP"),
    "portable.ppm": lambda: encoded(NUT, "PPM"),
    "dot.png": lambda: encoded(NUT.resize((1, 1)), "PNG"),
    "needle.png": lambda: encoded(NUT.resize((1, 400)), "PNG"),
    "panorama.png": lambda: encoded(NUT.resize((20_000, 20)), "PNG"),
    "tower.png": lambda: encoded(NUT.resize((20, 20_000)), "PNG"),
    "turned.jpg": turned,
    "jpeg_called.png": lambda: encoded(NUT, "JPEG"),
    "with_a_tail.jpg": lambda: encoded(NUT, "JPEG") + b"appended by a camera",
    "with space & 'quotes'.png": lambda: encoded(NUT, "PNG"),
    "zwei\nzeilen.png": lambda: encoded(NUT, "PNG"),
    "schräg_ß_日本_🔩.png": lambda: encoded(NUT, "PNG"),
    os.fsdecode(b"latin_\xe9.png"): lambda: encoded(NUT, "PNG"),
    "long_" + 230 * "n" + ".png": lambda: encoded(NUT, "PNG"),
    "-v.png": lambda: encoded(NUT, "PNG"),
}
BAD: dict[str, Callable[[], bytes]] = {
    "empty.png": lambda: b"",
    "cut.png": lambda: encoded(NUT, "PNG")[:900],
    "cut.jpg": lambda: encoded(NUT, "JPEG")[:700],
    "head_only.png": lambda: encoded(NUT, "PNG")[:30],
    "text.png": lambda: b"dear colleague, the camera is broken",
    "page.jpg": lambda: b"<!doctype html><title>404</title>",
    "paper.png": lambda: b"%PDF-1.7\n",
    "script.tif": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "noise.tif": lambda: np.random.default_rng(0).bytes(5000),
    "bomb.png": lambda: claiming(50_000, 50_000),
    "unit_unknown.tif": lambda: encoded(Image.fromarray(GREY16.astype(np.float32)), "TIFF"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="names that only Linux allows")
def test_each_of_many_odd_files_gets_one_line_and_the_good_ones_their_verdict(run_folder, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in (GOOD | BAD).items():
        (folder / name).write_bytes(content())
    (folder / "folder.png").mkdir()
    (folder / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    bad = {*BAD, "folder.png", "gone.png", "pipe.png"}
    (tmp_path / "no_extension").write_bytes(GOOD["plain.png"]())

    words = ["inspect", str(run_folder / "detector"), str(folder), str(tmp_path / "no_extension")]
    words += ["--overlays", str(tmp_path / "overlays"), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "blemish", *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    assert done.returncode == 2, done.stderr.decode(errors="replace")
    found = {Path(line["image"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert len(done.stdout.splitlines()) == len(found)
    assert found.keys() == {*GOOD, *bad, "no_extension"}
    assert {name for name, line in found.items() if "error" in line} == bad
    for name, line in found.items():
        if name in bad:
            assert line["error"]
            assert line["hint"]
            assert line["overlay"] is None
        else:
            assert 0 <= line["score"] <= 1
            assert Path(line["overlay"]).is_file()
    same = ("plain.png", "alpha.png", "windows.bmp", "portable.ppm", "animated.png", "pages.tiff")
    for name in same:
        assert found[name]["score"] == pytest.approx(found["no_extension"]["score"], abs=1e-5)
