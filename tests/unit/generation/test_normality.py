from __future__ import annotations

import numpy as np
import pytest
import torch

from blemish.data import read_dataset, write_sample
from blemish.generation.normality import Normality
from blemish.generation.quality import Judge, encoder_features
from blemish.networks import LiteEncoder

SIDE, HERE = 256, np.s_[100:160, 80:160]


def surface(seed: int) -> np.ndarray:
    """Vertical grain, as a good part shows it."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 8, (1, SIDE, 1)) + rng.normal(0, 4, (SIDE, SIDE, 1))
    return np.repeat(np.clip(120 + grain, 0, 255), 3, axis=2).astype(np.uint8)


def with_patch(photo: np.ndarray, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    made, mask = photo.copy(), np.zeros((SIDE, SIDE), np.bool_)
    made[HERE], mask[HERE] = patch[HERE], True
    return made, mask


def blot(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(70, 25, (SIDE, SIDE, 1)).clip(0, 255), 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def goods(tmp_path_factory):
    root = tmp_path_factory.mktemp("goods")
    for seed in range(12):
        write_sample(root, "good", f"{seed:02d}", surface(seed), None, split="train")
    return read_dataset(root).train


@pytest.fixture(scope="module")
def features():
    shown = torch.from_numpy(np.stack([surface(seed) for seed in range(4)]))
    return encoder_features(LiteEncoder.imagenet(shown.permute(0, 3, 1, 2).float() / 255))


@pytest.fixture(scope="module")
def normality(goods, features):
    return Normality.of(goods, features)


def test_what_no_good_photo_shows_is_novel_and_the_grain_of_another_one_is_not(normality, features):
    for seed in range(20, 24):
        blotted = normality.novelty(*with_patch(surface(seed), blot(seed)), features)
        regrained = normality.novelty(*with_patch(surface(seed), surface(seed + 50)), features)
        untouched = normality.novelty(*with_patch(surface(seed), surface(seed)), features)
        assert blotted > 4
        assert max(regrained, untouched) < blotted / 2


def test_the_same_photos_are_remembered_alike(normality, goods, features):
    again = Normality.of(goods, features)
    for name, value in normality.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_novelty_is_the_mean_over_the_cells_of_the_mask(normality, features):
    made, mask = with_patch(surface(30), blot(30))
    maps = features(made)
    with torch.no_grad():
        cells = normality([torch.from_numpy(one)[None] for one in maps[2:]])[0, 0].numpy()
    share = mask.reshape(32, 8, 32, 8).mean((1, 3))
    assert normality.novelty(made, mask, features) == pytest.approx(
        cells[share >= 0.5].mean(), abs=1e-5
    )


def test_a_defect_smaller_than_a_pixel_of_the_square_has_a_novelty(normality, features):
    large = np.repeat(np.repeat(surface(30), 8, axis=0), 8, axis=1)
    mask = np.zeros(large.shape[:2], np.bool_)
    mask[1001, 777] = True
    assert np.isfinite(normality.novelty(large, mask, features))


def test_the_gate_refuses_what_looks_like_a_good_part(normality, features):
    real = [with_patch(surface(seed), blot(seed)) for seed in range(40, 44)]
    judge = Judge(real, features, normality)
    gate = judge.gate()
    assert gate.least_novelty == 2
    for seed, patch, refused in ((60, surface(60), True), (61, blot(91), False)):
        made, mask = with_patch(surface(seed), patch)
        found = gate.verdict(judge.scores(surface(seed), made, mask)).reasons
        assert any(reason.startswith("novelty") for reason in found) == refused


def test_no_more_novelty_is_asked_than_a_quarter_of_the_real_ones_have(normality, features):
    faint = [with_patch(surface(seed), surface(seed)) for seed in range(40, 44)]
    judge = Judge(faint, features, normality)
    found = [normality.novelty(*pair, features) for pair in faint]
    assert np.quantile(found, 0.75) < 2
    assert judge.gate().least_novelty == pytest.approx(np.quantile(found, 0.75), abs=1e-5)


def test_without_good_photos_novelty_is_not_asked_for(features):
    made, mask = with_patch(surface(0), blot(0))
    judge = Judge([(made, mask)], features)
    assert judge.scores(surface(0), made, mask).novelty is None
    assert judge.gate().least_novelty is None
