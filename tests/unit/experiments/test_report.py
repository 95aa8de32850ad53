from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.data.pictures import OUTLINE
from blemish.experiments.report import (
    METRICS,
    Case,
    EvaluationReport,
    charts,
    choose,
    fair_shares,
    number,
    percent,
    pictures,
    render,
    type_rows,
    verdict,
    write_report,
)
from blemish.verdicts import Calibration

VOID = {"meta", "img", "link", "br", "hr", "input"}
THRESHOLD = 0.5


class Page(HTMLParser):
    """Every element with its attributes, the text without style and script, and unclosed tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def case(name: str, label: str, score: float, side: int = 16) -> Case:
    mask = np.zeros((side, side), dtype=bool)
    mask[4:7, 4:7] = label != "good"
    photo = np.full((side, side, 3), 120, dtype=np.uint8)
    heat = np.where(mask, score, 0).astype(np.float32)
    return Case(name, label, score, 0.05, score >= THRESHOLD, photo, photo, heat, mask)


def report_of(cases: list[Case], **changes: object) -> EvaluationReport:
    good = [one.anomalous for one in cases if one.label == "good"]
    bad = [one.anomalous for one in cases if one.label != "good"]
    report = EvaluationReport(
        title="Plates",
        metrics=dict.fromkeys(METRICS, 0.75),
        per_type={},
        threshold=THRESHOLD,
        target_false_alarm_rate=0.05,
        false_alarm_rate=float(np.mean(good)) if good else None,
        detection_rate=float(np.mean(bad)) if bad else None,
        calibration=Calibration.of(np.linspace(0.1, 0.499, 20), 0.05),
        cases=cases,
    )
    return dataclasses.replace(report, **changes)


def some_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    good = [case(f"good/{i}", "good", s) for i, s in enumerate(rng.uniform(0, 0.6, 20))]
    pits = [case(f"pit/{i}", "pit", s) for i, s in enumerate(rng.uniform(0.4, 1, 15))]
    cuts = [case(f"cut/{i}", "cut", s) for i, s in enumerate(rng.uniform(0.2, 1, 10))]
    return [*good, *pits, *cuts]


def counted(good: tuple[int, int], bad: tuple[int, int]) -> list[Case]:
    """So many photos at or above the threshold, out of so many, of either kind."""
    cases = []
    for label, (above, count) in (("good", good), ("pit", bad)):
        cases += [case(f"{label}/{i}", label, 0.9 if i < above else 0.1) for i in range(count)]
    return cases


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, report_of(some_cases()))
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    sources = [a[key] for _, a in page.elements for key in ("src", "href", "srcset") if key in a]
    assert page.open == []
    assert len(sources) == 3 * 45 + 1
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?:|url\(|@import|<link", html)


def test_every_picture_and_chart_is_described_and_every_table_header_has_a_scope() -> None:
    page = Page(render(report_of(some_cases())))
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("svg")) == 3
    assert all(drawn["aria-label"] and drawn["role"] == "img" for drawn in page.all("svg"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))


def test_the_verdict_counts_photos_in_words() -> None:
    words = verdict(report_of(counted((7, 190), (301, 388))))
    assert words["good"].replace("\u202f", " ") == (
        "Of 190 good photos, 7 were rejected (3.7 %; 95 % interval 1.8 % to 7.4 %, if each shows "
        "another part). The target is 5 %. By the 20 good photos that set the threshold alone, the "
        "rate lies between 0.1 % and 16.8 %."
    )
    parts = Calibration.of(np.linspace(0.1, 0.499, 20), 0.05, [0, 1, 2, 3] * 5)
    told = verdict(report_of(counted((7, 190), (301, 388)), calibration=parts))["good"]
    assert "By the 20 good photos of 4 parts that set the threshold alone" in told
    assert words["defective"].startswith("Of 388 defective photos, 301 were found (77.6")
    assert "if each shows another part" in words["defective"]


@pytest.mark.parametrize(
    ("rejected", "held_out", "expected"),
    [(10, 20, "kept"), (30, 20, "within chance"), (30, 400, "exceeded"), (60, 20, "exceeded")],
)
def test_a_missed_target_is_told_from_bad_luck(rejected: int, held_out: int, expected: str) -> None:
    scores = np.linspace(0.1, THRESHOLD - 0.01, held_out)
    scores[: held_out // 20 - 1] = THRESHOLD
    report = report_of(counted((rejected, 200), (1, 1)), calibration=Calibration.of(scores, 0.05))
    assert verdict(report)["target"] == expected


@pytest.mark.parametrize("label", ["good", "pit"])
def test_with_one_kind_of_photo_the_page_says_what_is_unknown(label: str) -> None:
    report = report_of([case("a", label, 0.3), case("b", label, 0.7)])
    page = Page(render(report))
    assert f"No {'defective' if label == 'good' else 'good'} photos were tested" in page.text
    assert set(charts(report)) == {"scores"}


def test_a_report_without_any_photo_is_still_a_page() -> None:
    page = Page(render(report_of([], calibration=Calibration.of([], 0.05))))
    assert page.open == []
    assert page.all("article") == []


def test_undefined_metrics_are_a_dash_with_a_reason() -> None:
    report = report_of(some_cases(), metrics={"pro": None, "pixel_ap": float("nan")})
    text = Page(render(report)).text
    assert text.count("not defined by these photos") == 2
    assert "nan" not in text.lower().split()


def test_names_from_outside_cannot_become_markup() -> None:
    evil = "<img src=x onerror=alert(1)>"
    report = report_of(
        [case(evil, evil, 0.2), case("b", "good", 0.9)],
        title=evil,
        facts={evil: evil},
        warnings=[evil],
        metrics={evil: 0.5},
        per_type={evil: {evil: 0.5}},
    )
    page = Page(render(report))
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert evil in page.text


def test_the_same_report_gives_the_same_page() -> None:
    assert render(report_of(some_cases())) == render(report_of(some_cases()))


def test_facts_warnings_and_intervals_are_on_the_page() -> None:
    text = Page(
        render(
            report_of(
                some_cases(),
                facts={"seed": "1234567"},
                warnings=["two photos are copies"],
                intervals={"image_auroc": (0.612, 0.834)},
            )
        )
    ).text
    assumed = "95 % interval, if each photo shows another part"
    for words in ("1234567", "two photos are copies", "0.612", "0.834", assumed):
        assert words in text


def test_the_worst_errors_come_first() -> None:
    chosen = choose(some_cases(), 120)
    lowest = min(one.score for one in some_cases() if one.label != "good")
    highest = max(one.score for one in some_cases() if one.label == "good")
    assert chosen.misses[0].score == lowest
    assert chosen.false_alarms[0].score == highest
    assert all(one.outcome == "missed" for one in chosen.misses)
    assert all(one.outcome == "false alarm" for one in chosen.false_alarms)


def test_a_gallery_without_limit_shows_every_case_once() -> None:
    cases = some_cases()
    chosen = choose(cases, 1000)
    shown = [one.name for one in [*chosen.misses, *chosen.false_alarms, *chosen.spread]]
    assert sorted(shown) == sorted(one.name for one in cases)
    scores = [one.score for one in chosen.spread]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("most", [0, 1, 7, 30])
def test_a_limited_gallery_shows_that_many_cases_none_twice(most: int) -> None:
    chosen = choose(some_cases(), most)
    shown = [one.name for one in [*chosen.misses, *chosen.false_alarms, *chosen.spread]]
    assert len(chosen) == len(set(shown)) == most
    page = Page(render(report_of(some_cases()), gallery=most))
    assert len(page.all("article")) == most
    assert f"{most} of 45 photos are shown" in page.text


def test_the_spread_shows_every_type_from_its_highest_to_its_lowest_score() -> None:
    cases = [case(f"{k}/{i}", k, 0.6 + i / 1000) for k in ("cut", "pit") for i in range(50)]
    spread = choose(cases, 10).spread
    for label in ("cut", "pit"):
        scores = [one.score for one in spread if one.label == label]
        assert len(scores) == 5
        assert (scores[0], scores[-1]) == (0.6 + 49 / 1000, 0.6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=6), st.integers(0, 60))
def test_fair_shares_use_all_room_and_favour_no_group(sizes: list[int], total: int) -> None:
    shares = fair_shares(sizes, total)
    assert sum(shares) == min(total, sum(sizes))
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    unfilled = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert all(share <= low + 1 for low in unfilled for share in shares)


def test_types_are_listed_from_the_least_found() -> None:
    rows = type_rows(report_of(some_cases(), per_type={"pit": {"pro": 0.4}}))
    by_hand = {
        name: (
            sum(one.label == name for one in some_cases()),
            sum(one.label == name and one.score >= THRESHOLD for one in some_cases()),
        )
        for name in ("pit", "cut")
    }
    assert {row.name: (row.photos, row.found) for row in rows} == by_hand
    assert rows[0].found / rows[0].photos <= rows[1].found / rows[1].photos
    assert next(row for row in rows if row.name == "pit").metrics == {"pro": 0.4}


def test_a_hair_thin_defect_in_a_large_photo_keeps_its_outline() -> None:
    large = case("a", "pit", 0.1, side=1000)
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[300:700, 501] = True
    _, _, (_, hot, words) = pictures(dataclasses.replace(large, mask=mask))
    assert hot.shape == (192, 192, 3)
    assert (hot == OUTLINE).all(axis=2).sum() > 100
    assert "outlined" in words


def test_the_description_of_a_heat_map_says_where_it_is_hottest() -> None:
    heat = np.zeros((10, 20), dtype=np.float32)
    heat[5, 15] = 0.8
    photo = np.zeros((10, 20, 3), dtype=np.uint8)
    one = Case("a", "good", 0.1, 1.0, False, photo, photo, heat)
    assert "0.80 at 75 % from the left and 50 % from the top" in pictures(one)[2][2]


def test_six_hundred_photos_fit_into_eight_megabytes() -> None:
    rng = np.random.default_rng(0)
    grain = rng.normal(128, 12, (192, 192, 1)) + np.zeros(3)
    photo = grain.clip(0, 255).astype(np.uint8)
    whole = case("a", "pit", 0.9, side=192)
    cases = [
        dataclasses.replace(whole, name=str(i), photo=photo, reconstruction=photo) for i in range(600)
    ]
    assert len(render(report_of(cases))) < 8_000_000


@pytest.mark.parametrize(
    ("share", "words"), [(0.037, "3.7 %"), (0.05, "5 %"), (1.0, "100 %"), (None, "–")]
)
def test_shares_are_written_as_percentages(share: float | None, words: str) -> None:
    assert percent(share).replace("\u202f", " ") == words


def test_metrics_are_written_with_three_decimals() -> None:
    assert [number(0.98765), number(None), number(float("nan"))] == ["0.988", "–", "–"]


def test_precision_and_recall_are_drawn_as_steps_and_found_and_rejected_as_slopes() -> None:
    drawn = charts(report_of(some_cases()))
    curves = {name: re.search(r'class="curve" d="([^"]+)"', svg) for name, svg in drawn.items()}
    assert "V" in curves["pr"][1]
    assert "V" not in curves["roc"][1]
