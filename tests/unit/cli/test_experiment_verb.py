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


COMMON = "--data d --out o --scale paper --seeds 0 1 5 --categories nut gear --pairs 20"
COMMON += " --generator-iterations 30 --generator-set masks.rotation=5 --device cpu"
ASKED = Request(
    data=Path("d"),
    out=Path("o"),
    scale=PAPER.changed({"pairs": 20, "generated": (0, 20)}),
    seeds=(0, 1, 5),
    categories=("nut", "gear"),
    generator={"masks": {"rotation": 5}},
    plan=Plan(iterations=30),
    devices=("cpu",),
)


def test_every_option_of_an_ablation_reaches_the_request(blemish, asked):
    assert blemish("reproduce", "ablation", *COMMON.split(), "--variant", "tokens").code == 0
    ((name, request),) = asked
    assert name == "ablation"
    assert request == replace(ASKED, variant="tokens", command=request.command)
    assert request.scale.name == "paper with pairs 20, generated (0, 20)"


def test_every_option_of_the_loop_reaches_the_request(blemish, asked):
    words = "--budget 2m --set data.size=64 --set training.validations=2"
    assert blemish("reproduce", "loop", *COMMON.split(), *words.split()).code == 0
    ((_, request),) = asked
    assert request == replace(
        ASKED,
        scale=PAPER.changed({"pairs": 20, "generated": (0, 20), "detector": Length(seconds=120.0)}),
        inspector={"data": {"size": 64}, "training": {"validations": 2}},
        command=request.command,
    )
    assert request.scale.name == "paper with pairs 20, generated (0, 20), detector 120 seconds"


def test_every_option_of_the_tables_reaches_the_request(blemish, asked):
    words = "--methods real generated+real --paper-protocol --lpips w --inception i.pth --resnet r.pth"
    assert blemish("reproduce", "anomalydiffusion", *COMMON.split(), *words.split()).code == 0
    ((_, request),) = asked
    assert request == replace(
        ASKED,
        scale=replace(ASKED.scale, classifier=replace(PAPER.classifier, weights="r.pth")),
        methods=["real", "generated+real"],
        paper_protocol=True,
        lpips=Path("w"),
        inception=Path("i.pth"),
        command=request.command,
    )


PAINTS = ("anomalydiffusion", "loop", "ablation --variant parts")
DETECTS = ("diffusionad", "loop", "ablation --variant noise")


@pytest.mark.parametrize(
    ("words", "readers"),
    [
        ("--paper-protocol", ("anomalydiffusion", "diffusionad")),
        ("--methods real", PAINTS[:1]),
        ("--lpips w", PAINTS[:1]),
        ("--inception i.pth", PAINTS[:1]),
        ("--resnet r.pth", PAINTS[:1]),
        ("--generator-set masks.rotation=5", PAINTS),
        ("--generator-iterations 30", PAINTS),
        ("--pairs 20", PAINTS),
        ("--maps a=b", DETECTS[:1]),
        ("--iterations 30", DETECTS),
        ("--budget 3m", DETECTS),
        ("--set training.lr=1e-3", DETECTS),
    ],
)
@pytest.mark.parametrize(
    "experiment",
    ["anomalydiffusion", "diffusionad", "loop", "ablation --variant noise", "ablation --variant parts"],
)
def test_an_option_is_refused_where_it_does_nothing(blemish, asked, words, readers, experiment):
    said = blemish("reproduce", *experiment.split(), "--data", "d", "--out", "o", *words.split())
    assert said.code == (0 if experiment in readers else 2)
    assert len(asked) == (experiment in readers)
    if experiment not in readers:
        assert f"`reproduce {experiment}` does not read {words.split()[0]}" in said.talk
        assert all(f"`reproduce {reader}`" in said.talk for reader in readers)


def test_a_variant_is_of_an_ablation(blemish, asked):
    said = blemish("reproduce", "loop", "--data", "d", "--out", "o", "--variant", "noise")
    assert said.code == 2
    assert "`reproduce loop` does not read --variant" in said.talk
    assert "give it to `reproduce ablation`" in said.talk
    assert asked == []


def test_a_name_is_given_to_one_folder(blemish, asked):
    words = "--generated a=x --generated a=y"
    said = blemish("reproduce", "anomalydiffusion", "--data", "d", "--out", "o", *words.split())
    assert said.code == 2
    assert "a is given twice" in said.talk
    assert not asked


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
    ("words", "changed"),
    [
        ("anomalydiffusion --pairs 60", {"pairs": 60, "generated": (0, 50, 60)}),
        ("diffusionad --budget 1m", {"detector": Length(seconds=60.0)}),
        (
            "loop --pairs 60 --budget 1m",
            {"pairs": 60, "generated": (0, 50, 60), "detector": Length(seconds=60.0)},
        ),
    ],
)
def test_a_scale_is_changed_by_what_is_asked_for(blemish, asked, words, changed):
    assert blemish("reproduce", *words.split(), "--data", "d", "--out", "o").code == 0
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
