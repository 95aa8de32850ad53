"""The evaluation as one page: an HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish.data.pictures import outlined, overlay, thumbnail
from blemish.experiments.charts import Group, curve_chart, histogram
from blemish.metrics import alarm_chance, alarm_rate, precision_recall_curve, roc_curve, wilson
from blemish.records import GOOD
from blemish.runtime import atomic_write
from blemish.verdicts import Calibration

Photo = npt.NDArray[np.uint8]

LONGEST_SIDE = 192
WORST = 12
_BAD_LUCK = 0.025
_ASSUMED = "if each shows another part"  # several photos of a part are worth less than as many parts

METRICS = {
    "image_auroc": ("Image AUROC", "chance that a defective photo scores above a good one"),
    "image_ap": ("Image AP", "average precision over photos"),
    "image_f1_max": (
        "Image F1\N{NON-BREAKING HYPHEN}max",
        "best balance of precision and recall over photos",
    ),
    "pixel_auroc": ("Pixel AUROC", "chance that a defect pixel scores above a good one"),
    "pixel_ap": ("Pixel AP", "average precision over pixels"),
    "pixel_f1_max": (
        "Pixel F1\N{NON-BREAKING HYPHEN}max",
        "best overlap (Dice) of heat map and true defects",
    ),
    "pro": ("PRO", "overlap per defect region, at up to 30\N{NARROW NO-BREAK SPACE}% false pixels"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One test photo with its verdict and its pictures.

    label: `"good"` or the defect type. score, p_value, anomalous: as in `records.Prediction`.
    photo, reconstruction: uint8 (h, w, 3); heat: float32 (h, w) in [0, 1]; mask: bool (h, w),
    True = defect, None when nobody drew one. Thumbnails do: at most 192 pixels a side are shown.
    """

    name: str
    label: str
    score: float
    p_value: float
    anomalous: bool
    photo: Photo
    reconstruction: Photo
    heat: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def outcome(self) -> str:
        """Return `found`, `missed`, `passed` or `false alarm`."""
        if self.label == GOOD:
            return "false alarm" if self.anomalous else "passed"
        return "found" if self.anomalous else "missed"


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """All that the page tells.

    metrics: name to value in [0, 1], None or NaN = undefined, in the order to be shown; those named
    in `METRICS` get a title and a meaning. intervals: 95 % interval of a metric, where there is
    one. per_type: the same metrics for the photos of one defect type against all good ones.
    false_alarm_rate, detection_rate: shares of good and of defective test photos at or above the
    threshold, None without such photos. calibration: by the held-out good photos that set the
    threshold. cases: every test photo. facts: what it takes to repeat the run.
    """

    title: str
    metrics: Mapping[str, float | None]
    per_type: Mapping[str, Mapping[str, float | None]]
    threshold: float
    target_false_alarm_rate: float
    false_alarm_rate: float | None
    detection_rate: float | None
    calibration: Calibration
    cases: Sequence[Case]
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def good(self) -> list[Case]:
        """The photos without a defect."""
        return [case for case in self.cases if case.label == GOOD]

    @cached_property
    def defective(self) -> list[Case]:
        """The photos with a defect."""
        return [case for case in self.cases if case.label != GOOD]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One line of the table by defect type."""

    name: str
    photos: int
    found: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The cases that are shown with pictures.

    misses: the worst, lowest score first. false_alarms: the worst, highest score first. spread: of
    every type, photos spread evenly over its scores; highest score first.
    """

    misses: list[Case]
    false_alarms: list[Case]
    spread: list[Case]

    def __len__(self) -> int:
        """Return the number of shown cases."""
        return len(self.misses) + len(self.false_alarms) + len(self.spread)


def write_report(path: Path, report: EvaluationReport, *, gallery: int = 120) -> None:
    """Write the report as one self-contained HTML file, atomically.

    gallery: the most cases to show with pictures; numbers and charts always count all of them.
    """
    with atomic_write(path, "w") as file:
        file.write(render(report, gallery=gallery))


