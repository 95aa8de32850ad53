from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from blemish.data import write_png
from blemish.experiments.story import chapter, write_story
from blemish.generation import Entry
from blemish.generation.manifest import Manifest, Run

FIGURES = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.4, "pixel_f1_max": 0.5, "pro": None}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "nut"
    write_png(folder / "sheets" / "rust <b>.png", np.zeros((4, 4, 3), np.uint8))
    return folder


def told(run, **changes):
    reports = {name: str(run / name / "evaluation" / "report.html") for name in ("without", "with")}
    return chapter(
        "nut",
        run,
        {
            "without": {**FIGURES, "report": reports["without"]},
            "with": {**FIGURES, **changes, "report": reports["with"]},
        },
    )


def test_the_gain_is_with_less_without_and_unknown_where_one_is(run):
    gains = {row.title: row.gain for row in told(run, pixel_ap=0.55).rows}
    assert gains["Pixel AP"] == pytest.approx(0.15)
    assert gains["Image AUROC"] == 0
    assert gains["PRO"] is None


def test_over_a_sheet_stands_how_many_pairs_passed_the_gate(run):
    assert told(run).sheets[0][0] == "rust <b>"
    digests = dict.fromkeys(("image_sha256", "mask_sha256", "source_sha256"), "a")
    pair = Entry(
        image="i.png", mask="m.png", label="", index=0, run=Run(0, "m"), source="s.png", **digests
    )
    entries = {
        (label, index): replace(pair, label=label, index=index, accepted=index != 1)
        for label in ("rust <b>", "dent")
        for index in range(3)
    }
    Manifest(entries).write(run / "generated")
    assert told(run).sheets[0][0] == "rust <b>: 2 of 3 passed the gate"


def test_the_page_has_the_figures_the_sheets_and_links_to_the_reports_beside_it(run, tmp_path):
    page = tmp_path / "story.html"
    write_story(page, [told(run, pixel_ap=0.55)])
    text = page.read_text(encoding="utf-8")
    assert "+0.150" in text
    assert "rust &lt;b&gt;" in text
    links, pictures = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found = dict(attrs)
            links.extend([found["href"]] if tag == "a" else [])
            pictures.extend([found["src"]] if tag == "img" else [])

    Reader().feed(text)
    assert links == ["runs/nut/without/evaluation/report.html", "runs/nut/with/evaluation/report.html"]
    (picture,) = pictures
    encoded = picture.removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded) == (run / "sheets" / "rust <b>.png").read_bytes()
