from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blemish.data import Dataset, read_dataset, read_image, read_mask
from blemish.errors import ArtifactError, ConfigError, DatasetError
from blemish.experiments import baselines
from blemish.experiments.baselines import DONE, TYPED, UNTYPED, write_baseline
from blemish.experiments.protocol import FewShot

ALL = (*TYPED, *UNTYPED)
COUNT = 3


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def split(plain: Dataset) -> FewShot:
    return FewShot.of(plain)


@pytest.fixture(scope="module")
def written(split: FewShot, tmp_path_factory) -> dict[str, Path]:
    """The folder of each baseline, three pairs of each type."""
    root = tmp_path_factory.mktemp("baselines")
    for name in ALL:
        write_baseline(name, split.few, split.goods, "texture", COUNT, root / name)
    return {name: root / name for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_there_are_exactly_as_many_pairs_as_asked_for_of_types_that_are_known(written, split, name):
    records = read_dataset(written[name]).records
    types = dict.fromkeys(split.types, COUNT) if name in TYPED else {name: 2 * COUNT}
    assert Counter(record.label for record in records) == types
    assert {(record.split, record.synthetic) for record in records} == {("train", True)}
    lines = (written[name] / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Path(json.loads(line)["image"]) for line in lines] == [
        record.image.relative_to(written[name]) for record in sorted(records, key=lambda r: r.image)
    ]
    assert write_baseline(name, split.few, split.goods, "texture", COUNT, written[name]) == records


@pytest.mark.parametrize("name", ALL)
def test_outside_its_mask_a_pair_is_a_good_photo_bit_for_bit(written, split, name):
    goods = [read_image(record.image) for record in split.goods]
    for record in read_dataset(written[name]).records:
        image, mask = read_image(record.image), read_mask(record.mask)
        assert 0 < mask.mean() < 0.5
        sources = [good for good in goods if np.array_equal(good[~mask], image[~mask])]
        assert len(sources) == 1
        changed = (sources[0] != image).any(axis=2)
        assert changed.any()


def test_what_is_pasted_is_a_real_defect_of_its_type(written, split):
    """All white discs are alike, and so are all black bars: the pasted colours tell the type."""
    for record in read_dataset(written["crop_and_paste"]).records:
        image, mask = read_image(record.image), read_mask(record.mask)
        assert set(np.unique(image[mask])) == ({250} if record.label == "spot" else {10})
        real = {read_mask(r.mask).sum() for r in split.few if r.label == record.label}
        assert mask.sum() in real


def test_the_same_seed_draws_the_same_pairs_and_another_one_others(written, split, tmp_path):
    for seed in (0, 1):
        out = tmp_path / f"{seed}"
        write_baseline("cut_paste", split.few, split.goods, "texture", COUNT, out, seed)
    expected = contents(written["cut_paste"])
    found = [contents(tmp_path / f"{seed}") for seed in (0, 1)]
    assert found[0] == expected
    photos = [name for name in expected if name.startswith("train")]
    assert all(found[1][name] != expected[name] for name in photos)


def test_more_pairs_begin_like_fewer(written, split, tmp_path):
    write_baseline("crop_and_paste", split.few, split.goods, "texture", COUNT + 1, tmp_path / "more")
    more, fewer = contents(tmp_path / "more"), contents(written["crop_and_paste"])
    photos = [name for name in fewer if name.endswith(".png")]
    assert {name: more[name] for name in photos} == {name: fewer[name] for name in photos}


def test_a_complete_folder_is_read_and_not_drawn_again(written, split, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(baselines, "write_sample", refuse)
    records = write_baseline("draem", split.few, split.goods, "texture", COUNT, written["draem"])
    assert len(records) == 2 * COUNT


def test_a_folder_that_was_broken_off_ends_like_one_that_was_not(written, split, tmp_path, monkeypatch):
    arguments = ("crop_and_paste", split.few, split.goods, "texture", COUNT, tmp_path / "cut")
    write_sample, left = baselines.write_sample, iter(range(4))

    def break_off(*words: object, **settings: object):
        next(left)
        return write_sample(*words, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(baselines, "write_sample", break_off)
        with pytest.raises(StopIteration):
            write_baseline(*arguments)
    (tmp_path / "cut" / "train" / "bar" / "99999.png").write_bytes(b"half a photo")
    assert not (tmp_path / "cut" / DONE).exists()
    write_baseline(*arguments)
    assert contents(tmp_path / "cut") == contents(written["crop_and_paste"])


def test_pairs_of_other_settings_or_photos_are_refused(written, split):
    others = [
        {"count": COUNT + 1},
        {"seed": 1},
        {"kind": "object"},
        {"few": split.few[1:]},
        {"goods": split.goods[1:]},
        {"name": "cut_paste"},
    ]
    before = contents(written["draem"])
    for other in others:
        settings = {"name": "draem", "few": split.few, "goods": split.goods, "kind": "texture"}
        settings |= {"count": COUNT, "out": written["draem"]}
        with pytest.raises(ArtifactError, match="other settings or photos"):
            write_baseline(**settings | other)
    assert contents(written["draem"]) == before


def test_an_unknown_baseline_is_refused_with_the_known_ones(split, tmp_path):
    with pytest.raises(ConfigError, match="crop_and_paste, poisson_paste, cut_paste, draem"):
        write_baseline("cutmix", split.few, split.goods, "texture", COUNT, tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_nothing_to_paste_and_nothing_to_paste_on_are_errors_that_leave_nothing(split, tmp_path, name):
    for few, goods in (((), split.goods), (split.few, ())):
        with pytest.raises(DatasetError, match=f"{len(few)} defects .* {len(goods)} good photos"):
            write_baseline(name, few, goods, "texture", COUNT, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_on_an_object_defects_lie_on_the_product(dataset, tmp_path):
    few = [replace(record, split="train") for record in dataset.defects]
    for name in ALL:
        write_baseline(name, few, dataset.train, "object", 2, tmp_path / name)
        for record in read_dataset(tmp_path / name).records:
            assert foreground_share(record, dataset.train) > 0.9


def foreground_share(record, goods) -> float:
    """Return which share of a pair's mask lies on the product of the photo that it was drawn on."""
    image, mask = read_image(record.image), read_mask(record.mask)
    photos = (read_image(good.image) for good in goods)
    photo = next(photo for photo in photos if np.array_equal(photo[~mask], image[~mask]))
    return float(baselines.foreground(photo)[mask].mean())