def render(report: EvaluationReport, *, gallery: int = 120) -> str:
    """Return the report's HTML; the same report gives the same page, byte for byte."""
    ramp = np.tile(np.linspace(0, 1, 192), (12, 1))
    page = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters.update(percent=percent, number=number, picture=data_uri)
    template = resources.files("blemish.experiments").joinpath("report.html.j2")
    return page.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        verdict=verdict(report),
        names=METRICS,
        rows=type_rows(report),
        charts=charts(report),
        gallery=choose(report.cases, gallery),
        labels=sorted({case.label for case in report.cases}, key=lambda name: (name != GOOD, name)),
        outcomes=sorted({case.outcome for case in report.cases}),
        pictures=pictures,
        heat_scale=overlay(np.full((12, 192, 3), 160, np.uint8), ramp),
    )


def verdict(report: EvaluationReport) -> dict[str, str]:
    """Return the result in words: `good`, `defective`, and whether the `target` was kept."""
    words = {}
    rejected = sum(case.anomalous for case in report.good)
    found = sum(case.anomalous for case in report.defective)
    if report.false_alarm_rate is None or not report.good:
        words["good"] = "No good photos were tested, so the false alarm rate is unknown."
        words["target"] = "unknown"
    else:
        low, high = wilson(rejected, len(report.good))
        target = report.target_false_alarm_rate
        above, parts = report.calibration.parts_at_least(report.threshold), report.calibration.parts
        least, most = alarm_rate(above, parts)
        held_out = _photos(len(report.calibration.scores), "good") + report.calibration.of_parts
        words["good"] = (
            f"Of {_photos(len(report.good), 'good')}, {rejected} "
            f"{'was' if rejected == 1 else 'were'} rejected ({percent(report.false_alarm_rate)}; "
            f"95\N{NARROW NO-BREAK SPACE}% interval {percent(low)} to {percent(high)}, {_ASSUMED}). "
            f"The target is {percent(target)}. By the {held_out} that set the "
            f"threshold alone, the rate lies between {percent(least)} and {percent(most)}."
        )
        chance = alarm_chance(rejected, len(report.good), above, parts)
        if report.false_alarm_rate <= target:
            words["target"] = "kept"
        else:
            words["target"] = "within chance" if chance >= _BAD_LUCK else "exceeded"
    if report.detection_rate is None or not report.defective:
        words["defective"] = "No defective photos were tested, so the detection rate is unknown."
    else:
        low, high = wilson(found, len(report.defective))
        words["defective"] = (
            f"Of {_photos(len(report.defective), 'defective')}, {found} "
            f"{'was' if found == 1 else 'were'} found ({percent(report.detection_rate)}; "
            f"95\N{NARROW NO-BREAK SPACE}% interval {percent(low)} to {percent(high)}, {_ASSUMED})."
        )
    return words


def type_rows(report: EvaluationReport) -> list[TypeRow]:
    """Return a line for each defect type, the worst found first."""
    names = dict.fromkeys([*report.per_type, *(case.label for case in report.defective)])
    rows = []
    for name in names:
        cases = [case for case in report.defective if case.label == name]
        found = sum(case.anomalous for case in cases)
        rows.append(TypeRow(name, len(cases), found, report.per_type.get(name, {})))
    return sorted(rows, key=lambda row: row.found / row.photos if row.photos else math.inf)


