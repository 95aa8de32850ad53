"""The papers' experiments as a person runs them, in miniature: whole, and a second time for nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from blemish.data import write_sample
from blemish.detection import Length
from blemish.experiments import few_shot, variants
from blemish.experiments.detection import DetectorCell
from blemish.experiments.downstream import ClassificationCell, LocalisationCell
from blemish.experiments.fidelity import FidelityCell
from blemish.experiments.protocol import FAST, SCALES
from blemish.generation import Generator
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_defect, draw_good

pytestmark = pytest.mark.usefixtures("restored_logger")

SIDE = 80
TYPES = {"color": "rust", "scratch": "scratch"}
"""Types of defects that MVTec's metal nuts have, and what is drawn of each."""

REPORT = ("report.html", "report.md", "results.json")
CPU = ["--device", "cpu"]
SMALL = "--device cpu --set data.size=64 --set data.turns=[] --set training.validations=1"
SMALL += " --set training.workers=0 --set denoiser.width=32"
PAINTING = ["--generator-set", "product.turns=[]"]


@pytest.fixture(scope="module")
def mvtec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of one product that has the name of one of MVTec's: 8 good nuts and 6 of each defect."""
    root = tmp_path_factory.mktemp("mvtec")
    for split, count in (("train", 8), ("test", 4)):
        for index in range(count):
            photo = draw_good("nut", SIDE, numpy_generator(3, split, index))
            write_sample(root / "metal_nut", "good", f"{index:03d}", photo, split=split)
    for label, drawn in TYPES.items():
        for index in range(6):
            rng = numpy_generator(3, drawn, index)
            pair = draw_defect("nut", drawn, SIDE, rng)
            write_sample(root / "metal_nut", label, f"{index:03d}", *pair)
    return root


class Small(nn.Sequential):
    """What stands in for a ResNet-34, whose checkpoints alone would take half a gigabyte each."""

    def __init__(self, weights: None, num_classes: int) -> None:
        assert weights is None
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )


@pytest.fixture(autouse=True)
def fast_is_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(
        FAST,
        localiser=replace(FAST.localiser, size=64, width=8, batch=4, iterations=2),
        classifier=replace(FAST.classifier, size=32, batch=4, iterations=2),
        detector=Length(epochs=1),
        shots=(1,),
        generated=(0, 2),
    )
    monkeypatch.setitem(SCALES, "fast", tiny)
    monkeypatch.setattr("torchvision.models.resnet34", Small)


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, whoever trains, paints or judges is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("done again")

    def close() -> None:
        for kind in (LocalisationCell, ClassificationCell, FidelityCell, DetectorCell):
            monkeypatch.setattr(kind, "__call__", refuse)
        monkeypatch.setattr(Generator, "make", refuse)

    return close


