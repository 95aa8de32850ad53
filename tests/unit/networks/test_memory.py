from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import mahalanobis

from blemish.networks import Novelty
from blemish.networks.memory import NormalMemory, exact_parts, k_centres, patches, within_metric

WIDTHS = (3, 5)


def features(count: int = 1, seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn(count, width, side, side, generator=rng)
        for width, side in zip(WIDTHS, (8, 4), strict=True)
    ]


@pytest.fixture
def memory() -> NormalMemory:
    """A memory of four photos, numbered 10 to 13, that keeps 40 of their 256 patches."""
    return remembering([features(seed=seed) for seed in range(4)])


def remembering(photos: list[list[torch.Tensor]]) -> NormalMemory:
    """A memory of photos, numbered from 10 on, that keeps 40 of their patches."""
    found, families = NormalMemory(WIDTHS, size=40), range(10, 10 + len(photos))
    rng = torch.Generator().manual_seed(0)
    found.measure(photos, families, rng)
    found.fill(photos, families, rng)
    found.standardise(photos, families)
    return found


def test_each_centre_is_the_farthest_from_all_before_it():
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    chosen = k_centres(rows, 12).tolist()
    assert len(set(chosen)) == 12
    for count in range(1, 12):
        nearest = torch.cdist(rows, rows[chosen[:count]]).amin(1)
        assert float(nearest[chosen[count]]) == pytest.approx(float(nearest.max()), rel=1e-4)


def test_with_fewer_rows_than_centres_every_row_is_kept():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert set(k_centres(rows, 13).tolist()) == set(range(5))
    assert len(k_centres(rows, 13)) == 13


def test_patches_are_both_strides_on_the_grid_of_the_finer_one():
    fine, coarse = features(2)
    found = patches([fine, coarse], 3)
    assert found.shape == (2, 8, 8, 8)
    torch.testing.assert_close(found[:, :3, 4, 4], fine[:, :, 3:6, 3:6].mean((2, 3)))
    torch.testing.assert_close(patches([fine, coarse], 1)[:, :3], fine)


def test_under_the_metric_distances_are_those_of_mahalanobis():
    rng = torch.Generator().manual_seed(0)
    differences = torch.randn(500, 6, generator=rng) @ torch.randn(6, 6, generator=rng)
    metric = within_metric(differences)
    covariance = (differences.T @ differences / 500).double().numpy()
    shrunk = covariance + 0.1 * covariance.trace() / 6 * np.eye(6)
    inverse = np.linalg.inv(shrunk)
    given = torch.randn(20, 6, generator=rng)
    expected = [mahalanobis(row, np.zeros(6), inverse) for row in given.double().numpy()]
    ratios = (given @ metric).norm(dim=1) / torch.tensor(expected)
    torch.testing.assert_close(ratios, ratios[0].expand(20), rtol=1e-4, atol=0)
    moved = differences @ metric
    assert float(moved.square().sum()) == pytest.approx(float(differences.square().sum()), rel=1e-4)


def test_what_never_differs_has_the_plain_metric():
    assert torch.equal(within_metric(torch.zeros(10, 4)), torch.eye(4))


def test_photos_of_one_part_tell_nothing_of_what_varies_between_parts():
    memory = NormalMemory(WIDTHS, size=40)
    photos = [features(seed=seed) for seed in range(4)]
    memory.measure(photos, [3] * 4, torch.Generator().manual_seed(0))
    assert torch.equal(memory.metric, torch.eye(sum(WIDTHS)))


def test_a_change_counts_for_more_where_good_photos_agree():
    quiet, loud = 0, 1
    photos = [features(seed=seed) for seed in range(4)]
    for photo in photos:
        photo[0][:, quiet] *= 0.05

    def gap(memory: NormalMemory) -> float:
        """Return by how much more a change of the quiet channel counts, in log distance."""
        found = []
        for channel in (quiet, loud):
            changed = [x.clone() for x in photos[0]]
            changed[0][:, channel, 3:6, 3:6] += 2.0
            found.append(memory(changed)[0, 0, 4, 4] * memory.spread)
        return float(found[0] - found[1])

    plain = NormalMemory(WIDTHS, size=40)
    plain.fill(photos, range(4), torch.Generator().manual_seed(0))
    assert gap(remembering(photos)) > gap(plain) + 0.5


