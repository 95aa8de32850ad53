from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.config import validated
from blemish.data import read_dataset, read_image, read_sample, write_png, write_sample
from blemish.errors import ConfigError, DatasetError, ImageError
from blemish.generation import Generator, learn, region_of_interest
from blemish.generation.goods import Goods
from blemish.generation.manifest import Run, read_manifest
from blemish.generation.masks import Template
from blemish.generation.workers import workers
from blemish.generator_config import GeneratorConfig
from blemish.runtime import file_sha256

COUNTS = {"rust": 2, "scratch": 3}
CENTRE = ((20.0, 20.0), (76.0, 24.0), (60.0, 80.0))
"""A triangle around the middle of the nut."""


class Killed(BaseException):
    pass


def contents(root):
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(generator, dataset, tmp_path_factory) -> Path:
    """A finished run; the tests do not change it."""
    out = tmp_path_factory.mktemp("generated") / "whole"
    generator.generate(dataset.train, COUNTS, out, seed=0)
    return out


@pytest.fixture(scope="module")
def entries(whole):
    return list(read_manifest(whole).entries.values())


@pytest.fixture
def photo(dataset):
    return read_image(dataset.train[2].image)


def test_exactly_as_many_pairs_as_were_asked_for_are_there(whole, entries):
    assert sorted(entry.key for entry in entries) == [
        ("rust", 0), ("rust", 1), ("scratch", 0), ("scratch", 1), ("scratch", 2)
    ]  # fmt: skip
    photos = [path for path in (whole / "test").rglob("*.png") if path.is_file()]
    assert len(photos) == len(list((whole / "ground_truth").rglob("*.png"))) == 5


def test_outside_the_mask_a_pair_is_its_good_photo_bit_for_bit(whole, entries):
    for entry in entries:
        sample, source = read_sample(entry.record(whole)), read_image(Path(entry.source))
        np.testing.assert_array_equal(sample.image[~sample.mask], source[~sample.mask])
        assert (sample.image[sample.mask] != source[sample.mask]).any()


def test_the_folder_is_a_dataset_of_good_photos_and_of_defects_to_learn_from(whole, entries, dataset):
    found = read_dataset(whole)
    for copy, original in zip(found.train, dataset.train, strict=True):
        assert copy.image.read_bytes() == original.image.read_bytes()
    accepted = {entry.record(whole) for entry in entries if entry.accepted}
    assert set(found.train_defects) == accepted
    assert all(record.synthetic and record.mask for record in found.train_defects)
    assert not found.test


def test_a_manifest_line_says_how_its_pair_was_made(entries, generator, dataset):
    goods = {record.image.as_posix() for record in dataset.train}
    for entry in entries:
        own = [one.template.source for one in generator.repertoire.exemplars[entry.label]]
        pool = Goods(dataset.train, generator.kind).digest
        assert entry.run == Run(0, generator.model, generator.settings(), pool)
        assert entry.source in goods
        assert entry.parameters["template"] in own
        assert 0 <= entry.parameters["attempt"] < entry.attempts <= 4
        assert len(entry.refused) == entry.attempts - entry.accepted
        assert entry.accepted != bool(entry.reasons)


def test_the_first_attempt_that_passes_is_taken(entries):
    late = [entry for entry in entries if entry.accepted and entry.attempts > 1]
    assert late
    for entry in entries:
        if entry.accepted:
            assert entry.parameters["attempt"] == entry.attempts - 1
        else:
            assert entry.reasons == entry.refused[entry.parameters["attempt"]]
            assert len(entry.reasons) == min(map(len, entry.refused))


class Watched:
    """A painter that remembers the real defects that it was given."""

    def __init__(self, painter):
        self.painter, self.given = painter, []

    def __getattr__(self, name):
        return getattr(self.painter, name)

    def fill(self, photo, mask, label, sources, *rest):
        self.given.append(sources)
        return self.painter.fill(photo, mask, label, sources, *rest)


