from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.data import Split, hold_out, letterbox, read_dataset, write_sample
from blemish.detection import examples as module
from blemish.detection import train
from blemish.detection.examples import STRANGER, Examples, checked, digest, divided
from blemish.detection.photos import Photos
from blemish.detection.samples import Samples
from blemish.detection.trainer import InspectorTask
from blemish.errors import ArtifactError, DatasetError
from blemish.records import Record
from blemish.runtime import file_sha256
from blemish.training import Plan

SIZE = 64
TWO = Plan(iterations=2, validations=1)
BRIGHT = 250
"""The blue of a drawn defect, and of nothing else."""


def told(height, width):
    """A photo whose every pixel says its row in red and its column in green."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 100)], axis=2).astype(np.uint8)


def example(root, label, stem, shape=(90, 120), where=(50, 60, 80, 95)):
    photo, mask = told(*shape), np.zeros(shape, np.bool_)
    top, bottom, left, right = where
    mask[top:bottom, left:right] = True
    photo[mask, 2] = BRIGHT
    return write_sample(root, label, stem, photo, mask, split="train", synthetic=True)


@pytest.fixture
def tiled(tiny):
    return tiny(data={"framing": "tiles"})


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_letterboxed_example_is_the_photo_and_its_mask_in_one_frame(tmp_path, tiny):
    record = example(tmp_path, "dent", "1")
    view, mask = Examples([(record, 3)], tiny()).view(0, rng())
    square, frame = letterbox(told(90, 120), SIZE)
    np.testing.assert_array_equal(view.valid, frame.valid())
    np.testing.assert_array_equal(view.image[..., :2], square[..., :2])
    np.testing.assert_array_equal(view.allowed, mask)
    assert mask.any()
    assert (view.image[mask][:, 2] > 100).all()
    assert (view.image[~mask][:, 2] < BRIGHT).all()


@pytest.mark.parametrize("framing", ["letterbox", "tiles"])
def test_a_defect_at_the_edge_goes_on_in_the_padding_that_repeats_it(tmp_path, tiny, framing):
    record = example(tmp_path, "dent", "1", shape=(40, SIZE), where=(20, 40, 10, 30))
    view, mask = Examples([(record, 3)], tiny(data={"framing": framing})).view(0, rng())
    np.testing.assert_array_equal(mask, view.image[..., 2] == BRIGHT)
    assert mask[~view.valid].any()


def test_a_letterboxed_example_is_read_once_while_it_fits_into_memory(tmp_path, tiny, monkeypatch):
    records = [example(tmp_path, "dent", str(number)) for number in range(2)]
    opened = []

    def spy(record):
        opened.append(record)
        return read(record)

    read = module.read_sample
    monkeypatch.setattr(module, "read_sample", spy)
    some = [(record, 3) for record in records]
    roomy = Examples(some, tiny())
    for number in (0, 1, 0, 1):
        roomy.view(number, rng())
    assert opened == records
    monkeypatch.setattr(module, "_CACHED_BYTES", 5 * SIZE**2)
    narrow = Examples(some, tiny())
    for number in (0, 0, 1, 0):
        narrow.view(number, rng())
    assert opened == [*records, records[0], records[1], records[0]]


def test_a_tile_of_an_example_is_a_window_with_a_part_of_the_defect(tmp_path, tiled):
    record = example(tmp_path, "dent", "1", where=(0, 90, 100, 103))
    examples, corners = Examples([(record, 3)], tiled), set()
    for seed in range(50):
        view, mask = examples.view(0, rng(seed))
        top, left, _ = view.image[0, 0]
        corners.add((top, left))
        expected = told(90, 120)[top : top + SIZE, left : left + SIZE, :2]
        np.testing.assert_array_equal(view.image[..., :2], expected)
        np.testing.assert_array_equal(mask, view.image[..., 2] == BRIGHT)
        np.testing.assert_array_equal(view.allowed, mask)
        assert mask.any()
        assert view.valid.all()
    tops = [top for top, _ in corners]
    assert (min(tops), max(tops)) == (0, 90 - SIZE)
    assert len(corners) > 10


def test_a_strip_of_an_example_shows_the_shrunk_photo_and_its_mask(tmp_path, tiny):
    record = example(tmp_path, "dent", "1", shape=(400, 2 * SIZE), where=(300, 320, 40, 80))
    view, mask = Examples([(record, 3)], tiny(data={"framing": "strips"})).view(0, rng())
    assert mask.sum() == 10 * 20
    assert view.valid.all()
    assert view.image[mask][:, 2].mean() > BRIGHT * 0.8
    assert view.image[~mask][:, 2].max() < BRIGHT


def test_a_defect_may_be_anywhere_in_its_tile(tmp_path, tiled):
    record = example(tmp_path, "dent", "1", shape=(200, 200), where=(100, 101, 90, 91))
    examples = Examples([(record, 3)], tiled)
    places = np.concatenate([np.argwhere(examples.view(0, rng(seed))[1]) for seed in range(60)])
    assert len(places) == 60
    assert (places.min(0) < SIZE / 4).all()
    assert (places.max(0) >= SIZE * 3 / 4).all()


def test_a_photo_smaller_than_a_tile_is_padded_with_what_does_not_count(tmp_path, tiled):
    record = example(tmp_path, "dent", "1", shape=(40, 100), where=(10, 20, 70, 80))
    view, mask = Examples([(record, 3)], tiled).view(0, rng())
    assert view.valid[:40].all()
    assert not view.valid[40:].any()
    assert not mask[40:].any()
    assert mask.sum() == (view.image[:40, :, 2] == BRIGHT).sum() > 0


def test_all_types_come_up_equally_often_however_many_photos_each_has(tmp_path, tiny):
    some = [(example(tmp_path, "hole", str(index)), index) for index in range(9)]
    examples = Examples([*some, (example(tmp_path, "dent", "1"), 9)], tiny())
    assert len(examples) == 10
    stream = rng()
    seen = Counter(examples.sample(stream, ())[2] for _ in range(400))
    assert 160 < seen[9] < 240
    assert all(seen[index] > 5 for index in range(9))


def test_an_example_is_turned_with_its_mask(tmp_path, tiled):
    record = example(tmp_path, "dent", "1")
    examples, stream = Examples([(record, 3)], tiled), rng()
    mirrored = 0
    for _ in range(60):
        view, mask, family = examples.sample(stream, ["mirror"])
        np.testing.assert_array_equal(mask, view.image[..., 2] == BRIGHT)
        assert mask.any()
        assert family == 3
        mirrored += int(view.image[0, 0, 1] > view.image[0, -1, 1])
    assert 15 < mirrored < 45


@pytest.fixture
def goods(tmp_path):
    """Twelve good photos, two of each of six parts, split by part."""
    records = [
        write_sample(
            tmp_path / "good", "good", str(i), np.full((8, 8, 3), 10 * i, np.uint8), split="train"
        )
        for i in range(12)
    ]
    kin = {record: number // 2 for number, record in enumerate(records)}
    split = hold_out(records, seed=0, fraction=0.4, at_least=0, families=list(kin.values()))
    assert len(split.validation) == 4
    return split, kin


def test_what_is_painted_on_a_held_out_photo_or_its_kin_is_held_out(tmp_path, goods):
    split, kin = goods
    pairs = {
        replace(example(tmp_path, "dent", str(i)), source=file_sha256(record.image)): record
        for i, record in enumerate(kin)
    }
    shown, held = divided(list(pairs), split, kin, seed=0)
    assert {pairs[record] for record, _ in held} == set(split.validation)
    assert {pairs[record] for record, _ in shown} == set(split.train)
    assert all(family == kin[pairs[record]] for record, family in (*shown, *held))


def test_where_families_had_to_be_parted_only_pairs_on_held_out_photos_are_held_out(tmp_path, goods):
    """Three parts of four photos each: no family fits into the fewest held-out photos."""
    records = list(goods[1])
    kin = {record: number // 4 for number, record in enumerate(records)}
    split = hold_out(records, seed=0, fraction=0.15, at_least=3)
    assert {kin[record] for record in split.train} == {0, 1, 2}
    pairs = {
        replace(example(tmp_path, "dent", str(i)), source=file_sha256(record.image)): record
        for i, record in enumerate(records)
    }
    shown, held = divided(list(pairs), split, kin, seed=0)
    assert {pairs[record] for record, _ in held} == set(split.validation)
    assert {pairs[record] for record, _ in shown} == set(split.train)


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 0), (4, 0), (10, 1), (30, 3)])
def test_of_strangers_a_tenth_is_held_out(tmp_path, goods, count, kept):
    split, kin = goods
    strangers = [example(tmp_path, "dent", str(i), where=(5, 9, i, i + 9)) for i in range(count)]
    shown, held = divided(strangers, split, kin, seed=0)
    assert len(held) == kept
    assert [record for record in strangers if record not in dict(held)] == list(dict(shown))
    assert all(family == STRANGER for _, family in (*shown, *held))
    assert dict(divided(strangers[::-1], split, kin, seed=0)[1]).keys() == dict(held).keys()


def test_a_pair_on_a_photo_that_is_not_there_is_a_stranger(tmp_path, goods):
    split, kin = goods
    record = replace(example(tmp_path, "dent", "1"), source="0" * 64)
    assert divided([record], split, kin, seed=0) == ([(record, STRANGER)], [])


def photos_of(root, label, count):
    """Photos of real defects; what a division looks at is their bytes alone."""
    records = []
    for number in range(count):
        path = root / f"{label}{number}.png"
        path.write_bytes(path.name.encode())
        records.append(Record(path, label, "train", path))
    return records


def pair(label, number, good, *origins):
    """A pair with the defects of real photos, painted on a good one."""
    made_of = tuple(sorted({file_sha256(record.image) for record in origins}))
    name = Path(f"pair of {label} {number}.png")
    source = None if good is None else file_sha256(good.image)
    return Record(name, label, "train", name, True, source, made_of)


def pairs_of(label, real, goods, count=200, seed=0):
    """As patches paint: a mask of one real defect, and half of the time the looks of another."""
    stream = rng(seed)
    made = []
    for number in range(count):
        own, other = stream.choice(len(real), 2)
        origins = (real[own], real[own if number % 2 else other])
        made.append(pair(label, number, goods[int(stream.integers(len(goods)))], *origins))
    return made


def origins_of(records):
    return {name for r in records for name in (r.made_of if r.synthetic else [file_sha256(r.image)])}


@pytest.mark.parametrize("with_real", [True, False])
@pytest.mark.parametrize(("shots", "held_out"), [(1, 0), (2, 1), (5, 1), (14, 1), (30, 3)])
def test_no_defect_and_no_good_photo_is_known_to_both_sides(
    tmp_path, goods, shots, held_out, with_real
):
    split, kin = goods
    real = photos_of(tmp_path, "dent", shots)
    pairs = pairs_of("dent", real, list(kin))
    records = [*pairs, *(real if with_real else ())]
    shown, kept = (dict(side) for side in divided(records, split, kin, seed=0))
    defects = origins_of(kept)
    assert len(defects) == held_out
    assert len(origins_of(shown)) == shots - held_out
    assert not defects & origins_of(shown)
    validation, training = ({file_sha256(r.image) for r in s} for s in (split.validation, split.train))
    assert {r.source for r in shown} <= training | {None}
    assert {r.source for r in kept} <= validation | {None}
    for record in records:  # and none is left out that need not be
        clean = not origins_of([record]) & defects
        assert (record in shown) == (clean and record.source not in validation)
        alone = origins_of([record]) <= defects
        assert (record in kept) == (alone and record.source not in training)
    again = divided(records[::-1], split, kin, seed=0)
    assert [dict(side).keys() for side in again] == [shown.keys(), kept.keys()]
    families = {file_sha256(good.image): kin[good] for good in kin}
    for record, family in (shown | kept).items():
        assert family == families.get(record.source, STRANGER)


def held_of(records, seed=0):
    """The names of the photos that are held out where there is no good photo."""
    names = {file_sha256(r.image): r.image.stem for r in records if not r.synthetic}
    _, kept = divided(records, Split((), (), ""), {}, seed)
    return sorted(names[name] for name in origins_of(record for record, _ in kept))


def test_of_few_real_defects_a_tenth_is_held_out_each_of_another_type(tmp_path):
    types = ("dent", "hole", "rust", "stain", "tear")
    some = [record for label in types for record in photos_of(tmp_path, label, 5)]
    for seed in range(5):
        found = held_of(some, seed)
        assert len(found) == len({name[:-1] for name in found}) == 2
    assert len({tuple(held_of(some, seed)) for seed in range(20)}) > 5


def test_the_type_with_the_most_real_defects_gives_one_up_and_a_single_one_stays(tmp_path):
    singles = [r for label in ("hole", "rust") for r in photos_of(tmp_path, label, 1)]
    assert held_of(singles) == []
    several = [*photos_of(tmp_path, "dent", 2), *photos_of(tmp_path, "tear", 4)]
    for seed in range(10):
        assert [name[:-1] for name in held_of([*singles, *several], seed)] == ["tear"]
    many = [r for number in range(30) for r in photos_of(tmp_path, f"type {number}.", 1)]
    assert len(held_of([*many, *photos_of(tmp_path, "dent", 4)])) == 1


def test_a_type_does_not_stand_in_for_others_that_can_give_nothing_up(tmp_path):
    """Of the 35 real defects four would be a tenth, but only the five dents have photos here."""
    dents, holes = photos_of(tmp_path, "dent", 5), photos_of(tmp_path, "hole", 30)
    painted = [pair("hole", number, None, *holes) for number in range(10)]
    assert len(held_of([*dents, *painted])) == 1


def test_a_photo_with_the_only_defect_of_another_type_is_not_held_out(tmp_path):
    one, other = photos_of(tmp_path, "dent", 2)
    for seed in range(10):
        assert held_of([one, other, replace(one, label="hole")], seed) == ["dent1"]


def test_what_a_network_painted_of_all_real_defects_is_not_given_up_to_hold_one_out(tmp_path, goods):
    split, kin = goods
    real = photos_of(tmp_path, "dent", 5)
    pairs = [pair("dent", number, good, *real) for number, good in enumerate(kin)]
    shown, kept = divided([*pairs, *real], split, kin, seed=0)
    assert not kept
    expected = {p for p, good in zip(pairs, kin, strict=True) if good in split.train}
    assert dict(shown).keys() == expected | set(real)


def test_a_defect_that_validation_could_not_show_alone_stays_in_training(tmp_path, goods):
    split, kin = goods
    real = photos_of(tmp_path, "dent", 3)
    two = [pair("dent", n, good, *real[:2], real[2 - n % 2]) for n, good in enumerate(kin)]
    alone = [pair("dent", 100 + n, good, real[n % 3]) for n, good in enumerate(split.train)]
    shown, kept = divided([*two, *alone], split, kin, seed=0)
    assert not kept
    assert set(alone) <= dict(shown).keys()


def test_pairs_that_do_not_say_what_they_were_made_of_are_divided_by_their_photos_with_a_warning(
    tmp_path, goods, caplog
):
    split, kin = goods
    told = [pair("dent", n, good, *photos_of(tmp_path, "dent", 1)) for n, good in enumerate(kin)]
    divided(told, split, kin, seed=0)
    assert "do not say" not in caplog.text
    silent = [replace(record, made_of=()) for record in told]
    _, kept = divided(silent, split, kin, seed=0)
    assert caplog.text.count("12 generated defects do not say which real ones they were made of") == 1
    validation = {file_sha256(record.image) for record in split.validation}
    assert {record for record, _ in kept} == {r for r in silent if r.source in validation}


def test_test_photos_and_photos_without_a_mask_are_no_examples(tmp_path):
    record = example(tmp_path, "dent", "1")
    assert checked([record]) == (record,)
    with pytest.raises(DatasetError, match="test split"):
        checked([record, replace(record, split="test")])
    with pytest.raises(DatasetError, match="has no mask"):
        checked([record, replace(record, mask=None)])


def test_the_digest_is_that_of_the_contents_in_any_order_and_place(tmp_path):
    one, other = example(tmp_path, "dent", "1"), example(tmp_path, "dent", "2", where=(1, 5, 1, 5))
    moved = example(tmp_path / "elsewhere", "dent", "7")
    assert digest([one, other]) == digest([other, one]) == digest([other, moved])
    others = replace(one, label="hole"), replace(one, made_of=("a",)), replace(one, source="a")
    found = {digest(some) for some in ([], [one], [other], [one, other], *([r] for r in others))}
    assert len(found) == 7


@pytest.fixture
def make(product, tiny, tmp_path):
    records = [example(tmp_path, "dent", str(index)) for index in range(3)]

    def samples(share=0.5, rank=0, world=1):
        config = tiny(training={"normals": 4, "defects": 4}, synthesis={"examples_share": share})
        photos = Photos(read_dataset(product).train, config)
        shown = Examples([(record, 100) for record in records], config)
        return Samples(photos, config, rank, world, shown)

    return samples


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 60, 100), (1.0, 160, 160)])
def test_examples_are_shown_in_place_of_drawn_defects_as_often_as_asked_for(make, share, least, most):
    samples = make(share)
    batches = [samples[iteration][0] for iteration in range(40)]
    families = torch.stack([batch.family for batch in batches])
    assert (families[:, :4] < 100).all()
    assert least <= int((families[:, 4:] == 100).sum()) <= most
    for batch in batches:
        assert batch.normal.tolist() == [True] * 4 + [False] * 4
        for photo, mask, family in zip(batch.photo, batch.mask[:, 0], batch.family, strict=True):
            if family == 100:
                assert (photo[mask][:, 2] > 100).all()


def test_the_good_photos_of_a_batch_are_those_of_a_run_without_examples(make):
    samples, without = make(1.0), make(1.0)
    without.examples = None
    one, other = samples[3][0], without[3][0]
    assert torch.equal(one.photo[:4], other.photo[:4])
    assert not torch.equal(one.photo[4:], other.photo[4:])


def test_a_slot_shows_the_same_example_to_any_process(make):
    whole = make().batch(5, range(8))
    for rank in range(2):
        samples = make(rank=rank, world=2)
        (part,), (slots,) = samples[5], samples.chunks
        assert torch.equal(part.photo, whole.photo[list(slots)])
        assert torch.equal(part.family, whole.family[list(slots)])
    sent = pickle.loads(pickle.dumps(make()))  # noqa: S301 - our own bytes
    assert torch.equal(sent[5][0].photo, whole.photo)


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> list[Record]:
    root = tmp_path_factory.mktemp("examples")
    return [example(root, "dent", str(i), where=(5, 19, 5 * i, 5 * i + 19)) for i in range(10)]


def test_held_out_examples_are_validated_on_beside_the_drawn_defects(product, tiny, ten):
    config = tiny()
    train_photos, held = (Photos(read_dataset(product).train[part], config) for part in (
        slice(0, 9), slice(9, 12)
    ))  # fmt: skip
    shown, kept = (Examples([(r, STRANGER) for r in part], config) for part in (ten[:8], ten[8:]))
    task = InspectorTask(config, train_photos, held, "cpu", shown, kept)
    assert len(task.held_out) == 2 * 3 + 2
    for square, record in zip(task.held_out[-2:], ten[8:], strict=True):
        view, mask = Examples([(record, STRANGER)], config).view(0, rng())
        np.testing.assert_array_equal(square.view.image, view.image)
        np.testing.assert_array_equal(square.mask, mask)
    assert next(iter(task.batches(0, 0, 1)))[0].family.tolist().count(STRANGER) in (0, 1, 2)


@pytest.fixture(scope="module")
def run(product, tiny, ten, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "nut"
    train(read_dataset(product), tiny(), folder, TWO, device="cpu", examples=ten)
    return folder


def test_a_run_says_how_many_examples_it_learned_from_and_which(run, ten):
    card = json.loads((run / "detector" / "card.json").read_text())
    assert card["facts"]["examples"] == 9
    assert card["facts"]["iterations"] == 2
    assert json.loads((run / "examples.json").read_text()) == {"digest": digest(ten)}


def test_a_run_is_not_resumed_with_other_examples(run, product, tiny, ten):
    dataset = read_dataset(product)
    for others in (ten[:9], ()):
        with pytest.raises(ArtifactError, match="other example defects"):
            train(dataset, tiny(), run, TWO, device="cpu", resume=True, examples=others)
    train(dataset, tiny(), run, TWO, device="cpu", resume=True, examples=ten[::-1])


def test_examples_are_refused_before_a_run_begins(product, tiny, ten, tmp_path):
    for wrong in (replace(ten[0], split="test"), replace(ten[0], mask=None)):
        with pytest.raises(DatasetError):
            train(read_dataset(product), tiny(), tmp_path, TWO, device="cpu", examples=[wrong])
    assert not list(tmp_path.iterdir())


def test_the_training_defects_of_the_dataset_are_examples_too(product, tiny, ten, tmp_path):
    dataset = read_dataset(product)
    own = replace(dataset, records=(*dataset.records, *ten[:3]))
    detector = train(own, tiny(), tmp_path / "run", TWO, device="cpu", examples=ten[3:5])
    assert detector.facts["examples"] == 5
    assert float(detector.inspector.trust) == 2
    assert json.loads((tmp_path / "run" / "examples.json").read_text())["digest"] == digest(ten[:5])
