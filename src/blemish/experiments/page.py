"""What an experiment found, as one HTML page that needs no script, no network and no other file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2

from blemish.data.pictures import Photo, thumbnail
from blemish.experiments.curves import line_chart, swatch
from blemish.experiments.report import LONGEST_SIDE, data_uri
from blemish.experiments.tables import (
    ARROWS,
    SIGNS,
    Experiment,
    as_json,
    legend,
    markdown,
    marks,
    plot_table,
)
from blemish.runtime import atomic_write, write_json


def write_experiment(folder: Path, experiment: Experiment) -> None:
    """Write `report.html`, `report.md` and `results.json` into a folder, each of them atomically."""
    texts = {"report.html": html(experiment), "report.md": markdown(experiment)}
    write_json(folder / "results.json", as_json(experiment))
    for name, text in texts.items():
        with atomic_write(folder / name, "w") as file:
            file.write(text)


def html(experiment: Experiment) -> str:
    """Return the page; the same experiment gives the same page, byte for byte.

    Raises:
        ValueError: a row of a gallery has not one picture for each head, or a plot cannot be drawn.
    """
    page = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters.update(
        chart=line_chart, swatch=swatch, picture=_picture, marks=marks, legend=legend, points=plot_table
    )
    page.globals.update(pairs=lambda heads, photos: zip(heads, photos, strict=True))
    template = resources.files("blemish.experiments").joinpath("page.html.j2")
    return page.from_string(template.read_text(encoding="utf-8")).render(
        experiment=experiment, arrows=ARROWS, signs=SIGNS
    )


def _picture(photo: Photo) -> str:
    return data_uri(thumbnail(photo, LONGEST_SIDE))