@pytest.mark.parametrize("sources", [1, 2])
def test_a_pair_names_the_photos_of_the_real_defects_that_it_was_made_of(
    generator, dataset, tmp_path, sources
):
    how = {"sources": sources, "transplants": 0}
    once = generator.with_settings({"painting": how, "quality": {"attempts": 1}})
    once.painter = watched = Watched(once.painter)
    entries = once.generate(dataset.train, COUNTS, tmp_path, processes=1)
    of_mask = {file_sha256(r.mask): file_sha256(r.image) for r in dataset.defects}
    photos = {read_image(r.image).tobytes(): file_sha256(r.image) for r in dataset.defects}
    assert len(watched.given) == len(entries) == 5
    for entry, given in zip(entries, watched.given, strict=True):
        expected = {photos[one.image.tobytes()] for one in given}
        expected.add(of_mask[entry.parameters["template_sha256"]])
        assert entry.parameters["exemplars"] == sorted(expected)
        assert set(entry.record(tmp_path).made_of) == expected
    assert {len(entry.parameters["exemplars"]) for entry in entries} == {sources, sources + 1}


@pytest.mark.parametrize("survivors", [0, 1, 4])
def test_a_killed_run_started_again_is_one_run(generator, dataset, tmp_path, whole, survivors):
    made = []

    def until_killed(entry):
        made.append(entry)
        if len(made) == survivors:
            raise Killed

    if survivors:
        with pytest.raises(Killed):
            generator.generate(dataset.train, COUNTS, tmp_path, seed=0, report=until_killed)
        assert len(read_manifest(tmp_path).entries) == survivors
    again = []
    generator.generate(dataset.train, COUNTS, tmp_path, seed=0, report=again.append)
    assert len(again) == 5 - survivors
    assert contents(tmp_path) == contents(whole)


def test_repeating_a_finished_run_changes_nothing(generator, dataset, tmp_path, whole):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    reported = []
    generator.generate(dataset.train, COUNTS, copy, seed=0, report=reported.append)
    assert not reported
    assert contents(copy) == contents(whole)


def test_a_pair_depends_on_its_own_number_and_not_on_how_many_there_are(
    generator, dataset, tmp_path, whole
):
    generator.generate(dataset.train, {"scratch": 1}, tmp_path, seed=0)
    name = "test/scratch/000000.png"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_another_seed_gives_other_pairs(generator, dataset, tmp_path, whole):
    generator.generate(dataset.train, {"scratch": 1}, tmp_path, seed=6)
    name = "test/scratch/000000.png"
    assert (tmp_path / name).read_bytes() != (whole / name).read_bytes()


