from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.experiments.page import html, write_experiment
from blemish.experiments.tables import (
    Column,
    Experiment,
    Figure,
    Gallery,
    Plot,
    Row,
    Series,
    Table,
    as_json,
    markdown,
)

VOID = {"meta", "img"}
EVIL = "\"><img src=x onerror=alert(1)> & 'b' {{ 7 * 7 }}"


class Page(HTMLParser):
    """Every element with its attributes and the text inside it; each tag must be closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.elements.append((tag, dict(attrs), words))
        if tag not in VOID:
            self.tags.append(tag)
            self.open.append(words)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for words in self.open:
            words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [" ".join("".join(words).split()) for name, _, words in self.elements if name == tag]


def photo(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def experiment_of(name: str = "name") -> Experiment:
    columns = [Column("a", name, meaning=name), Column("k", "KID", "lower", 1)]
    rows = [
        Row(name, {"a": Figure(0.533, 0.501, 0.561), "k": Figure(float("nan"))}, note=name),
        Row("second", {"a": Figure(0.512)}, "imported"),
        Row("third", {"a": Figure(0.4)}),
        Row("paper", {"a": Figure(0.9)}, "printed"),
    ]
    points = [(x, Figure(0.1 * x, 0.1 * x - 0.05, 0.1 * x + 0.05)) for x in (1, 2, 4)]
    return Experiment(
        name,
        name,
        [Table(name, columns, rows, name, name)],
        [Plot(name, [Series(name, points)], name, name, logarithmic=True)],
        [
            Gallery(
                name,
                [name, "mask"],
                [(name, [photo(90), photo(200)]), ("", [photo(1), photo(2)])],
                name,
            )
        ],
        [name],
        {name: name},
        name,
    )


def test_the_page_needs_nothing_but_itself() -> None:
    text = html(experiment_of())
    page = Page(text)
    sources = [a[key] for _, a, _ in page.elements for key in ("src", "href", "srcset") if key in a]
    assert len(sources) == 4
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?:|url\(|@import|<link|<script", text)
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_names_from_outside_cannot_become_markup() -> None:
    harmless, page = Page(html(experiment_of())), Page(html(experiment_of(EVIL)))
    assert [tag for tag, _, _ in page.elements] == [tag for tag, _, _ in harmless.elements]
    assert not any("onerror" in attributes for _, attributes, _ in page.elements)
    assert page.texts("h1") == page.texts("title")[:1] == page.texts("code") == [EVIL]


def test_figures_have_their_marks_signs_and_intervals() -> None:
    page = Page(html(experiment_of()))
    first = page.texts("td")
    assert first[:2] == ["0.533[0.501, 0.561]", "–"]
    assert (page.texts("strong"), page.texts("u")) == (["0.533"], ["0.512"])
    assert page.texts("sup") == ["‡", "†"]
    printed = [words for tag, a, words in page.elements if tag == "tr" and a.get("class") == "printed"]
    assert len(printed) == 1
    assert "0.900" in "".join(printed[0])
    assert [a["aria-label"] for a in page.all("span")] == ["higher is better", "lower is better"]


def test_everything_has_a_name_for_those_who_cannot_see_it() -> None:
    page = Page(html(experiment_of()))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert [image["alt"] for image in page.all("img")] == [
        "name, name",
        "mask, name",
        "name, row 2",
        "mask, row 2",
    ]
    drawn, legend = page.all("svg")[1], page.all("svg")[0]
    assert drawn["role"] == "img"
    assert drawn["aria-label"] == "name: name against name, for name"
    assert legend["aria-hidden"] == "true"
    names = [a["id"] for _, a, _ in page.elements if "id" in a]
    keys = ("aria-labelledby", "aria-describedby")
    assert len(set(names)) == len(names)
    assert {a[key] for _, a, _ in page.elements for key in keys if key in a} <= set(names)
    assert all("aria-labelledby" in table for table in page.all("table"))


def test_the_figures_of_a_plot_can_be_read_as_a_table() -> None:
    details = re.search(r"<details>.*</details>", html(experiment_of()), re.DOTALL)
    rows = Page(details[0]).texts("tr")
    assert rows[1:] == ["1 0.100[0.050, 0.150]", "2 0.200[0.150, 0.250]", "4 0.400[0.350, 0.450]"]


def test_pictures_are_embedded_at_most_192_pixels_a_side() -> None:
    gallery = Gallery("g", ["photo"], [("", [photo(90, 400, 200)])])
    (image,) = Page(html(Experiment("T", "L", galleries=[gallery]))).all("img")
    data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
    shown = Image.open(io.BytesIO(data))
    assert shown.size == (96, 192)
    assert np.asarray(shown) == pytest.approx(90, abs=2)


def test_a_row_of_a_gallery_needs_a_picture_for_each_head() -> None:
    gallery = Gallery("g", ["photo", "mask"], [("", [photo(90)])])
    with pytest.raises(ValueError, match="zip"):
        html(Experiment("T", "L", galleries=[gallery]))


def test_an_experiment_with_nothing_but_words_is_a_page() -> None:
    page = Page(html(Experiment("Title", "Lead")))
    assert (page.texts("h1"), page.texts("p"), page.all("section")) == (["Title"], ["Lead"], [])


def test_every_line_class_that_a_chart_uses_has_a_colour_in_light_and_dark_and_a_dash() -> None:
    text = html(Experiment("T", "L"))
    for place in range(6):
        assert len(re.findall(rf"--s{place}: #", text)) == 2
        assert f".s{place} {{ --paint: var(--s{place}); }}" in text
    dashes = re.findall(r"\.line\.s\d \{ stroke-dasharray: ([\d ]+);", text)
    assert len(set(dashes)) == 5  # the first is solid


def luminance(colour: str) -> float:
    shares = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_lines_stand_out_from_the_panel_as_wcag_asks(theme: int) -> None:
    text = html(Experiment("T", "L"))
    panel = luminance(re.findall(r"--panel: (#\w{6})", text)[theme])
    for name in ("ink", "muted", "accent", "s0", "s1", "s2", "s3", "s4", "s5"):
        colour = luminance(re.findall(rf"--{name}: (#\w{{6}})", text)[theme])
        dark, light = sorted([panel, colour])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def test_three_files_are_written_and_the_same_experiment_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_experiment(tmp_path / folder, experiment_of())
    names = ["report.html", "report.md", "results.json"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "report.md").read_text(encoding="utf-8") == markdown(experiment_of())
    read = json.loads((tmp_path / "a" / "results.json").read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(as_json(experiment_of())))


def test_an_experiment_that_cannot_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    plot = Plot("p", [Series("s", [(0, Figure(1))])], "n", "AP", logarithmic=True)
    with pytest.raises(ValueError, match="positive"):
        write_experiment(tmp_path / "run", Experiment("T", "L", plots=[plot]))
    assert not (tmp_path / "run").exists()
