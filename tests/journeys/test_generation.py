"""From a few photos of defects to a labelled dataset and an inspector that has seen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from blemish.config import validated, write_yaml
from blemish.data import read_dataset, read_image, read_mask, write_png, write_sample
from blemish.generation import learn, read_manifest, region_of_interest
from blemish.generator_config import GeneratorConfig
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_defect, draw_good

pytestmark = pytest.mark.usefixtures("restored_logger")

SIDE = 96
POLYGON = "20,20 76,24 60,80"
CORNERS = ((20, 20), (76, 24), (60, 80))


def draw(root: Path, product: str, counts: dict[str, int]) -> Path:
    """A dataset folder with 8 good photos of a product and some of each of its defects."""
    for index in range(8):
        photo = draw_good(product, SIDE, numpy_generator(2, "good", index))
        write_sample(root, "good", f"{index:03d}", photo, split="train")
    for label, count in counts.items():
        for index in range(count):
            rng = numpy_generator(2, label, index)
            write_sample(root, label, f"{index:03d}", *draw_defect(product, label, SIDE, rng))
    return root


@pytest.fixture(scope="module")
def cloth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data") / "cloth", "fabric", {"hole": 3, "stain": 2})


@pytest.fixture(scope="module")
def nuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data") / "nut", "nut", {"rust": 3})


def test_from_a_few_photos_to_an_inspector(blemish, cloth, tiny, tmp_path):
    run, out, masks = tmp_path / "run", tmp_path / "generated", tmp_path / "masks"
    generator, cpu = run / "generator", ["--device", "cpu"]

    learned = blemish("learn", cloth, "--out", run, "--shots", 2, *cpu)
    assert learned.code == 0
    (line,) = learned.lines
    assert line["generator"] == str(generator)
    assert line["learned_from"] == {"hole": 2, "stain": 2}

    drawn = blemish("masks", generator, cloth, "--out", masks, "--count", 2, "--types", "hole", *cpu)
    assert drawn.code == 0
    assert drawn.lines == [{"type": "hole", "masks": 2, "folder": str(masks / "hole")}]
    assert [read_mask(path).any() for path in sorted((masks / "hole").iterdir())] == [True, True]

    words = ["generate", generator, cloth, "--out", out, "--count", 4, "--seed", 4, "--masks", masks]
    words += ["--polygon", POLYGON, *cpu]
    generated = blemish(*words, "--formats", "coco", "yolo")
    assert generated.code == 0
    *types, total = generated.lines
    assert [(line["type"], line["pairs"]) for line in types] == [("hole", 4), ("stain", 4)]
    assert (total["out"], total["pairs"], total["made_now"]) == (str(out), 8, 8)
    assert total["accepted"] == sum(line["accepted"] for line in types)

    entries = read_manifest(out).entries
    inside = region_of_interest(CORNERS, (SIDE, SIDE))
    for entry in entries.values():
        mask, photo = read_mask(out / entry.mask), read_image(out / entry.image)
        assert not mask[~inside].any()
        np.testing.assert_array_equal(photo[~mask], read_image(Path(entry.source))[~mask])
        given = str(masks) in entry.parameters["template"]
        assert given == (entry.label == "hole")

    coco = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    listed = {image["file_name"] for image in coco["images"]}
    accepted = {entry.image for entry in entries.values() if entry.accepted}
    assert accepted <= listed <= {entry.image for entry in entries.values()}
    assert [category["name"] for category in coco["categories"]] == ["hole", "stain"]
    for image in listed:
        label, name = Path(image).parts[-2:]
        copy = out / "yolo" / "images" / "train" / f"{label}_{name}"
        assert copy.read_bytes() == (out / image).read_bytes()
        assert (out / "yolo" / "labels" / "train" / f"{copy.stem}.txt").read_text()

    again = blemish(*words)
    assert again.lines[-1]["made_now"] == 0
    assert again.lines[:2] == types

    reviewed = blemish("review", out, "--generator", generator, "--shown", 2)
    assert reviewed.code == 0
    for line, before in zip(reviewed.lines, types, strict=True):
        sheet = line.pop("sheet")
        assert line == before
        assert read_image(Path(sheet)).shape[1] > 3 * 192

    for sample in ("hole/2", "stain/0"):
        copy = tmp_path / "again" / f"{sample}.png"
        words = ["reproduce-sample", generator, out, sample, "--out", copy, "--masks", masks, *cpu]
        reproduced = blemish(*words)
        assert reproduced.code == 0
        assert reproduced.lines == [{"sample": sample, "out": str(copy), "identical": True}]
        label, index = sample.split("/")
        assert copy.read_bytes() == (out / entries[label, int(index)].image).read_bytes()

    write_yaml(tmp_path / "tiny.yaml", tiny(synthesis={"kind": "texture"}))
    words = ["train", cloth, "--out", tmp_path / "inspector", "--config", tmp_path / "tiny.yaml", *cpu]
    trained = blemish(*words, "--iterations", 2, "--examples", out)
    assert trained.code == 0
    (line,) = trained.lines
    assert line["iterations"] == 2
    assert 0 < line["examples"] <= total["accepted"]
    written = json.loads((tmp_path / "inspector" / "examples.json").read_text(encoding="utf-8"))
    assert written["digest"]

    inspected = blemish("inspect", line["detector"], out / "test" / "hole", *cpu)
    assert inspected.code == 0
    assert len(inspected.lines) == 4


class Made(NamedTuple):
    """A generator, and four pairs that it painted with one attempt each."""

    generator: Path
    out: Path


@pytest.fixture(scope="module")
def made(nuts, tmp_path_factory) -> Made:
    root = tmp_path_factory.mktemp("made")
    config = validated(GeneratorConfig, {"product": {"kind": "object", "turns": ["mirror"]}})
    generator = learn(read_dataset(nuts), config, root / "run", device="cpu")
    once = generator.with_settings({"quality": {"attempts": 1}})
    once.generate(read_dataset(nuts).train, {"rust": 4}, root / "out")
    return Made(root / "run" / "generator", root / "out")


def test_pairs_that_were_refused_are_in_no_dataset(blemish, made, nuts):
    words = ["generate", made.generator, nuts, "--out", made.out, "--count", 4, "--types", "rust"]
    words += ["--set", "quality.attempts=1", "--device", "cpu", "--formats", "coco", "yolo"]
    assert blemish(*words).code == 0
    names = {record.image for record in read_dataset(made.out).train_defects}
    assert 0 < len(names) < 4
    coco = json.loads((made.out / "coco.json").read_text(encoding="utf-8"))
    assert {made.out / image["file_name"] for image in coco["images"]} == names
    assert len(list((made.out / "yolo" / "images").rglob("*.png"))) == len(names)


def test_pairs_can_be_reviewed_without_their_generator(blemish, made):
    assert blemish("review", made.out).code == 0


def test_a_pair_made_with_other_settings_can_be_made_again(blemish, made, tmp_path):
    words = ["reproduce-sample", made.generator, made.out, "rust/1", "--out", tmp_path / "1.png"]
    found = blemish(*words, "--set", "quality.attempts=1", "--device", "cpu")
    assert found.code == 0
    assert found.lines[0]["identical"] is True


@pytest.fixture
def places(nuts, made, product, run_folder, tmp_path) -> dict[str, str]:
    """Names that the wrong commands below may use."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "file").write_text("x")
    mask = np.zeros((SIDE, SIDE), np.bool_)
    write_png(tmp_path / "black.png", mask)
    mask[40:50, 40:50] = True
    write_png(tmp_path / "unknown" / "chip" / "0.png", mask)
    write_png(tmp_path / "flat" / "0.png", mask)
    write_png(tmp_path / "void" / "rust" / "0.png", np.zeros_like(mask))
    write_sample(tmp_path / "bad only", "rust", "0", np.zeros((SIDE, SIDE, 3), np.uint8), mask)
    for index in range(4):
        photo = np.full((SIDE, SIDE, 3), 10 * index, np.uint8)
        write_sample(tmp_path / "unmarked", "good", str(index), photo, split="train")
        write_sample(tmp_path / "unmarked", "rust", str(index), 255 - photo)
    return {
        "data": str(nuts),
        "product": str(product),
        "generator": str(made.generator),
        "run": str(made.generator.parent),
        "out": str(made.out),
        "detector": str(run_folder / "detector"),
        "tmp": str(tmp_path),
    }


