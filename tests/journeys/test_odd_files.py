"""Files such as lie around in factories: each gets one line, and none stops the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from odd_files import KINDS, drawn, encoded, lay_names, lay_places

SAME = ("plain_tif", "plain_bmp", "plain_webp", "plain_ppm", "alpha", "deep_colour", "animated_png")
TOO_LARGE_TO_DRAW = "vast"


@pytest.mark.skipif(sys.platform != "linux", reason="names that only Linux allows")
def test_each_of_many_odd_files_gets_one_line_and_the_good_ones_their_verdict(run_folder, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    photo = drawn(rng)
    laid = [*lay_places(folder), *lay_names(folder, photo)]
    expected = {file.path.name: file.fate for file in laid}
    for name, kind in KINDS.items():
        if name != TOO_LARGE_TO_DRAW:
            (folder / (name + kind.suffix)).write_bytes(kind.make(photo, rng))
            expected[name + kind.suffix] = kind.fate
    (tmp_path / "no_extension").write_bytes(encoded(photo, "PNG"))
    expected["no_extension"] = "verdict"

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
    assert found.keys() == expected.keys()
    for name, line in found.items():
        fate = "error" if "error" in line else "verdict"
        assert expected[name] in (fate, "either"), line
        if fate == "error":
            assert line["error"]
            assert line["hint"]
            assert line["overlay"] is None
        else:
            assert 0 <= line["score"] <= 1
            assert Path(line["overlay"]).is_file()
    plain = found["no_extension"]["score"]
    for name in SAME:
        score = found[name + KINDS[name].suffix]["score"]
        assert score == pytest.approx(plain, abs=1e-5), name
