from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.data import Dataset
from blemish.detection import Length
from blemish.errors import DatasetError
from blemish.experiments.protocol import FAST, PAPER, SCALES, FewShot, divided
from blemish.records import Record
from blemish.training import Plan

COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 14), min_size=1)


def defects(label: str, count: int, split: str = "test", mask: bool = True) -> list[Record]:
    stems = [f"{split}/{label}/{index}" for index in range(count)]
    masks = [Path(f"{stem}_mask.png") if mask else None for stem in stems]
    photos = [Path(f"{stem}.png") for stem in stems]
    return [Record(photo, label, split, drawn) for photo, drawn in zip(photos, masks, strict=True)]


def goods(count: int, split: str = "train") -> list[Record]:
    return [Record(Path(f"{split}/good/{index}.png"), split=split) for index in range(count)]


def dataset(*records: Record, train: int = 5, test: int = 3) -> Dataset:
    return Dataset(Path("tile"), (*goods(train), *goods(test, "test"), *records), "mvtec")


def of_counts(counts: Mapping[str, int]) -> Dataset:
    return dataset(*(record for label, count in counts.items() for record in defects(label, count)))


def counted(records: tuple[Record, ...]) -> Counter[str]:
    return Counter(record.label for record in records)


def photos(records: tuple[Record, ...]) -> set[Path]:
    return {record.image for record in records}


