"""What generated defects do to a detector: by how many real ones there are, and how many are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from blemish.config import InspectorConfig
from blemish.data import Dataset
from blemish.experiments.detection import DetectorCell
from blemish.experiments.few_shot import NoPairsError, painted
from blemish.experiments.protocol import FewShot, Scale, first_of_each
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.tables import Column, Figure, Plot, Row, Series, Table
from blemish.generator_config import GeneratorConfig
from blemish.records import Record, by_label
from blemish.runtime import logger
from blemish.training import Plan

FIGURES = (
    Column("image_auroc", "image AUROC"),
    Column("pixel_auroc", "pixel AUROC"),
    Column("pixel_ap", "pixel AP"),
    Column("pixel_f1_max", "pixel F1-max"),
    Column("pro", "PRO"),
    Column("false_alarm_rate", "good photos rejected", "none"),
)

WORTH = 0.02
"""Pixel AP that a person would notice; less is not called a gain or a loss."""


@dataclass(frozen=True, slots=True)
class Point:
    """One detector of the loop.

    real: defects of each type that were at hand, 0 for none. shown: whether it learns from them.
    generated: pairs of each type that it learns from, made of those defects: the first that passed the
    gate, and fewer where fewer have.
    """

    real: int
    shown: bool = False
    generated: int = 0

    @property
    def name(self) -> str:
        """Its folder."""
        return f"real{self.real}{'_shown' if self.shown else ''}_generated{self.generated}"

    def words(self, most: int) -> str:
        """Return what it learns from; most: real defects of each type in the whole first third."""
        if not self.real:
            return "good photos alone"
        few = "all few" if self.real >= most else f"{self.real} real"
        made = f"up to {self.generated} generated"
        if self.generated and self.shown:
            return f"{few} + {made}"
        return f"{made} of {few}" if self.generated else few


def loop_points(split: FewShot, scale: Scale) -> list[Point]:
    """Return the points of the loop: whole rows at the full third, and both curves."""
    few = by_label(split.few)
    most = max(len(few[label]) for label in split.types)
    many = max(scale.generated)
    points = [Point(0), Point(most, True), Point(most, False, many), Point(most, True, many)]
    for real in (r for r in scale.shots if r < most):
        points += [Point(real, True), Point(real, True, many)]
    points += [Point(most, True, count) for count in scale.generated if 0 < count < many]
    return points


def loop_cells(
    dataset: Dataset,
    product: str,
    points: Sequence[Point],
    config: InspectorConfig,
    scale: Scale,
    seeds: Sequence[int],
    folder: Path,
    *,
    generator: GeneratorConfig | None = None,
    plan: Plan | None = None,
    device: str = "auto",
) -> Iterator[DetectorCell]:
    """Yield a detector's cell for each point and seed; paints what they learn from.

    One generator for each number of real defects, which has seen no others. Where none of its pairs is
    accepted, its points are left out, but for that of all real ones.

    Raises:
        NoPairsError: nothing that was made of all real ones is accepted.
    """
    split = FewShot.of(dataset)
    goods = replace(dataset, records=(*split.goods, *split.test))
    pairs: dict[int, tuple[Record, ...]] = {}
    most, _ = _most(points)
    for real in sorted({p.real for p in points if p.generated}):
        try:
            pairs[real] = painted(
                dataset,
                split.shots(real),
                generator or GeneratorConfig(),
                max(p.generated for p in points if p.real == real),
                folder / f"of{real}",
                plan=plan or scale.plan({record.label for record in split.few}),
                device=device,
            )[1]
        except NoPairsError as error:
            if real == most:
                raise
            logger.warning("%s", error.args[0])
    for point in (p for p in points if p.real in pairs or not p.generated):
        examples = [*(split.shots(point.real).few if point.shown else ())]
        examples += first_of_each(pairs.get(point.real, ()), point.generated)
        for seed in seeds:
            training = config.training.model_copy(update={"seed": seed})
            yield DetectorCell(
                name=f"{product}/loop/{point.name}/seed{seed}",
                dataset=goods,
                test=split.test,
                config=config.model_copy(update={"training": training}),
                length=scale.detector,
                examples=tuple(examples),
            )


def loop_table(
    product: str, points: Sequence[Point], runs: Mapping[str, Runs], drawn: Redrawn
) -> Table:
    """Return a row for each point; means over the seeds."""
    most, many = _most(points)
    rows = []
    for point in points:
        found = runs[point.name]
        figures = {c.key: Figure(found.mean(c.key)) for c in FIGURES[:-1]}
        value = found.mean("pixel_ap")
        figures["pixel_ap"] = drawn.figure(point.name, "pixel_ap", value)
        alarms = [result["false_alarm_rate"] for result in found.results]
        figures["false_alarm_rate"] = Figure(sum(alarms) / len(alarms))
        examples = found.spread("examples", "detector")
        rows.append(Row(f"{point.words(most)} ({examples} examples)", figures))
    return Table(
        f"{product}: the loop",
        FIGURES,
        rows,
        "Detectors trained equally long, judged on good test photos and on defects that neither they "
        f"nor any generator have read. {many} pairs of each type were asked for; a detector learns "
        "from the first that passed the gate, as many of each type as its row says, if there are. "
        "Examples are these and the real ones, less what is held out to choose the weights. All seeds "
        "share the generators and their pairs. Intervals over test photos redrawn, of maps at 256 "
        "pixels.",
        "learned from",
    )


def loop_plots(
    product: str, points: Sequence[Point], runs: Mapping[str, Runs], drawn: Redrawn
) -> list[Plot]:
    """Return pixel AP by the number of real defects, and by the number of generated ones."""
    most, many = _most(points)

    def at(point: Point) -> Figure:
        return drawn.figure(point.name, "pixel_ap", runs[point.name].mean("pixel_ap"))

    shown = [p for p in points if p.shown or not p.real]
    real = Series("real alone", [(p.real, at(p)) for p in shown if not p.generated])
    both = Series(
        f"real + up to {many} generated of them",
        [(p.real, at(p)) for p in shown if p.generated == many],
    )
    made = Series(
        "all few + generated", [(p.generated, at(p)) for p in shown if p.real == most and p.shown]
    )
    return [
        Plot(
            f"{product}: how many real defects?", [real, both], "real defects of each type", "pixel AP"
        ),
        Plot(
            f"{product}: how many generated?",
            [made],
            f"generated ones of each type, at most (those of {many} that passed the gate)",
            "pixel AP",
        ),
    ]


def recommendation(points: Sequence[Point], runs: Mapping[str, Runs], drawn: Redrawn) -> list[str]:
    """Return in words what the generated defects bought, where they hurt, and how many are enough.

    Only what the redrawn photos tell from no difference is called one.
    """
    most, many = _most(points)
    alone, few, both = Point(0), Point(most, True), Point(most, True, many)
    types = sorted(runs[both.name].results[0]["per_type"])
    least = min(types, key=lambda t: runs[both.name].over_types(t, "pixel_ap") or 0.0)
    counts = sorted(p.generated for p in points if p.real == most and p.shown and p.generated)
    return [
        _bought("The few real defects", alone, few, runs, drawn),
        _bought("Generated defects beside them", few, both, runs, drawn),
        _by_type({t: _gain(few, both, runs, drawn, t) for t in types}),
        _enough({c: _gain(few, Point(most, True, c), runs, drawn) for c in counts})
        or f"No number of generated defects adds {WORTH} of pixel AP that can be told here after "
        f"{runs[both.name].spread('iterations', 'detector')} iterations: photograph more real ones, or "
        "train longer, since what is generated takes longer to learn from.",
        f"The type that is marked worst is {least}: photograph that next.",
    ]


def _most(points: Sequence[Point]) -> tuple[int, int]:
    """Return the largest numbers of real and of generated defects of each type."""
    return max(point.real for point in points), max(point.generated for point in points)


def _gain(
    before: Point, after: Point, runs: Mapping[str, Runs], drawn: Redrawn, label: str | None = None
) -> Figure:
    """Return what a step from one point to another did to pixel AP, of all types or of one."""
    first, last = (
        runs[p.name].mean("pixel_ap") if label is None else runs[p.name].over_types(label, "pixel_ap")
        for p in (before, after)
    )
    value = None if first is None or last is None else last - first
    return drawn.gain(after.name, before.name, "pixel_ap", value, label)


def _verdict(gain: Figure) -> Literal["helped", "hurt"] | None:
    """Return which way a gain goes, where its interval tells it from none."""
    low, high = gain.interval or (0.0, 0.0)
    return "helped" if low > 0 else "hurt" if high < 0 else None


def _by_type(gains: Mapping[str, Figure]) -> str:
    """Return which types gained and which lost what a person would notice, as far as can be told."""
    named: dict[str, list[str]] = {"helped": [], "hurt": []}
    for label, gain in gains.items():
        verdict = _verdict(gain)
        if verdict and gain.value is not None and abs(gain.value) >= WORTH:
            named[verdict].append(f"{label} ({gain.value:+.3f})")
    words = [
        f"{said} {', '.join(labels)}"
        for said, labels in (("help with", named["helped"]), ("hurt", named["hurt"]))
        if labels
    ]
    return (
        f"They {'; they '.join(words)}." if words else "With no single type can a difference be told."
    )


def _enough(gains: Mapping[int, Figure]) -> str:
    """Return the least number that comes near the best, of those whose gain over none can be told.

    gains: over the real ones alone, by the number of generated ones; "" where none adds enough.
    """
    told = {
        count: gain.value
        for count, gain in gains.items()
        if _verdict(gain) == "helped" and gain.value is not None and gain.value >= WORTH
    }
    if not told:
        return ""
    count = min(c for c, value in told.items() if value >= max(told.values()) - WORTH)
    if count == max(gains):
        return f"Up to {count} generated of each type are best; more than these were not tried."
    return (
        f"Up to {count} generated of each type are enough: they add {told[count]:.3f} of pixel AP, "
        f"and no more of them can be told to add another {WORTH}."
    )


def _bought(what: str, before: Point, after: Point, runs: Mapping[str, Runs], drawn: Redrawn) -> str:
    """Return what a step from one point to another did to pixel AP, in words."""
    ends = [runs[p.name].mean("pixel_ap") for p in (before, after)]
    gain = _gain(before, after, runs, drawn)
    if gain.interval is None:
        return f"{what}: pixel AP is undefined."
    low, high = gain.interval
    return (
        f"{what} {_verdict(gain) or 'made no difference that can be told'}: pixel AP {ends[0]:.3f} to "
        f"{ends[1]:.3f} ({gain.value:+.3f}, interval {low:+.3f} to {high:+.3f})."
    )