def nearest(memory: NormalMemory, given: list[torch.Tensor], allowed: torch.Tensor) -> torch.Tensor:
    """Return by brute force the standardised log distance of every patch to the allowed ones."""
    rows = patches(given, 3)[0].flatten(1).T @ memory.metric
    squared = torch.stack([(memory.bank[allowed] - row).square().sum(1).min() for row in rows])
    logs = torch.log(squared / rows.shape[1] + 0.05)
    return ((logs - memory.centre) / memory.spread).view(8, 8)


def test_novelty_is_the_distance_to_the_nearest_patch_of_the_memory(memory):
    given = features(seed=9)
    everyone = torch.ones(40, dtype=torch.bool)
    expected = nearest(memory, given, everyone)
    torch.testing.assert_close(memory(given)[0, 0], expected, rtol=1e-3, atol=1e-3)
    unknown = memory(given, torch.tensor([-1]))[0, 0]
    torch.testing.assert_close(unknown, expected, rtol=1e-3, atol=1e-3)


def test_a_photo_of_the_memory_is_compared_with_the_others_only(memory):
    given, number = features(seed=2), torch.tensor([12])
    expected = nearest(memory, given, memory.owner != 12)
    torch.testing.assert_close(memory(given, number)[0, 0], expected, rtol=1e-3, atol=1e-3)
    assert float(memory(given).mean()) < float(memory(given, number).mean())


def test_with_one_family_in_memory_its_photos_are_compared_with_it_all_the_same(memory):
    memory.owner.fill_(10)
    given = features(seed=0)
    assert torch.equal(memory(given, torch.tensor([10])), memory(given))


def test_novelty_of_the_good_photos_has_mean_zero_and_variance_one(memory):
    values = torch.cat([memory(features(seed=i), torch.tensor([10 + i])) for i in range(4)])
    assert float(values.mean()) == pytest.approx(0, abs=1e-4)
    assert float(values.std()) == pytest.approx(1, abs=1e-4)


def test_what_no_good_photo_has_shown_is_new(memory):
    given = features(seed=9)
    strange = [F.pad(x[..., 1:], (1, 0), value=8.0) for x in given]
    found = memory(strange)[0, 0]
    assert float(found[:, 0].min()) > float(found[:, 4:].max())


def test_a_photo_does_not_depend_on_its_neighbours_in_the_batch(memory):
    together = memory(features(3))
    alone = memory([x[:1] for x in features(3)])
    torch.testing.assert_close(together[:1], alone)


def test_three_numbers_that_bfloat16_holds_make_up_a_float():
    values = torch.randn(100, 1, generator=torch.Generator().manual_seed(0)) * 1000
    parts = exact_parts(values)
    torch.testing.assert_close(parts.sum(1, keepdim=True), values, rtol=1e-7, atol=0)
    assert torch.equal(parts.bfloat16()[:, :2].float(), parts[:, :2])


def test_in_bfloat16_distances_stay_close_although_features_are_large(memory):
    given = features(seed=9)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = memory(given)
    torch.testing.assert_close(coarse, memory(given), rtol=0.03, atol=0.03)


def test_novelty_is_half_near_and_sharp_together_and_half_wide():
    both, rng = Novelty(WIDTHS, size=40), torch.Generator().manual_seed(0)
    photos = [features(seed=seed) for seed in range(4)]
    both.fit(photos, range(4), rng)
    given, own = features(2, seed=9), torch.tensor([1, -1])
    coarse = F.interpolate(both.wide(given[1:], own), scale_factor=2.0, mode="bilinear")
    fine = both.near(given, own) / 4 + both.sharp(given, own) / 4
    torch.testing.assert_close(both(given, own), fine + coarse / 2)
    assert both.wide.bank.shape == (40, WIDTHS[1])
    assert both.sharp.side == 1
    plain = [torch.equal(m.metric, torch.eye(len(m.metric))) for m in both.children()]
    assert plain == [False, False, True]


def test_a_memory_filled_anew_keeps_its_scale_and_finds_less_that_is_new():
    both, rng = Novelty(WIDTHS, size=400), torch.Generator().manual_seed(0)
    photos = [features(seed=seed) for seed in range(4)]
    both.fit(photos[:3], range(3), rng)
    scales = [(float(memory.centre), float(memory.spread)) for memory in both.children()]
    given = photos[3]
    before = both(given)
    both.fill(photos, range(4), rng)
    assert [(float(memory.centre), float(memory.spread)) for memory in both.children()] == scales
    assert float(both(given).mean()) < float(before.mean())
    torch.testing.assert_close(both(given, torch.tensor([3])), before, rtol=1e-3, atol=1e-3)
