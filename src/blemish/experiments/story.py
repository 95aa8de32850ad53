"""One page for the whole story: the few defects, those generated from them, and what they bought."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from blemish.data import natural_key
from blemish.generation import Entry, read_manifest
from blemish.runtime import atomic_write

FIGURES = (
    ("image_auroc", "Image AUROC", "a defective photo outranks a good one"),
    ("pixel_auroc", "Pixel AUROC", "a defective pixel outranks a good one"),
    ("pixel_ap", "Pixel AP", "precision over all recalls, pixel by pixel"),
    ("pixel_f1_max", "Pixel F1-max", "the best balance of the two"),
    ("pro", "PRO", "share of each defect that is covered"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a detector without generated defects and of one with them; None = undefined."""

    title: str
    means: str
    without: float | None
    with_: float | None

    @property
    def gain(self) -> float | None:
        """What the generated defects and the few real ones added."""
        known = self.without is not None and self.with_ is not None
        return self.with_ - self.without if known else None  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Chapter:
    """One product. sheets: title and PNG in base64; reports: name and path beside the page."""

    product: str
    rows: tuple[Row, ...]
    sheets: tuple[tuple[str, str], ...]
    reports: tuple[tuple[str, str], ...]


def chapter(product: str, run: Path, figures: Mapping[str, Mapping[str, Any]]) -> Chapter:
    """Return a product's chapter.

    run: with `sheets/<type>.png`, and with `generated` where pairs were; figures: `without` and `with`.
    """
    pairs = read_manifest(run / "generated").entries.values()
    rows = (
        Row(title, means, figures["without"].get(name), figures["with"].get(name))
        for name, title, means in FIGURES
    )
    sheets = sorted((run / "sheets").glob("*.png"), key=lambda path: natural_key(path.name))
    root = run.parent.parent
    return Chapter(
        product,
        tuple(rows),
        tuple(
            (_title(sheet.stem, pairs), base64.b64encode(sheet.read_bytes()).decode())
            for sheet in sheets
        ),
        tuple(
            (f"{name} generated defects", Path(found["report"]).relative_to(root).as_posix())
            for name, found in figures.items()
        ),
    )


def _title(label: str, pairs: Collection[Entry]) -> str:
    """Return a type with how many of its pairs passed the gate."""
    passed = [pair.accepted for pair in pairs if pair.label == label]
    return f"{label}: {sum(passed)} of {len(passed)} passed the gate" if passed else label


def write_story(path: Path, chapters: Sequence[Chapter]) -> None:
    """Write the page, self-contained but for the links to the reports beside it; atomic."""
    template = Path(__file__).with_name("story.html.j2").read_text(encoding="utf-8")
    page = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    with atomic_write(path, "w") as file:
        file.write(page.from_string(template).render(chapters=chapters))
