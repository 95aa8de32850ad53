import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from blemish.errors import DatasetError, ImageError
from blemish.generation.measures import masked_features
from blemish.generation.placement import NoPlaceError
from blemish.generation.quality import Gate, Judge, Scores, Verdict, encoder_features, first_accepted
from blemish.networks import LiteEncoder

FINE = Scores(change=5, fill=0.9, outside=0, seam=1, copy=0.2, distance=1)


def defect(seed, value=-60, shape=(150, 150)):
    """A good photo, the same with a dent, and where it is."""
    rng = np.random.default_rng(seed)
    good = np.clip(rng.normal(120, 4, (*shape, 3)), 0, 255).astype(np.uint8)
    row, column = rng.integers(40, 110, 2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = (y - row) ** 2 + 2 * (x - column) ** 2 <= rng.uniform(9, 14) ** 2
    made = good.astype(int)
    made[mask] += value + rng.integers(-25, 25, (mask.sum(), 1))
    return good, np.clip(made, 0, 255).astype(np.uint8), mask


def colours(image):
    """Features that tell the mean colour of each 8 x 8 cell: a stand-in for an encoder."""
    cells = image.reshape(image.shape[0] // 8, 8, -1, 8, 3).mean((1, 3)) - 110
    return [np.moveaxis(cells, 2, 0).astype(np.float32)]


REAL = [defect(seed)[1:] for seed in range(5)]


@pytest.mark.parametrize("seed", range(5, 9))
def test_a_defect_like_the_real_ones_passes(seed):
    judge = Judge(REAL, colours)
    verdict = judge.gate().verdict(judge.scores(*defect(seed)))
    assert verdict.accepted, verdict.reasons


def test_gain_is_the_share_of_the_way_to_the_nearest_real_defect():
    judge = Judge(REAL, colours)
    good, made, mask = defect(6)
    vectors = [masked_features(*judge._features(image, mask)) for image in (good, made)]
    before, after = (min(np.linalg.norm(one - v) for one in judge.vectors) for v in vectors)
    assert judge.scores(good, made, mask).gain == pytest.approx(1 - after / before, abs=1e-6)
    assert judge.scores(good, good, mask).gain == 0
    assert Judge(REAL).scores(good, made, mask).gain is None


def test_a_painting_that_is_no_more_like_the_real_ones_than_the_good_photo_is_refused():
    judge = Judge(REAL, colours)
    good, made, mask = defect(6)
    assert "gain" not in broken(judge.gate().verdict(judge.scores(good, made, mask)))
    other_way = np.where(mask[..., None], np.uint8(190), good)
    assert judge.scores(good, other_way, mask).gain < 0
    assert "gain" in broken(judge.gate().verdict(judge.scores(good, other_way, mask)))


def broken(verdict):
    return {reason.split()[0] for reason in verdict.reasons}


def test_each_fault_is_named():
    judge = Judge(REAL, colours)
    good, made, mask = defect(6)
    gate = judge.gate()

    def faults(image):
        return broken(gate.verdict(judge.scores(good, image, mask)))

    assert {"change", "fill"} <= faults(good)
    spilt = made.copy()
    spilt[0, 0] = 255 - spilt[0, 0]
    assert faults(spilt) == {"outside"}
    half = np.where((np.arange(150) < np.nonzero(mask)[1].min() + 3)[:, None], made, good)
    assert "fill" in faults(half)
    bright = np.where(mask[..., None], np.uint8(250), good)
    assert "distance" in faults(bright)


def test_the_real_defects_keep_the_limits_derived_from_them_but_are_copies():
    judge = Judge(REAL, colours)
    gate = judge.gate()
    for image, mask in REAL:
        flat = np.full_like(image, 120)
        good = np.where(mask[..., None], flat, image)
        assert broken(gate.verdict(judge.scores(good, image, mask))) == {"copy"}


def test_a_real_defect_that_was_moved_may_be_a_copy_with_a_border_but_nothing_else():
    moved = replace(FINE, seam=9.0, copy=1.0)
    assert broken(Gate().verdict(moved)) == {"seam", "copy"}
    assert Gate().for_moved().verdict(moved).accepted
    limits = {"change": 0.0, "fill": 0.0, "outside": 9.0, "distance": 9.0, "gain": -1.0, "novelty": 0.0}
    gate = Gate(most_distance=2, least_gain=0, least_novelty=2).for_moved()
    for name, value in limits.items():
        assert broken(gate.verdict(replace(moved, **{name: value}))) == {name}


def test_one_real_defect_gives_limits_but_none_on_distance():
    judge = Judge(REAL[:1], colours)
    gate = judge.gate()
    assert gate.most_distance is None
    assert judge.scores(*defect(7)).distance is None
    assert gate.verdict(judge.scores(*defect(7))).accepted


def test_limits_say_what_they_saw():
    verdict = Gate(least_fill=0.5).verdict(Scores(**{**FINE.summary(), "fill": 0.123}))
    assert verdict.reasons == ("fill 0.123 below 0.5",)
    assert not verdict.accepted
    assert Gate().verdict(FINE).accepted


def test_scores_are_plain_numbers():
    assert json.loads(json.dumps(FINE.summary())) == FINE.summary()


def test_the_first_pair_that_passes_is_taken_and_the_others_are_not_forgotten():
    reasons = [("fill",), ("seam", "copy"), (), ()]
    chosen = first_accepted(lambda i: i, lambda i: Verdict(FINE, reasons[i]), 4)
    assert (chosen.pair, chosen.attempts) == (2, 3)
    assert chosen.verdict.accepted
    assert chosen.refused == (("fill",), ("seam", "copy"))


def test_when_no_pair_passes_the_one_with_the_fewest_faults_is_returned_as_refused():
    reasons = [("fill", "copy"), ("seam",), ("copy",)]
    chosen = first_accepted(lambda i: i, lambda i: Verdict(FINE, reasons[i]), 3)
    assert (chosen.pair, chosen.attempts) == (1, 3)
    assert not chosen.verdict.accepted
    assert len(chosen.refused) == 3


def test_an_attempt_whose_mask_fits_nowhere_is_refused_and_others_follow():
    def make(attempt):
        if attempt != 1:
            raise NoPlaceError("no place", hint="another photo")
        return attempt

    chosen = first_accepted(make, lambda _: Verdict(FINE, ("seam",)), 3)
    assert (chosen.pair, chosen.attempts, chosen.verdict.accepted) == (1, 3, False)
    assert chosen.refused == (("no place for the mask",), ("seam",), ("no place for the mask",))
    with pytest.raises(NoPlaceError):
        first_accepted(lambda _: make(0), lambda _: Verdict(FINE, ()), 3)


def test_without_a_real_defect_there_is_nothing_to_judge_by():
    with pytest.raises(DatasetError):
        Judge([])
    good, made, mask = defect(0)
    with pytest.raises(ImageError):
        Judge(REAL).scores(good[1:], made, mask)


def test_an_encoder_becomes_a_function_of_a_picture():
    encoder = LiteEncoder().eval()
    image = REAL[0][0][:64, :64]
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    maps = encoder_features(encoder)(image)
    assert [one.shape[0] for one in maps] == list(LiteEncoder.widths)
    for found, expected in zip(maps, encoder(tensor), strict=True):
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-5, atol=1e-6)
