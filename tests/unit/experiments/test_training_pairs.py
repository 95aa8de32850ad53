from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from blemish.config import Turn
from blemish.data import write_sample
from blemish.detection.photos import View
from blemish.errors import DatasetError
from blemish.experiments.training_pairs import Squares, TrainingPairs, batch_of, relit
from blemish.records import Record

GOODS = [Record(Path(f"{n}.png")) for n in range(5)]


def defects(label: str, *numbers: int) -> list[Record]:
    return [Record(Path(f"{n}.png"), label) for n in numbers]


class Numbered:
    """Squares of two pixels that show the number in their record's name."""

    def view(self, record: Record) -> View:
        number = int(record.image.stem)
        return View(np.full((2, 2, 3), number, np.uint8), np.ones((2, 2), bool), np.zeros((2, 2), bool))


def pairs(sources: list[list[Record]], **settings: object) -> TrainingPairs:
    chosen = {"goods": GOODS, "types": ("bar", "spot"), "batch": 8, "seed": 0} | settings
    return TrainingPairs(sources=sources, squares=Numbered(), **chosen)


def shown(found: TrainingPairs, iterations: int) -> list[int]:
    return [int(n) for i in range(iterations) for n in found[i][0].photo[:, 0, 0, 0]]


SOURCES = [defects("spot", 10) + defects("bar", 11, 12, 13), defects("spot", *range(20, 50))]


def test_an_iteration_depends_on_seed_and_number_alone():
    first, again = pairs(SOURCES), pairs(SOURCES)
    shown(again, 5)
    for iteration in (7, 0, 1000):
        (one,), (other,) = first[iteration], again[iteration]
        assert torch.equal(one.photo, other.photo)
        assert torch.equal(one.label, other.label)
    assert shown(first, 4) != shown(pairs(SOURCES, seed=1), 4)
    assert len(set(map(tuple, np.reshape(shown(first, 9), (9, 8))))) == 9


def test_half_are_good_and_sources_and_their_types_are_used_evenly_whatever_their_sizes():
    found = Counter(shown(pairs(SOURCES), 500))
    total = found.total()
    of_first = {"spot": found[10], "bar": found[11] + found[12] + found[13]}
    of_second = sum(found[n] for n in range(20, 50))
    shares = {n: found[n] / total for n in range(5)}
    assert sum(shares.values()) == pytest.approx(0.5, abs=0.04)
    assert shares == pytest.approx(dict.fromkeys(range(5), 0.1), abs=0.02)
    assert of_second / total == pytest.approx(0.25, abs=0.03)
    assert of_first["spot"] / total == pytest.approx(0.125, abs=0.03)
    assert of_first["bar"] / total == pytest.approx(0.125, abs=0.03)
    assert set(found) == {*range(5), 10, 11, 12, 13, *range(20, 50)}


def test_the_share_of_good_photos_is_the_one_asked_for():
    good = [number < 5 for number in shown(pairs(SOURCES, good_share=0.2), 300)]
    assert np.mean(good) == pytest.approx(0.2, abs=0.03)
    assert min(shown(pairs(SOURCES, good_share=0.0, goods=()), 50)) >= 10
    assert max(shown(pairs([]), 50)) < 5
    assert max(shown(pairs([[], []]), 50)) < 5


def test_nothing_to_learn_from_is_an_error():
    for goods, sources, share in (((), SOURCES, 0.5), ((), [], 0.0), ((), [[]], 0.0)):
        with pytest.raises(DatasetError, match="good photos"):
            pairs(sources, goods=goods, good_share=share)


def test_labels_count_the_types_in_the_order_given_and_all_else_is_minus_one():
    numbers = {10: 1, 11: 0, 12: 0, 13: 0, 60: -1} | dict.fromkeys(range(5), -1)
    found = pairs([SOURCES[0], defects("draem", 60)])
    for iteration in range(40):
        (batch,) = found[iteration]
        seen = batch.photo[:, 0, 0, 0].tolist()
        assert batch.label.tolist() == [numbers[number] for number in seen]


