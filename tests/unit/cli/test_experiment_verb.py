from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blemish.cli import experiments
from blemish.detection import Length
from blemish.experiments.protocol import FAST, PAPER
from blemish.experiments.request import Request
from blemish.experiments.tables import Column, Experiment, Figure, Row, Table
from blemish.training import Plan

pytestmark = pytest.mark.usefixtures("restored_logger")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Request]]:
    """Put a finished report in the place of the experiment, and note what was asked for."""
    found: list[tuple[str, Request]] = []

    def reproduce(name: str, request: Request) -> Experiment:
        found.append((name, request))
        rows = [Row("real", {"a": Figure(0.5, 0.4, 0.6)}), Row("draem", {"a": Figure(None)})]
        return Experiment("t", "l", [Table("tile", [Column("a", "A")], rows)])

    monkeypatch.setattr(experiments, "reproduce_experiment", reproduce)
    return found


def test_a_bare_command_asks_for_the_fast_scale_and_nothing_special(blemish, asked, monkeypatch):
    monkeypatch.setattr("sys.argv", ["anything", "reproduce", "loop", "--data", "my factory"])
    said = blemish("reproduce", "loop", "--data", "factory", "--out", "results")
    assert said.code == 0
    ((name, request),) = asked
    assert name == "loop"
    assert request.command == "blemish reproduce loop --data 'my factory'"
    expected = Request(Path("factory"), Path("results"), FAST, variant="parts", command=request.command)
    assert request == expected


def test_every_option_reaches_the_request(blemish, asked):
    words = "reproduce ablation --data d --out o --scale paper --seeds 0 1 5 --categories nut gear"
    words += " --methods real generated+real --pairs 20 --budget 2m --variant noise --paper-protocol"
    words += " --lpips w --inception i.pth --resnet r.pth"
    words += " --generator-iterations 30 --generator-set masks.rotation=5 --set data.size=64"
    words += " --set training.validations=2 --device cpu"
    assert blemish(*words.split()).code == 0
    ((name, request),) = asked
    assert name == "ablation"
    assert request == Request(
        data=Path("d"),
        out=Path("o"),
        scale=replace(
            PAPER.changed({"pairs": 20, "generated": (0, 20), "detector": Length(seconds=120.0)}),
            classifier=replace(PAPER.classifier, weights="r.pth"),
        ),
        seeds=(0, 1, 5),
        methods=["real", "generated+real"],
        categories=("nut", "gear"),
        variant="noise",
        paper_protocol=True,
        inspector={"data": {"size": 64}, "training": {"validations": 2}},
        generator={"masks": {"rotation": 5}},
        plan=Plan(iterations=30),
        lpips=Path("w"),
        inception=Path("i.pth"),
        devices=("cpu",),
        command=request.command,
    )
    assert request.scale.name == "paper with pairs 20, generated (0, 20), detector 120 seconds"


@pytest.mark.parametrize(
    ("experiment", "words", "field", "expected"),
    [
        ("anomalydiffusion", "--generated dfmgan=pairs/a=b", "generated", {"dfmgan": "pairs/a=b"}),
        ("diffusionad", "--maps PatchCore=maps", "maps", {"PatchCore": "maps"}),
    ],
)
def test_what_others_made_goes_to_the_experiment_that_reads_it_and_to_no_other(
    blemish, asked, experiment, words, field, expected
):
    rest = ["--data", "d", "--out", "o", *words.split()]
    assert blemish("reproduce", experiment, *rest).code == 0
    ((_, request),) = asked
    assert getattr(request, field) == {name: Path(place) for name, place in expected.items()}
    said = blemish("reproduce", "loop", *rest)
    assert said.code == 2
    assert f"give it to `reproduce {experiment}`" in said.talk
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("experiment", "changed"),
    [
        ("anomalydiffusion", {"pairs": 60, "generated": (0, 50, 60)}),
        ("diffusionad", {"detector": Length(seconds=60.0)}),
        ("loop", {"pairs": 60, "generated": (0, 50, 60), "detector": Length(seconds=60.0)}),
    ],
)
def test_a_scale_is_changed_where_the_experiment_uses_it(blemish, asked, experiment, changed):
    words = ["reproduce", experiment, "--data", "d", "--out", "o", "--pairs", 60, "--budget", "1m"]
    assert blemish(*words).code == 0
    assert asked[0][1].scale == FAST.changed(changed)


@pytest.mark.parametrize(
    ("words", "length"),
    [
        ("", Length(iterations=900)),
        ("--iterations 30", Length(iterations=30)),
        ("--budget 30s", Length(seconds=30.0)),
    ],
)
def test_a_detector_of_an_experiment_trains_as_long_as_is_asked(blemish, asked, words, length):
    assert blemish("reproduce", "loop", "--data", "d", "--out", "o", *words.split()).code == 0
    assert asked[0][1].scale.detector == length


def test_without_a_device_every_graphics_card_is_taken(blemish, asked, monkeypatch):
    monkeypatch.setattr(experiments, "all_devices", lambda: ("cuda:0", "cuda:1"))
    blemish("reproduce", "loop", "--data", "d", "--out", "o")
    assert asked[0][1].devices == ("cuda:0", "cuda:1")


def test_a_device_may_be_named_once_for_each_process(blemish, asked):
    blemish("reproduce", "loop", "--data", "d", "--out", "o", "--device", "cpu", "cpu", "--pairs", 3)
    assert asked[0][1].devices == ("cpu", "cpu")


@pytest.mark.usefixtures("asked")
def test_the_tables_are_printed_as_json_and_the_report_is_named(blemish):
    found: list[Any] = blemish("reproduce", "loop", "--data", "d", "--out", "o").lines
    first, second = found
    assert first["table"] == "tile"
    assert [row["name"] for row in first["rows"]] == ["real", "draem"]
    assert first["rows"][0]["figures"]["a"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert first["rows"][1]["figures"]["a"]["value"] is None
    assert second == {"report": str(Path("o") / "report.html")}


@pytest.mark.parametrize("words", ["--generated dfmgan", "--maps =x", "--generated a=", "--set size"])
def test_a_word_that_is_no_pair_is_refused(blemish, asked, words):
    said = blemish("reproduce", "loop", "--data", "d", "--out", "o", *words.split())
    assert said.code == 2
    assert "expected" in said.talk
    assert not asked