SETTLED = " --set product.kind=object --set product.turns=[]"
LEARN = "learn {data} --out {tmp}/run --device cpu" + SETTLED
GENERATE = "generate {generator} {data} --out {tmp}/new --count 1 --device cpu"
MASKS = "masks {generator} {data} --out {tmp}/new --count 1 --device cpu"
AGAIN = "reproduce-sample {generator} {out} rust/0 --out {tmp}/0.png --device cpu"
WRONG = [
    "learn {tmp}/nowhere --out {tmp}/run",
    "learn {tmp}/unmarked --out {tmp}/run",
    "learn {tmp}/bad_only --out {tmp}/run",
    "learn {data} --out {run}" + SETTLED,
    "learn {data} --out {run} --resume --set masks.rotation=5" + SETTLED,
    "learn {data} --out {tmp}/file" + SETTLED,
    LEARN + " --shots 0",
    LEARN + " --shots half",
    LEARN + " --set learning.sead=1",
    LEARN + " --set painting.painter=oil",
    LEARN + " --set painting.painter=network --set learning.backbone={tmp}/nowhere",
    LEARN + " --set painting.painter=network --set learning.backbone={tmp}/empty",
    LEARN + " --config {tmp}/nowhere.yaml",
    LEARN + " --iterations 0",
    LEARN + " --device toaster",
    "generate {tmp}/empty {data} --out {tmp}/new",
    "generate {detector} {data} --out {tmp}/new",
    "generate {generator} {tmp}/nowhere --out {tmp}/new",
    "generate {generator} {tmp}/bad_only --out {tmp}/new --device cpu",
    "generate {generator} {data} --out {out} --count 4 --types rust --seed 9 --device cpu",
    "generate {generator} {data} --out {out} --count 4 --types rust --device cpu",
    "generate {generator} {data} --out {data} --device cpu",
    "generate {generator} {data} --out {tmp}/file --device cpu",
    GENERATE + " --types chip",
    GENERATE + " --count 0",
    GENERATE + " --masks {tmp}/nowhere",
    GENERATE + " --masks {tmp}/empty",
    GENERATE + " --masks {tmp}/flat",
    GENERATE + " --masks {tmp}/unknown",
    GENERATE + " --masks {tmp}/void",
    GENERATE + " --region {tmp}/nowhere.png",
    GENERATE + " --region {tmp}/black.png",
    GENERATE + " --region {tmp}/black.png --polygon 0,0",
    GENERATE + " --polygon 0,0",
    GENERATE + " --polygon 0;0",
    GENERATE + " --set learning.seed=1",
    GENERATE + " --set painting.steps=0",
    GENERATE + " --set painting.painter=network",
    GENERATE + " --formats pascal",
    MASKS + " --types chip",
    MASKS + " --learned",
    "masks {generator} {tmp}/bad_only --out {tmp}/new",
    "review {data}",
    "review {tmp}/nowhere",
    "review {out} --generator {tmp}/empty",
    "review {out} --shown 0",
    AGAIN,
    AGAIN.replace("rust/0", "rust/99"),
    AGAIN.replace("rust/0", "chip/0"),
    AGAIN.replace("rust/0", "rust"),
    AGAIN.replace("rust/0", "rust/x"),
    AGAIN.replace("{out}", "{data}"),
    "train {data} --out {tmp}/run --examples {tmp}/nowhere",
    "train {data} --out {tmp}/run --examples {product}",
]


@pytest.mark.parametrize("command", [LEARN, GENERATE, MASKS])
def test_what_the_wrong_commands_begin_with_is_right(blemish, places, command):
    assert blemish(*command.format(**places).split()).code == 0


@pytest.mark.parametrize("command", WRONG)
def test_what_a_user_can_get_wrong_ends_with_code_2_and_a_sentence(blemish, places, made, command):
    before = (made.out / "manifest.jsonl").read_bytes()
    words = (word.format(**places).replace("bad_only", "bad only") for word in command.split())
    found = blemish(*words)
    assert found.code == 2
    assert "error" in found.talk
    assert "Traceback" not in found.talk
    assert not found.lines
    assert (made.out / "manifest.jsonl").read_bytes() == before