def test_photo_mask_and_padding_turn_together_and_in_every_way_that_is_allowed(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random((20, 32)) < 0.3
    photo = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 200 + 55
    record = write_sample(tmp_path, "spot", "0", photo, mask, split="train")
    turns = get_args(Turn)
    found = TrainingPairs((), [[record]], ["spot"], Squares(32), batch=4, good_share=0.0, turns=turns)
    seen = set()
    for iteration in range(40):
        (batch,) = found[iteration]
        assert torch.equal(batch.mask[:, 0], batch.valid[:, 0] & (batch.photo[..., 0] == 255))
        assert batch.valid.sum(dim=(1, 2, 3)).tolist() == [20 * 32] * 4
        seen |= {one.numpy().tobytes() for one in batch.mask}
    assert len(seen) == len(turns) + 1


class Scripted:
    """A stream whose three draws are known."""

    def __init__(self, *draws: float) -> None:
        self.draws = np.array(draws)

    def uniform(self, low: float, high: float, count: int) -> np.ndarray:
        assert (count, low) == (3, -high)
        return self.draws


def ramp() -> View:
    photo = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    return View(photo, np.eye(16, dtype=bool), np.zeros((16, 16), bool))


@pytest.mark.parametrize("draws", [(0, 0, 0), (0.3, 0, 0), (0, -0.3, 0.0), (-0.2, 0.1, 0.25)])
def test_another_light_is_gain_gamma_and_shift_of_the_levels_and_moves_nothing(draws):
    view = ramp()
    found = relit(view, 0.3, Scripted(*draws))
    gain, gamma, shift = draws
    expected = [255 * np.e**gain * (x / 255) ** np.e**gamma + 40 * shift for x in range(256)]
    np.testing.assert_allclose(found.image[..., 1].ravel(), np.clip(expected, 0, 255), atol=0.5 + 1e-9)
    assert found.valid is view.valid
    assert found.allowed is view.allowed


def test_without_light_a_photo_stays_as_it_is_and_with_it_each_has_its_own():
    assert relit(ramp(), 0.0, np.random.default_rng(0)).image.tobytes() == ramp().image.tobytes()
    dark, lit = pairs(SOURCES, goods=GOODS[4:]), pairs(SOURCES, goods=GOODS[4:], light=0.3)
    assert set(shown(dark, 20)) <= {4, 10, 11, 12, 13, *range(20, 50)}
    batches = [lit[iteration][0] for iteration in range(20)]
    levels = {int(n) for b in batches for n in b.photo[b.label == -1, 0, 0, 0]}
    assert len(levels) > 5
    assert shown(lit, 5) == shown(pairs(SOURCES, goods=GOODS[4:], light=0.3), 5)
    for iteration in range(5):
        assert torch.equal(lit[iteration][0].label, dark[iteration][0].label)


def test_squares_are_letterboxed_once_and_travel_without_their_cache(tmp_path):
    mask = np.zeros((10, 20), np.bool_)
    mask[2:6, 10:14] = True
    record = write_sample(tmp_path, "spot", "0", np.full((10, 20, 3), 7, np.uint8), mask)
    squares = Squares(40)
    view = squares.view(record)
    assert view.image.shape == (40, 40, 3)
    assert view.valid.sum() == 20 * 40
    assert np.argwhere(view.allowed).min(0).tolist() == [10 + 4, 20]
    assert view.allowed.sum() == 4 * mask.sum()
    assert squares.view(record) is view
    other = pickle.loads(pickle.dumps(squares))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(other.view(record).allowed, view.allowed)


def test_a_good_photo_has_an_empty_mask_and_a_defect_without_one_is_an_error(tmp_path):
    photo = np.zeros((8, 8, 3), np.uint8)
    good = write_sample(tmp_path, "good", "0", photo)
    assert not Squares(8).view(good).allowed.any()
    undrawn = write_sample(tmp_path, "spot", "0", photo)
    with pytest.raises(DatasetError, match="no mask"):
        Squares(8).view(undrawn)


def test_a_batch_has_the_shapes_and_the_range_that_it_says():
    views = [(Numbered().view(Record(Path(f"{n}.png"))), "good") for n in (0, 51, 255)]
    batch = batch_of(views, ())
    assert (batch.photo.shape, batch.photo.dtype) == ((3, 2, 2, 3), torch.uint8)
    assert (batch.mask.shape, batch.valid.shape) == ((3, 1, 2, 2), (3, 1, 2, 2))
    assert batch.mask.dtype == batch.valid.dtype == torch.bool
    expected = torch.tensor([[0.0], [0.2], [1.0]]).expand(3, 3)
    torch.testing.assert_close(batch.picture()[:, :, 0, 0], expected)
