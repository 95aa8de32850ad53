from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from blemish.data import read_dataset, read_image, read_mask
from blemish.data.layouts import MANIFEST
from blemish.errors import DatasetError
from blemish.generation.manifest import read_manifest
from blemish.generation.reviewing import PairFolder


@pytest.fixture(scope="module")
def made(generator, dataset, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pairs") / "made"
    generator.generate(dataset.train, {"rust": 2, "scratch": 2}, root, processes=1)
    return root


@pytest.fixture
def root(made, tmp_path) -> Path:
    """A folder of two pairs of each type, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "pairs"))


def drawn() -> np.ndarray:
    mask = np.zeros((96, 96), np.bool_)
    mask[20:30, 40:60] = True
    return mask


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_pairs_are_those_of_the_manifest_in_its_order(root):
    found = PairFolder(root).pairs()
    assert [(pair.label, pair.image.stem) for pair in found] == [
        (label, f"{index:06d}") for label in ("rust", "scratch") for index in range(2)
    ]
    assert len({pair.id for pair in found}) == 4
    assert not any(pair.reviewed for pair in found)


def test_a_decision_changes_its_own_line_and_nothing_else(root):
    folder, before = PairFolder(root), contents(root)
    lines = (root / MANIFEST).read_text(encoding="utf-8").splitlines()
    pair = folder.pairs()[1]
    told = folder.decide(pair.id, accepted=not pair.accepted)
    assert (told.accepted, told.reviewed) == (not pair.accepted, True)
    after = (root / MANIFEST).read_text(encoding="utf-8").splitlines()
    changed = [
        (old, new) for old, new in zip(lines, after, strict=True) if json.loads(old) != json.loads(new)
    ]
    ((old, new),) = changed
    assert json.loads(new) == {**json.loads(old), "accepted": told.accepted, "reviewed": True}
    assert contents(root) == before


def test_what_people_decided_survives_a_run_that_goes_on_in_the_folder(root, generator, dataset):
    folder = PairFolder(root)
    rejected, corrected, *_ = folder.pairs()
    folder.decide(rejected.id, accepted=False)
    folder.correct(corrected.id, drawn())
    kept = folder.keep(
        generator.paint_judged(read_image(dataset.train[0].image), "rust"),
        "rust",
        dataset.train[0].image,
        {"seed": 0},
    )
    generator.generate(dataset.train, {"rust": 3, "scratch": 2}, root, processes=1)
    known = {pair.id: pair for pair in folder.pairs()}
    assert len(known) == 6
    assert (known[rejected.id].accepted, known[rejected.id].reviewed) == (False, True)
    assert known[corrected.id].reviewed
    np.testing.assert_array_equal(read_mask(known[corrected.id].mask), drawn())
    assert known[kept.id].facts["parameters"]["seed"] == 0
    entry = read_manifest(root).entries["rust", 0]
    assert (entry.accepted, entry.reviewed) == (False, True)


def test_training_takes_what_was_accepted_and_the_corrected_mask(root):
    folder = PairFolder(root)
    for pair in folder.pairs():
        folder.decide(pair.id, accepted=pair.label == "rust")
    corrected = folder.correct(folder.pairs()[0].id, drawn())
    records = read_dataset(root).train_defects
    assert {record.label for record in records} == {"rust"}
    masks = {record.image: record.mask for record in records}
    np.testing.assert_array_equal(read_mask(masks[corrected.image]), drawn())


def test_a_kept_painting_starts_a_folder_and_names_what_it_is_made_of(tmp_path, generator, dataset):
    folder, source = PairFolder(tmp_path / "new"), dataset.train[1].image
    painted = generator.paint_judged(source, "scratch", drawn(), seed=4)
    pairs = [folder.keep(painted, "scratch", source, {"by_hand": True}) for _ in range(2)]
    assert [pair.image.stem for pair in pairs] == ["hand-000000", "hand-000001"]
    for record in read_dataset(tmp_path / "new").train_defects:
        np.testing.assert_array_equal(read_image(record.image), painted.painting.image)
        np.testing.assert_array_equal(read_mask(record.mask), painted.painting.mask)
        assert record.made_of == painted.exemplars != ()
        assert record.synthetic


def test_pairs_whose_files_were_deleted_are_not_shown(root):
    pair = PairFolder(root).pairs()[0]
    pair.image.unlink()
    assert pair.id not in {other.id for other in PairFolder(root).pairs()}
    with pytest.raises(DatasetError, match="there is no pair"):
        PairFolder(root).decide(pair.id, accepted=True)


def test_a_folder_that_is_not_there_has_no_pairs(tmp_path):
    assert PairFolder(tmp_path / "nothing").pairs() == []


def test_the_unfinished_line_of_a_killed_run_is_passed_over(root):
    with (root / MANIFEST).open("a", encoding="utf-8") as file:
        file.write('{"image": "test/rust/0000')
    assert len(PairFolder(root).pairs()) == 4


def test_a_whole_last_line_counts_though_an_editor_left_out_its_end(root):
    manifest = root / MANIFEST
    manifest.write_text(manifest.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    folder = PairFolder(root)
    *_, last = folder.pairs()
    assert len(folder.pairs()) == 4
    folder.decide(folder.pairs()[0].id, accepted=False)
    assert folder.pairs()[-1].image == last.image
    assert len(read_manifest(root).entries) == 4


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("no json\n", "not JSON lines"),
        ('{"image": "../x.png", "mask": "m.png", "synthetic": true}\n', "leaves"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(root, line, problem):
    with (root / MANIFEST).open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(DatasetError, match=problem):
        PairFolder(root).pairs()
