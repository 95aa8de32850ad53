"""What generated defects do to a detector: by how many real ones there are, and how many are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blemish.config import InspectorConfig
from blemish.data import Dataset
from blemish.experiments.detection import DetectorCell
from blemish.experiments.few_shot import painted
from blemish.experiments.protocol import FewShot, Scale, first_of_each
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.tables import Column, Figure, Plot, Row, Series, Table
from blemish.generator_config import GeneratorConfig
from blemish.records import Record, by_label
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
    generated: pairs of each type that it learns from, made of those defects.
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
        if self.generated and self.shown:
            return f"{few} + {self.generated} generated"
        return f"{self.generated} generated of {few}" if self.generated else few


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

    One generator for each number of real defects, which has seen no others.
    """
    split = FewShot.of(dataset)
    goods = replace(dataset, records=(*split.goods, *split.test))
    pairs: dict[int, tuple[Record, ...]] = {}
    for real in sorted({p.real for p in points if p.generated}):
        pairs[real] = painted(
            dataset,
            split.shots(real),
            generator or GeneratorConfig(),
            max(p.generated for p in points if p.real == real),
            folder / f"of{real}",
            plan=plan or scale.plan({record.label for record in split.few}),
            device=device,
        )[1]
    for point in points:
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
    most = max(point.real for point in points)
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
        "nor any generator have read. So many are generated of each type; examples are those that pass "
        "the gate and the real ones, less what is held out to choose the weights. All seeds share the "
        "generators and their pairs. Intervals over test "
        "photos redrawn, of maps at 256 pixels.",
        "learned from",
    )


def loop_plots(
    product: str, points: Sequence[Point], runs: Mapping[str, Runs], drawn: Redrawn
) -> list[Plot]:
    """Return pixel AP by the number of real defects, and by the number of generated ones."""
    most = max(point.real for point in points)
    many = max(point.generated for point in points)

    def at(point: Point) -> Figure:
        return drawn.figure(point.name, "pixel_ap", runs[point.name].mean("pixel_ap"))

    shown = [p for p in points if p.shown or not p.real]
    real = Series("real alone", [(p.real, at(p)) for p in shown if not p.generated])
    both = Series(
        f"real + {many} generated of them", [(p.real, at(p)) for p in shown if p.generated == many]
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
            "asked for of each type",
            "pixel AP",
        ),
    ]


def recommendation(points: Sequence[Point], runs: Mapping[str, Runs], drawn: Redrawn) -> list[str]:
    """Return in words what the generated defects bought, where they hurt, and how many are enough."""
    most = max(point.real for point in points)
    many = max(point.generated for point in points)
    alone, few, both = Point(0), Point(most, True), Point(most, True, many)
    words = [
        _bought("The few real defects", alone, few, runs, drawn),
        _bought("Generated defects beside them", few, both, runs, drawn),
    ]
    types = sorted(runs[both.name].results[0]["per_type"])
    gains = {t: _gain(runs, few, both, t) for t in types}
    hurt = [f"{t} ({g:+.3f})" for t, g in gains.items() if g is not None and g <= -WORTH]
    helped = [f"{t} ({g:+.3f})" for t, g in gains.items() if g is not None and g >= WORTH]
    words.append(
        f"They help with {', '.join(helped) or 'no type'}; they hurt {', '.join(hurt) or 'none'}."
    )
    counts = sorted(p.generated for p in points if p.real == most and p.shown)
    values = {c: runs[Point(most, True, c).name].mean("pixel_ap") or 0.0 for c in counts}
    enough = next(c for c in counts if values[c] >= max(values.values()) - WORTH)
    if not enough:
        words.append(
            f"No number of generated defects adds as much as {WORTH} of pixel AP here after "
            f"{runs[both.name].spread('iterations', 'detector')} iterations: photograph more real "
            "ones, or train longer, since what is generated takes longer to learn from."
        )
    elif enough < many:
        words.append(
            f"{enough} generated of each type are enough: more add less than {WORTH} of pixel AP."
        )
    else:
        words.append(f"{enough} generated of each type are best; more than these were not tried.")
    least = min(types, key=lambda t: runs[both.name].over_types(t, "pixel_ap") or 0.0)
    words.append(f"The type that is marked worst is {least}: photograph that next.")
    return words


def _gain(runs: Mapping[str, Runs], before: Point, after: Point, label: str) -> float | None:
    ends = [runs[p.name].over_types(label, "pixel_ap") for p in (before, after)]
    return None if ends[0] is None or ends[1] is None else ends[1] - ends[0]


def _bought(what: str, before: Point, after: Point, runs: Mapping[str, Runs], drawn: Redrawn) -> str:
    """Return what a step from one point to another did to pixel AP, in words."""
    ends = [runs[p.name].mean("pixel_ap") for p in (before, after)]
    if ends[0] is None or ends[1] is None:
        return f"{what}: pixel AP is undefined."
    gain = drawn.gain(after.name, before.name, "pixel_ap", ends[1] - ends[0])
    low, high = gain.interval or (float("nan"), float("nan"))
    verdict = "helped" if low > 0 else "hurt" if high < 0 else "made no difference that can be told"
    return (
        f"{what} {verdict}: pixel AP {ends[0]:.3f} to {ends[1]:.3f} "
        f"({gain.value:+.3f}, interval {low:+.3f} to {high:+.3f})."
    )