def tables(out: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures of the report's tables, by title, row and column."""
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return {
        table["title"]: {
            row["name"]: {key: figure["value"] for key, figure in row["figures"].items()}
            for row in table["rows"]
        }
        for table in found["tables"]
    }


def rows(found: dict[str, Any], title: str) -> list[str]:
    return list(found[title])


def test_anomalydiffusion(blemish, mvtec, tmp_path, finished):
    methods = ["real", "draem", "crop_and_paste", "generated", "generated+real"]
    words = ["reproduce", "anomalydiffusion", "--data", mvtec, "--out", tmp_path, *CPU]
    words += ["--scale", "fast", "--pairs", 2, "--seeds", 0, 1, "--paper-protocol"]
    words += ["--methods", *methods, *PAINTING]
    said = blemish(*words)
    assert said.code == 0
    assert said.lines[-1] == {"report": str(tmp_path / "report.html")}
    assert all((tmp_path / name).stat().st_size > 1000 for name in REPORT)

    found = tables(tmp_path)
    assert [line["table"] for line in said.lines[:-1]] == list(found)
    printed = ["Crop&Paste", "DRAEM", "PRN", "DFMGAN", "AnomalyDiffusion"]
    for title in ("localisation and detection", "the papers' protocol"):
        assert rows(found, f"metal_nut: {title}") == [*methods, *printed]
    assert rows(found, "metal_nut: pixel AP by type") == methods
    classified = rows(found, "metal_nut: classification")
    assert classified[:4] == [method for method in methods if method != "draem"]
    assert "AnomalyDiffusion" in classified[4:]
    assert set(found["metal_nut: pixel AP by type"]["real"]) == set(TYPES)
    for method in methods:
        own = found["metal_nut: localisation and detection"][method]
        results = [
            json.loads(path.read_text(encoding="utf-8"))["result"]["figures"]
            for path in tmp_path.glob(f"metal_nut/localisation/{method}/seed*/result.json")
        ]
        assert len(results) == 2
        assert len(list(tmp_path.glob(f"metal_nut/classification/{method}/seed*/result.json"))) == (
            0 if method == "draem" else 2
        )
        for key, value in own.items():
            assert value == pytest.approx(sum(figures[key] for figures in results) / 2)

    before = {name: (tmp_path / name).read_bytes() for name in REPORT}
    finished()
    again = blemish(*words)
    assert again == said._replace(talk=again.talk)
    assert {name: (tmp_path / name).read_bytes() for name in REPORT} == before


def test_diffusionad(blemish, mvtec, tmp_path, finished):
    words = ["reproduce", "diffusionad", "--data", mvtec, "--out", tmp_path, *SMALL.split()]
    words += ["--paper-protocol"]
    said = blemish(*words, "--scale", "fast")
    assert said.code == 0
    table, best = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["tables"]
    assert best["title"] == "metal_nut: the papers' protocol"
    assert [row["name"] for row in best["rows"]] == [row["name"] for row in table["rows"]]
    assert best["rows"][0]["figures"]["pixel_ap"]["value"] is not None
    ours, *others = table["rows"]
    assert (table["title"], ours["name"], ours["origin"]) == ("metal_nut", "DiffusionAD", "measured")
    assert {"PatchCore", "DRAEM", "DiffusionAD"} <= {row["name"] for row in others}
    assert {row["origin"] for row in others} == {"printed"}
    path = tmp_path / "metal_nut/detection/DiffusionAD/seed0/result.json"
    result = json.loads(path.read_text(encoding="utf-8"))["result"]
    own = {key: figure["value"] for key, figure in ours["figures"].items()}
    assert own == result["figures"] | result["costs"]

    before = (tmp_path / "results.json").read_bytes()
    finished()
    assert blemish(*words).lines == said.lines
    assert (tmp_path / "results.json").read_bytes() == before
    assert blemish(*words, "--set", "diffusion.guidance=2").code == 2


def test_loop(blemish, mvtec, tmp_path, finished):
    words = ["reproduce", "loop", "--data", mvtec, "--out", tmp_path, *SMALL.split(), *PAINTING]
    said = blemish(*words, "--scale", "fast")
    assert said.code == 0
    found = tables(tmp_path)
    expected = ["good photos alone", "all few", "up to 2 generated of all few"]
    expected += ["all few + up to 2 generated", "1 real", "1 real + up to 2 generated"]
    named = [row.rpartition(" (") for row in rows(found, "metal_nut: the loop")]
    assert [name for name, _, _ in named] == expected
    assert named[0][2] == "0 examples)"
    assert all(re.fullmatch(r"[1-9]\d* examples\)", told) for _, _, told in named[1:])
    assert rows(found, "metal_nut: pixel AP by type") == expected
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert content["lead"].startswith("metal_nut: The few real defects ")
    assert len(content["plots"]) == 2

    before = (tmp_path / "results.json").read_bytes()
    finished()
    assert blemish(*words).lines == said.lines
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("variant", "chosen", "printed", "plots"),
    [
        ("reconstruction", ["one_step", "norm_guided"], 4, 0),
        ("noise", ["one step, t = 200", "one step, t = 400"], None, 1),
    ],
)
def test_an_ablation(blemish, mvtec, tmp_path, monkeypatch, finished, variant, chosen, printed, plots):
    two = {name: variants.DETECTION[variant][name] for name in chosen}
    monkeypatch.setitem(variants.DETECTION, variant, two)
    words = ["reproduce", "ablation", "--data", mvtec, "--out", tmp_path, *SMALL.split()]
    words += ["--variant", variant]
    said = blemish(*words)
    assert said.code == 0
    found = tables(tmp_path)
    assert rows(found, f"metal_nut: {variant}") == chosen
    assert len(found) == (1 if printed is None else 2)
    if printed is not None:
        assert len(rows(found, "As printed: ablation: architecture and denoising")) == printed
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert len(content["plots"]) == plots
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "metal_nut: the normal look" in page
    before = (tmp_path / "results.json").read_bytes()
    finished()
    assert blemish(*words).lines == said.lines
    assert (tmp_path / "results.json").read_bytes() == before


class StopError(Exception):
    """What was asked for is known."""