def charts(report: EvaluationReport) -> dict[str, str]:
    """Return the page's drawings as SVG: `scores`, and `roc` and `pr` where both classes exist."""
    good = np.array([case.score for case in report.good])
    defective = np.array([case.score for case in report.defective])
    groups = [
        Group("good photos", "good", good),
        Group("defective photos", "defect", defective),
        Group("held-out good photos", "held", np.array(report.calibration.scores)),
    ]
    drawn: dict[str, str] = {"scores": histogram(groups, report.threshold)}
    if not len(good) or not len(defective):
        return drawn
    scores = np.concatenate([good, defective])
    truth = np.repeat([False, True], [len(good), len(defective)])
    alarms, hits = (sum(case.anomalous for case in side) for side in (report.good, report.defective))
    recall = hits / len(defective)
    drawn["roc"] = curve_chart(
        roc_curve(scores, truth),
        ("good photos rejected", "defective photos found"),
        description="ROC curve: share of defective photos found against good photos rejected",
        baseline=(0, 1),
        point=(alarms / len(good), recall),
    )
    prevalence = len(defective) / len(scores)
    drawn["pr"] = curve_chart(
        precision_recall_curve(scores, truth),
        ("recall: defective photos found", "precision: alarms that are right"),
        description="Precision-recall curve over photos",
        baseline=(prevalence, prevalence),
        point=(recall, hits / (hits + alarms) if hits + alarms else 1.0),
        steps=True,
    )
    return drawn


def choose(cases: Sequence[Case], most: int) -> Gallery:
    """Return at most `most` cases worth a look: the worst errors, then a sample of each type."""
    ordered = sorted(cases, key=lambda case: (-case.score, case.name))
    room = min(WORST, most // 2)
    misses = [case for case in reversed(ordered) if case.outcome == "missed"][:room]
    false_alarms = [case for case in ordered if case.outcome == "false alarm"][:room]
    taken = {id(case) for case in [*misses, *false_alarms]}
    by_label: dict[str, list[Case]] = {}
    for case in ordered:
        if id(case) not in taken:
            by_label.setdefault(case.label, []).append(case)
    shares = fair_shares([len(group) for group in by_label.values()], most - len(taken))
    spread = [
        group[place]
        for group, share in zip(by_label.values(), shares, strict=True)
        for place in np.linspace(0, len(group) - 1, share).round().astype(int)
    ]
    return Gallery(misses, false_alarms, sorted(spread, key=ordered.index))


def fair_shares(sizes: Sequence[int], total: int) -> list[int]:
    """Return how many to take from groups of these sizes: as evenly as `total` and sizes allow."""
    shares = [0] * len(sizes)
    while total > 0 and (open_groups := [i for i, n in enumerate(sizes) if shares[i] < n]):
        for index in open_groups[:total]:
            shares[index] += 1
        total -= min(total, len(open_groups))
    return shares


def pictures(case: Case) -> list[tuple[str, Photo, str]]:
    """Return a case's three pictures, each with its caption and its description in words."""
    photo = thumbnail(case.photo, LONGEST_SIDE)
    height, width = photo.shape[:2]
    heat = _resized(case.heat, (width, height))
    hot, drawn = overlay(photo, heat), ""
    if case.mask is not None and case.mask.any():
        # Any part of a defect counts, or a hair-thin one would vanish from the thumbnail.
        hot = outlined(hot, _resized(case.mask.astype(np.float32), (width, height)) > 0)
        drawn = "; the true defect is outlined"
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    share = round(100 * column / width), round(100 * row / height)
    peak = f"{heat.max():.2f} at {share[0]} % from the left and {share[1]} % from the top"
    return [
        ("photo", photo, f"Photo {case.name}, {case.label}"),
        (
            "as it should look",
            thumbnail(case.reconstruction, LONGEST_SIDE),
            f"Reconstruction of {case.name} without a defect",
        ),
        ("heat map", hot, f"Heat map of {case.name}: highest value {peak}{drawn}"),
    ]


def data_uri(photo: Photo) -> str:
    """Return a picture (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    # Colour at full resolution: a thin outline would fade into its surroundings otherwise.
    Image.fromarray(photo).save(buffer, "JPEG", quality=86, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage with one decimal, none where it is whole."""
    if share is None or math.isnan(share):
        return "–"
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NARROW NO-BREAK SPACE}%"


def number(value: float | None) -> str:
    """Return a metric with three decimals, a dash where it is undefined."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _photos(count: int, kind: str) -> str:
    return f"{count} {kind} photo{'' if count == 1 else 's'}"


def _resized(plane: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a map (h, w) at another (width, height), averaged over what falls into a pixel."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BOX))