@settings(deadline=None)
@given(counts=COUNTS)
def test_a_third_of_each_type_is_learned_from_at_least_one_and_no_photo_is_on_both_sides(counts):
    found = of_counts(counts)
    if max(counts.values()) == 1:
        with pytest.raises(DatasetError, match="few-shot"):
            FewShot.of(found)
        return
    split = FewShot.of(found)
    assert counted(split.few) == {label: max(1, n // 3) for label, n in counts.items()}
    assert not photos(split.few) & photos(split.test)
    assert photos(split.few) | photos(split.rest) == photos(found.defects)
    assert {record.split for record in split.few} == {"train"}
    assert {record.split for record in split.test} == {"test"}
    assert split.goods == found.train
    assert split.test == (*split.test_goods, *split.rest)
    assert split.types == tuple(sorted(label for label, n in counts.items() if n > 1))


def test_the_first_third_is_first_by_name_and_ten_comes_after_nine():
    few = FewShot.of(of_counts({"dent": 12})).few
    assert [record.image.stem for record in few] == ["0", "1", "2", "3"]
    assert [r.image.stem for r in FewShot.of(of_counts({"dent": 33})).few][-1] == "10"


def test_defects_of_the_training_split_are_learned_from_instead_and_all_others_are_judged():
    given_ones = defects("dent", 2, "train")
    split = FewShot.of(dataset(*given_ones, *defects("dent", 9), *defects("crack", 3)))
    assert split.few == tuple(given_ones)
    assert counted(split.rest) == {"dent": 9, "crack": 3}
    assert split.types == ("dent",)


def test_defects_that_nobody_has_drawn_are_neither_learned_from_nor_judged():
    split = FewShot.of(dataset(*defects("dent", 6), *defects("smear", 6, mask=False)))
    assert counted((*split.few, *split.rest)) == {"dent": 6}


@pytest.mark.parametrize(
    "lacking",
    [
        dataset(),
        dataset(*defects("dent", 1)),
        dataset(*defects("dent", 9, mask=False)),
        dataset(*defects("dent", 9, "train")),
        dataset(*defects("dent", 9), train=0),
        dataset(*defects("dent", 9), test=0),
    ],
)
def test_what_is_too_little_for_the_protocol_is_an_error_with_the_counts(lacking):
    with pytest.raises(DatasetError, match="cannot be used for a few-shot experiment") as error:
        FewShot.of(lacking)
    assert f"{len(lacking.train)} good photos to learn from" in str(error.value)


@settings(deadline=None)
@given(counts=COUNTS.filter(lambda counts: max(counts.values()) > 1), most=st.integers(1, 6))
def test_shots_take_the_first_of_each_type_and_leave_all_else_as_it_is(counts, most):
    split = FewShot.of(of_counts(counts))
    fewer = split.shots(most)
    assert counted(fewer.few) == {label: min(most, n) for label, n in counted(split.few).items()}
    for label in counts:
        all_few = [record for record in split.few if record.label == label]
        assert [record for record in fewer.few if record.label == label] == all_few[:most]
    assert (fewer.rest, fewer.goods, fewer.test_goods) == (split.rest, split.goods, split.test_goods)


@settings(deadline=None)
@given(counts=COUNTS.filter(lambda counts: max(counts.values()) > 1))
def test_shares_are_nested_and_all_judged_on_the_same_photos_that_none_has_read(counts):
    split = FewShot.of(of_counts(counts))
    large = {label: n for label, n in counts.items() if n > 1}
    shares = [split.share(part / 100) for part in (10, 20, 30, 40, 50)]
    for part, found in zip((10, 20, 30, 40, 50), shares, strict=True):
        assert counted(found.few) == {label: max(1, part * n // 100) for label, n in large.items()}
        assert counted(found.rest) == {label: n // 2 for label, n in large.items()}
        assert not photos(found.few) & photos(found.test)
        assert found.rest == shares[0].rest
        assert {record.split for record in found.few} == {"train"}
    for fewer, more in itertools.pairwise(shares):
        assert photos(fewer.few) <= photos(more.few)


def written(folder: Path, counts: Mapping[str, int]) -> list[Record]:
    """Return training records whose files all differ."""
    found = []
    for label, count in counts.items():
        for index in range(count):
            path = folder / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hashlib.sha256(f"{label} {index}".encode()).digest())
            found.append(Record(path, label))
    return found


@pytest.mark.parametrize("counts", [{"a": 4}, {"a": 30, "b": 5, "c": 3, "d": 1}, {"a": 2, "b": 100}])
def test_a_tenth_of_each_type_is_held_out_and_nothing_is_on_both_sides(tmp_path, counts):
    records = written(tmp_path, counts)
    found = divided(records, seed=0)
    expected = {label: max(1, round(n / 10)) for label, n in counts.items() if n >= 4}
    assert counted(found.held) == expected
    assert not photos(found.shown) & photos(found.held)
    assert sorted((*found.shown, *found.held), key=str) == sorted(records, key=str)
    assert set(counted(found.shown)) == set(counts)


def test_at_most_forty_are_held_out_of_all_types_together(tmp_path):
    found = divided(written(tmp_path, {"a": 600, "b": 300}), seed=0)
    assert counted(found.held) == {"a": 20, "b": 20}


def test_where_no_type_can_spare_any_the_records_choose_for_themselves(tmp_path):
    records = tuple(written(tmp_path, {"a": 3, "b": 1}))
    assert divided(records, seed=0).shown == divided(records, seed=0).held == records
    assert divided((), seed=0).held == ()


def test_the_seed_decides_who_is_held_out_and_the_order_does_not(tmp_path):
    records = written(tmp_path, {"a": 40})
    first = divided(records, seed=0)
    assert photos(divided(records[::-1], seed=0).held) == photos(first.held)
    assert any(photos(divided(records, seed=seed).held) != photos(first.held) for seed in (1, 2))


def test_a_changed_scale_says_what_changed_and_an_unchanged_one_is_itself():
    changed = FAST.changed({"pairs": 20, "detector": Length(seconds=90.0)})
    assert changed.name == "fast with pairs 20, detector 90 seconds"
    assert (changed.pairs, changed.detector) == (20, Length(seconds=90.0))
    assert (changed.localiser, changed.shots) == (FAST.localiser, FAST.shots)
    assert FAST.changed({}) is FAST


def test_the_papers_scale_has_the_papers_numbers():
    # 500 pairs a pass, batch 8, 200 passes (AnomalyDiffusion's code); 3000 epochs (DiffusionAD, 4.3)
    assert PAPER.localiser.iterations * PAPER.localiser.batch == 500 * 200
    assert (PAPER.localiser.network, PAPER.localiser.width, PAPER.localiser.size) == ("unet", 64, 256)
    assert (PAPER.pairs, PAPER.detector, PAPER.preset) == (1000, Length(epochs=3000), "paper")
    assert list(SCALES) == ["fast", "paper"]


def test_the_papers_generator_learns_as_long_for_each_type_as_there_and_the_fast_one_as_one_likes():
    assert PAPER.plan(["crack", "dent"]) == Plan(iterations=2 * 4109)  # 300,000 for 73 types
    assert FAST.plan(["crack", "dent"]) is None