def test_what_the_first_products_gave_is_told_where_a_later_one_fails(
    blemish, mvtec, tmp_path, monkeypatch
):
    monkeypatch.setitem(variants.DETECTION, "guidance", {"guidance 1": {}})
    for name in ("metal_nut", "screw"):
        shutil.copytree(mvtec / "metal_nut", tmp_path / "data" / name)
    words = ["reproduce", "ablation", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    words += [*SMALL.split(), "--variant", "guidance"]
    run = DetectorCell.__call__

    def fail_at_the_second(cell: DetectorCell, folder: Path, device: str) -> Any:
        if cell.name.startswith("screw"):
            raise StopError
        return run(cell, folder, device)

    with monkeypatch.context() as patch:
        patch.setattr(DetectorCell, "__call__", fail_at_the_second)
        with pytest.raises(StopError):
            blemish(*words)
    place = tmp_path / "out" / "results.json"
    left = "Not finished: 1 of 2 products so far. The same command goes on."
    assert list(tables(tmp_path / "out")) == ["metal_nut: guidance"]
    assert left in json.loads(place.read_text(encoding="utf-8"))["notes"]

    assert blemish(*words).code == 0
    names = ["All products", "metal_nut: guidance", "screw: guidance"]
    assert list(tables(tmp_path / "out")) == names
    assert left not in json.loads(place.read_text(encoding="utf-8"))["notes"]


def test_a_variant_that_paints_nothing_usable_costs_its_own_row_alone(
    blemish, mvtec, tmp_path, monkeypatch
):
    def paint(_: Any, split: Any, __: Any, ___: int, folder: Path, **____: Any) -> Any:
        if folder.parent.name in failing:
            raise few_shot.NoPairsError("none of the pairs has passed the gate", hint="look")
        product = SimpleNamespace(kind="object", turns=())
        return SimpleNamespace(config=SimpleNamespace(product=product)), split.few

    monkeypatch.setattr(few_shot, "painted", paint)
    words = ["reproduce", "ablation", "--data", mvtec, "--out", tmp_path, *CPU]
    words += ["--variant", "editing", "--generator-iterations", 5, "--pairs", 3]
    failing = [*variants.EDITING]
    said = blemish(*words)
    assert said.code == 2
    assert "no variant of the generator has made pairs" in said.talk
    failing = ["full"]
    assert blemish(*words).code == 0
    (kept,) = (name for name in variants.EDITING if name != "full")
    found = tables(tmp_path)
    assert rows(found, "metal_nut: editing") == [kept]
    assert found["metal_nut: pairs to learn from"] == {
        kept: {**dict.fromkeys(TYPES, 2.0), "all pairs": 4.0}
    }
    notes = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["notes"]
    assert "metal_nut: no row of full: none of the pairs has passed the gate." in notes


@pytest.mark.parametrize(
    ("products", "given", "taken"),
    [
        (["metal_nut"], "pairs", "pairs"),
        (["metal_nut"], "tree", "tree/metal_nut"),
        (["metal_nut", "screw"], "tree", "tree/metal_nut"),
        (["metal_nut", "screw"], "pairs", "pairs/metal_nut"),
    ],
)
def test_other_peoples_pairs_lie_in_a_folder_for_each_product_unless_there_is_one(
    blemish, mvtec, tmp_path, monkeypatch, products, given, taken
):
    asked = {}

    def note(_: Any, methods: Any, imported: Any) -> None:
        asked.update(imported, methods=methods)
        raise StopError

    monkeypatch.setattr(few_shot, "imported_pairs", note)
    for name in products:
        shutil.copytree(mvtec / "metal_nut", tmp_path / "data" / name)
    (tmp_path / "tree" / "metal_nut").mkdir(parents=True)
    words = ["reproduce", "anomalydiffusion", "--data", tmp_path / "data", "--out", tmp_path / "out"]
    with pytest.raises(StopError):
        blemish(*words, "--generated", f"dfmgan={tmp_path / given}", "--methods", "real", "dfmgan")
    assert asked == {"dfmgan": tmp_path / taken, "methods": ("real", "dfmgan", "dfmgan+real")}


WRONG = {
    "ablation --variant colours": "there is no ablation 'colours'",
    "ablation --variant parts": "give --generator-iterations",
    "anomalydiffusion --methods real+dfmgan --pairs 1": "there are no pairs of 'dfmgan'",
    "anomalydiffusion --generated dfmgan=nowhere --pairs 1": "nowhere does not exist",
    "anomalydiffusion --categories bottle": "has no bottle",
    "anomalydiffusion --seeds 0 1 0": "a seed is given twice",
    "anomalydiffusion --lpips nowhere": "the weights of VGG16 are not here",
    "anomalydiffusion --inception nowhere.pth": "the weights of InceptionV3 are not here",
    "anomalydiffusion --resnet nowhere.pth": "the weights of ResNet-34 are not here",
    "loop --paper-protocol": "does not read --paper-protocol",
    "diffusionad --set training.sead=1": "training.sead: there is no such setting",
    "diffusionad --maps PatchCore=nowhere": "nowhere/metal_nut/maps/color/000.npy cannot be read",
    "loop --generator-set painting.step=1": "painting.step: there is no such setting",
    "loop --device toaster": "there is no device 'toaster'",
}


@pytest.mark.parametrize(("command", "told"), WRONG.items())
def test_what_a_user_can_get_wrong_ends_with_code_2_and_a_sentence(
    blemish, mvtec, tmp_path, command, told, finished
):
    name, *options = command.split()
    finished()
    said = blemish("reproduce", name, "--data", mvtec, "--out", tmp_path, *CPU, *options)
    assert said.code == 2
    assert "error: " in said.talk
    assert told in said.talk
    assert "Traceback" not in said.talk
    assert not said.lines
    assert not (tmp_path / "report.html").exists()
