"""How many pairs there were, by source and by type."""

from __future__ import annotations

from pathlib import Path

from blemish.experiments.pairs_table import pairs_table
from blemish.experiments.tables import Experiment, markdown
from blemish.records import Record


def pairs(*labels: str) -> list[Record]:
    return [Record(Path(f"{n}.png"), label, "train", Path("m.png")) for n, label in enumerate(labels)]


def test_pairs_are_counted_by_type_and_those_of_no_type_in_all():
    sources = {
        "real": pairs("bar", "spot", "bar"),
        "generated": pairs("bar"),
        "draem": pairs("draem", "draem"),
        "elsewhere": pairs("bar", "dent"),
    }
    table = pairs_table("tile", sources, ("bar", "spot"), 40)
    text = markdown(Experiment("t", "l", [table]))
    assert "| real | 2 | 1 | 3 |" in text
    assert "| generated | 1 | 0 | 1 |" in text
    assert "| draem | – | – | 2 |" in text
    assert "| elsewhere | 1 | 0 | 2 |" in text
    assert "40 of each type were asked for" in text
    assert (table.title, table.subject) == ("tile: pairs to learn from", "source")