def test_pairs_of_another_run_and_of_unknown_types_are_refused(generator, dataset, tmp_path, whole):
    before = contents(whole)
    for other, seed in ((generator, 6), (generator.with_settings({"painting": {"loyalty": 1}}), 5)):
        with pytest.raises(DatasetError, match="another run"):
            other.generate(dataset.train, COUNTS, whole, seed=seed)
    with pytest.raises(DatasetError, match="another run"):
        generator.generate(dataset.train, COUNTS, whole, seed=0, region=CENTRE)
    with pytest.raises(ConfigError, match="'chip' was not learned"):
        generator.generate(dataset.train, {"chip": 1}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert contents(whole) == before


def test_defects_are_painted_on_good_training_photos_alone(generator, dataset, tmp_path):
    for records in ((), dataset.defects, [replace(dataset.train[0], split="test")]):
        with pytest.raises(DatasetError):
            generator.generate(records, COUNTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_is_made_again_bit_for_bit(whole, entries, generator):
    for entry in entries:
        sample, painting = read_sample(entry.record(whole)), generator.reproduce(entry)
        np.testing.assert_array_equal(painting.image, sample.image)
        np.testing.assert_array_equal(painting.mask, sample.mask)


def test_as_often_as_asked_for_a_real_defect_is_moved_as_it_is(generator, dataset, tmp_path):
    mover = generator.with_settings({"painting": {"transplants": 1.0}, "masks": {"stray": 0.5}})
    entries = mover.generate(dataset.train, {"scratch": 3}, tmp_path, seed=0)
    templates = generator.repertoire.templates["scratch"]
    at_edge = {template.sha256 for template in templates if template.at_edge}
    for entry in entries:
        assert entry.parameters["moved"] is (entry.parameters["template_sha256"] not in at_edge)
        assert len(entry.parameters["exemplars"]) == 1
        sample, again = read_sample(entry.record(tmp_path)), mover.reproduce(entry)
        np.testing.assert_array_equal(again.image, sample.image)
    moved = next(entry for entry in entries if entry.parameters["moved"])
    (digest,) = moved.parameters["exemplars"]
    (source,) = (one for one in generator.repertoire.exemplars["scratch"] if one.sha256 == digest)
    made = read_sample(moved.record(tmp_path))
    own = {tuple(pixel) for pixel in source.image.reshape(-1, 3).tolist()}
    assert {tuple(pixel) for pixel in made.image[made.mask].tolist()} <= own, "its very pixels"
    assert moved.parameters["scale"] == 1


def test_a_mask_of_the_users_own_is_painted_where_no_real_defect_has_it(generator, dataset, tmp_path):
    given = tmp_path / "mask.png"
    write_png(given, generator.repertoire.templates["rust"][0].mask)
    mover = generator.with_settings({"painting": {"transplants": 1.0}}).with_masks({"rust": [given]})
    (entry,) = mover.generate(dataset.train, {"rust": 1}, tmp_path / "out", seed=0)
    assert entry.parameters["moved"] is False


def test_the_good_photo_is_chosen_by_the_light_of_the_masks_own_photo(generator, dataset, monkeypatch):
    disloyal = generator.with_settings({"painting": {"loyalty": 0, "lookalikes": 2}})
    asked = []
    monkeypatch.setattr(Goods, "like", lambda _, *given: asked.append(given[:2]) or 0)
    goods = Goods(dataset.train, generator.kind)
    for seed in range(6):
        disloyal.photo(goods, "rust", (seed, 0, 0))
    assert all(exemplar.template is template for exemplar, template in asked)


def test_a_defect_at_the_edge_of_an_object_is_painted_and_not_moved(
    generator, dataset, tmp_path, monkeypatch
):
    mover = generator.with_settings({"painting": {"transplants": 1.0}})
    monkeypatch.setattr(Template, "at_edge", property(lambda _: True))
    entries = mover.generate(dataset.train, {"scratch": 2}, tmp_path, processes=1)
    assert [entry.parameters["moved"] for entry in entries] == [False, False]


def test_only_the_model_and_the_settings_that_made_a_pair_make_it_again(
    entries, generator, dataset, tmp_path
):
    fewer = learn(dataset, GeneratorConfig(), tmp_path / "run", shots=2, device="cpu")
    others = [
        fewer,
        generator.with_settings({"masks": {"rotation": 0}}),
        generator.with_settings({"quality": {"attempts": 1}}),
    ]
    for other in others:
        with pytest.raises(DatasetError, match="was made by model"):
            other.reproduce(entries[0])
    same = generator.with_settings({"masks": {"rotation": 10.0}})
    np.testing.assert_array_equal(
        same.reproduce(entries[0]).image, generator.reproduce(entries[0]).image
    )


def test_a_pair_whose_good_photo_has_changed_or_gone_is_not_made_again(generator, tmp_path, nuts):
    copy = read_dataset(Path(shutil.copytree(nuts, tmp_path / "nut")))
    (entry,) = generator.generate(copy.train, {"rust": 1}, tmp_path / "out")
    generator.reproduce(entry)
    source = Path(entry.source)
    write_png(source, 255 - read_image(source))
    with pytest.raises(DatasetError, match="is gone or has changed"):
        generator.reproduce(entry)
    source.unlink()
    with pytest.raises(DatasetError, match="is gone or has changed"):
        generator.reproduce(entry)


def test_a_pair_is_made_again_from_the_folders_own_copy_of_the_good_photo(generator, tmp_path, nuts):
    copy, out = read_dataset(Path(shutil.copytree(nuts, tmp_path / "nut"))), tmp_path / "out"
    (entry,) = generator.generate(copy.train, {"rust": 1}, out)
    before = generator.reproduce(entry, out)
    Path(entry.source).unlink()
    again = generator.reproduce(entry, out)
    np.testing.assert_array_equal(again.image, before.image)
    assert read_image(out / entry.image).tobytes() == again.image.tobytes()
    for photo in (out / "train" / "good").iterdir():
        write_png(photo, 255 - read_image(photo))
    with pytest.raises(DatasetError, match="is gone or has changed"):
        generator.reproduce(entry, out)


@pytest.mark.parametrize("kind", ["polygon", "file"])
def test_a_region_keeps_every_mask_inside_and_pairs_can_be_made_again(
    generator, dataset, tmp_path, kind
):
    inside = region_of_interest(CENTRE, (96, 96))
    region = CENTRE
    if kind == "file":
        write_png(tmp_path / "region.png", inside)
        region = tmp_path / "region.png"
    out = tmp_path / "out"
    entries = generator.generate(dataset.train, {"scratch": 3}, out, region=region)
    for entry in entries:
        sample = read_sample(entry.record(out))
        assert sample.mask.any()
        assert not sample.mask[~inside].any()
        np.testing.assert_array_equal(generator.reproduce(entry).image, sample.image)


def test_a_region_that_has_changed_is_another_run(generator, dataset, tmp_path):
    region, out = tmp_path / "region.png", tmp_path / "out"
    write_png(region, region_of_interest(CENTRE, (96, 96)))
    generator.generate(dataset.train, {"scratch": 1}, out, region=region)
    write_png(region, np.ones((96, 96), np.bool_))
    with pytest.raises(DatasetError, match="another run"):
        generator.generate(dataset.train, {"scratch": 2}, out, region=region)


def test_a_graphics_card_is_not_shared_by_processes():
    with pytest.raises(ConfigError, match="2 processes cannot share cuda"):
        workers(torch.device("cuda"), 2)
    assert workers(torch.device("cuda")) == workers(torch.device("cuda"), 1) == 1
    assert workers(torch.device("cpu"), 3) == 3


def test_processes_that_torchrun_started_share_the_cores(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = workers(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * cores))
    assert workers(torch.device("cpu")) == 1


def test_a_region_that_is_not_there_is_named(generator, dataset, tmp_path):
    for region in (tmp_path / "region.png", tmp_path):
        with pytest.raises(ImageError, match=f"region of interest {region} is not there") as caught:
            generator.generate(dataset.train, {"scratch": 1}, tmp_path / "out", region=region)
        assert "white where defects may be" in caught.value.hint
    assert not (tmp_path / "out").exists()


PLACES = {"start": slice(0, 14), "middle": slice(40, 54), "end": slice(82, 96)}


def blot(row, column):
    mask = np.zeros((96, 96), np.bool_)
    mask[PLACES[row], PLACES[column]] = True
    return mask


@pytest.mark.parametrize("column", PLACES)
@pytest.mark.parametrize("row", PLACES)
def test_a_drawn_mask_is_filled_wherever_it_is_and_nothing_else_changes(generator, photo, row, column):
    mask = blot(row, column)
    painting = generator.paint(photo, "rust", mask, seed=1)
    np.testing.assert_array_equal(painting.mask, mask)
    changed = (painting.image != photo).any(axis=2)
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.9


def test_a_mask_larger_than_the_painters_square_is_filled_too(generator):
    photo = np.random.default_rng(0).integers(90, 160, (150, 320, 3), dtype=np.uint8)
    mask = np.zeros((150, 320), np.bool_)
    mask[60:70, 10:310] = True
    painting = generator.paint(photo, "scratch", mask)
    np.testing.assert_array_equal(painting.mask, mask)
    changed = (painting.image != photo).any(axis=2)
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.8


def test_without_a_mask_the_defect_lies_on_the_product(generator, dataset, photo):
    path = dataset.train[2].image
    one, again, other = (
        generator.paint(p, "rust", seed=s) for p, s in ((path, 1), (photo, 1), (path, 2))
    )
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.mask, again.mask)
    assert (one.mask != other.mask).any()
    np.testing.assert_array_equal(one.image[~one.mask], photo[~one.mask])
    assert one.mask.any()


@pytest.mark.parametrize("mask", [np.zeros((96, 96), np.bool_), np.ones((95, 96), np.bool_)])
def test_an_empty_mask_and_one_of_another_size_are_refused(generator, photo, mask):
    with pytest.raises(ImageError, match="expected a bool mask"):
        generator.paint(photo, "rust", mask)


@pytest.mark.parametrize("white", [1, 255])
def test_a_mask_of_numbers_is_refused_or_taken_for_what_it_means(generator, photo, white):
    mask = blot("middle", "end")
    try:
        painting = generator.paint(photo, "rust", mask.astype(np.uint8) * np.uint8(white))
    except ImageError:
        return
    np.testing.assert_array_equal(painting.image, generator.paint(photo, "rust", mask).image)


def test_an_unknown_type_and_a_photo_that_is_none_are_refused(generator, photo, tmp_path):
    with pytest.raises(ConfigError, match="'chip' was not learned"):
        generator.paint(photo, "chip")
    (tmp_path / "photo.png").write_bytes(b"no photo")
    with pytest.raises(ImageError):
        generator.paint(tmp_path / "photo.png", "rust")


def test_painting_leaves_photo_and_mask_as_they_were(generator, photo):
    mask = blot("start", "start")
    before = photo.copy(), mask.copy()
    generator.paint(photo, "rust", mask)
    np.testing.assert_array_equal(photo, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("section", ["learning", "product"])
def test_what_was_settled_when_it_learned_cannot_be_changed(generator, section):
    with pytest.raises(ConfigError, match=f"{section} was settled"):
        generator.with_settings({section: {"seed": 1}})


@pytest.mark.parametrize(
    "values",
    [
        {"painting": {"step": 3}},
        {"painting": {"steps": 0}},
        {"masks": {"scale_low": 0.5}},
        {"masks": {"scale_low": 2.0, "scale_high": 1.0}},
        {"quality": 3},
        {"painting": {"painter": "network"}},
    ],
)
def test_settings_that_do_not_exist_or_do_not_fit_are_refused(generator, values):
    with pytest.raises(ConfigError):
        generator.with_settings(values)


def test_other_settings_make_another_generator_and_leave_this_one(generator, dataset):
    before = generator.config, generator.settings()
    other = generator.with_settings({"painting": {"steps": 4}, "masks": {"bend": 0}})
    assert (other.config.painting.steps, other.config.masks.bend) == (4, 0)
    assert other.config.painting.loyalty == generator.config.painting.loyalty
    assert other.painter.how.steps == 4
    assert (generator.config, generator.settings()) == before
    assert (other.model, other.types) == (generator.model, generator.types)
    assert other.settings() != generator.settings()
    photo = dataset.train[0].image
    assert (other.paint(photo, "rust").image != generator.paint(photo, "rust").image).any()


def test_a_gate_without_second_attempts_marks_what_it_does_not_let_pass(generator, dataset, tmp_path):
    once = generator.with_settings({"quality": {"attempts": 1}})
    entries = once.generate(dataset.train, {"rust": 6}, tmp_path)
    assert all(entry.attempts == 1 for entry in entries)
    refused = [entry for entry in entries if not entry.accepted]
    assert refused
    names = {record.image.stem for record in read_dataset(tmp_path).train_defects}
    assert not names & {Path(entry.image).stem for entry in refused}
    assert len(names) == 6 - len(refused)


SURFACE = {
    "product": {"kind": "texture", "turns": []},
    "masks": {"rotation": 0, "scale_low": 1, "scale_high": 1, "bend": 0},
}


@pytest.fixture(scope="module")
def surface(tmp_path_factory) -> tuple[Generator, Path]:
    """A generator for a grained surface with dents, which does not change the masks it is given."""
    root, rng = tmp_path_factory.mktemp("surface"), np.random.default_rng(0)
    for index in range(6):
        photo = rng.integers(110, 140, (72, 88, 3), dtype=np.uint8)
        write_sample(root / "data", "good", str(index), photo, split="train")
    for index in range(2):
        photo = rng.integers(110, 140, (72, 88, 3), dtype=np.uint8)
        mask = np.zeros((72, 88), np.bool_)
        mask[20 + 9 * index : 30 + 9 * index, 30:50] = True
        photo[mask] = rng.integers(20, 60, (mask.sum(), 3))
        write_sample(root / "data", "dent", str(index), photo, mask)
    config = validated(GeneratorConfig, SURFACE)
    return learn(read_dataset(root / "data"), config, root / "run", device="cpu"), root / "data"


def cross(row, column, arm=6):
    """A cross around a pixel, cut off at the frame."""
    y, x = np.mgrid[:72, :88]
    down, across = np.abs(y - row), np.abs(x - column)
    return (np.maximum(down, across) <= arm) & (np.minimum(down, across) <= 1)


def test_masks_of_the_users_own_are_the_ones_that_are_painted(surface, tmp_path):
    generator, root = surface
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for path, where in zip(files, [(30, 30), (40, 60)], strict=True):
        write_png(path, cross(*where))
    other = generator.with_masks({"dent": files})
    assert other.settings() != generator.settings()
    entries = other.generate(read_dataset(root).train, {"dent": 4}, tmp_path / "out")
    for entry in entries:
        sample = read_sample(entry.record(tmp_path / "out"))
        np.testing.assert_array_equal(sample.mask, cross(*entry.parameters["place"]))
        assert entry.parameters["template"] in map(str, files)
        np.testing.assert_array_equal(other.reproduce(entry).image, sample.image)
    with pytest.raises(DatasetError, match="was made by model"):
        generator.reproduce(entries[0])
    with pytest.raises(ConfigError, match="'rust' was not learned"):
        generator.with_masks({"rust": files})


def test_on_a_surface_defects_may_be_anywhere(surface):
    generator, root = surface
    goods = Goods(read_dataset(root).train, generator.kind)
    placed = [generator.place(goods, "dent", (seed, 0, 0), None).mask for seed in range(40)]
    assert np.any(placed, axis=0).mean() > 0.5


@pytest.mark.parametrize("painter", ["network", "mixed"])
def test_a_network_paints_pairs_that_can_be_made_again(trained, dataset, tmp_path, painter):
    painted = {"painting": {"transplants": 0}, "quality": {"attempts": 1}}
    generator = trained(painter).with_settings(painted)
    entries = generator.generate(dataset.train, {"rust": 2}, tmp_path)
    for entry in entries:
        sample, source = read_sample(entry.record(tmp_path)), read_image(Path(entry.source))
        np.testing.assert_array_equal(sample.image[~sample.mask], source[~sample.mask])
        assert (sample.image[sample.mask] != source[sample.mask]).any(axis=1).mean() > 0.9
        rusty = {file_sha256(r.image) for r in dataset.defects if r.label == "rust"}
        assert set(entry.record(tmp_path).made_of) == rusty
        np.testing.assert_array_equal(generator.reproduce(entry).image, sample.image)


@pytest.mark.parametrize(
    ("painting", "said"),
    [
        ({"reweighting": "tempered"}, "in the form logit_add changes nothing"),
        ({"reweighting": "auto", "form": "probs"}, "was not looked at when it learned"),
    ],
)
def test_a_reweighting_that_would_do_nothing_is_refused(network, painting, said):
    with pytest.raises(ConfigError, match=said):
        network.with_settings({"painting": painting})


def test_what_a_network_has_learned_patches_can_paint_as_well(network, photo):
    mask = blot("start", "start")
    patches = network.with_settings({"painting": {"painter": "patches"}})
    one, other = (g.paint(photo, "rust", mask) for g in (network, patches))
    assert (one.image != other.image).any()
    np.testing.assert_array_equal(one.image[~mask], other.image[~mask])
