from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from blemish.detection.evidence import (
    EVEN,
    PLAIN,
    REACH,
    SHARPNESS,
    SOFTNESS,
    Opinion,
    below_peak,
    bounded,
)


def test_without_features_the_verdict_is_what_the_segmenter_says():
    learned = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    opinion = Opinion(learned, None, None, torch.zeros(1, 3, 8, 8))
    assert torch.equal(opinion.verdict(torch.tensor(0.5)), learned)


def test_novelty_and_what_the_segmenter_says_beyond_its_ceiling_add_up():
    learned = torch.zeros(1, 1, 16, 16)
    learned[..., 3, 5], learned[..., 9, 9] = 7.0, 1.5
    novelty, flat = torch.full((1, 1, 2, 2), 1.5), torch.full((1, 1, 4, 4), -2.0)
    opinion = Opinion(learned, novelty, flat, torch.zeros(1, 3, 16, 16))
    expected = torch.full((1, 1, 16, 16), 1.5 - EVEN)
    expected[..., 3, 5] += 7.0 - 2.0
    torch.testing.assert_close(opinion.verdict(torch.tensor(2.0)), expected)


def test_novelty_is_itself_until_it_stands_out_and_bends_below_a_bound():
    usual = torch.linspace(-9, PLAIN, 50)
    assert torch.equal(bounded(usual), usual)
    beyond = bounded(torch.linspace(PLAIN, PLAIN + 4 * SOFTNESS, 50))
    assert (beyond.diff() > 0).all()
    assert beyond[-1] == pytest.approx(EVEN, abs=0.01)
    assert bounded(torch.tensor(1e4)) <= EVEN
    slope = (bounded(torch.tensor(PLAIN + 1e-2)) - PLAIN) / 1e-2
    assert slope == pytest.approx(1, abs=1e-3)


def test_novelty_alone_never_passes_one_half():
    learned = torch.zeros(1, 1, 8, 8)
    opinion = Opinion(
        learned, torch.full((1, 1, 1, 1), 50.0), torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 8, 8)
    )
    assert (opinion.verdict(torch.tensor(0.0)).sigmoid() <= 0.5).all()
    assert (opinion.verdict(torch.tensor(-1.0)).sigmoid() > 0.5).all()


def test_among_places_that_nobody_doubts_the_fine_evidence_decides():
    novelty = torch.full((1, 1, 2, 2), 9.0)
    novelty[..., 1, 1] = 20.0
    learned = torch.zeros(1, 1, 16, 16)
    learned[..., 2, 2] = 4.0
    opinion = Opinion(learned, novelty, torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 16, 16))
    assert int(opinion.verdict(torch.tensor(1.0)).argmax()) == 2 * 16 + 2


def test_the_residual_takes_the_halo_and_leaves_the_peak():
    residual = torch.zeros(1, 1, 64, 64)
    residual[..., 20, 30] = 4.0
    novelty = torch.full((1, 1, 32, 32), 1.0)
    opinion = Opinion(torch.zeros(1, 1, 256, 256), novelty, residual, torch.zeros(1, 3, 256, 256))
    found = opinion.verdict(torch.tensor(1.0))[0, 0] + EVEN
    assert found[82, 122] == pytest.approx(1 - SHARPNESS * 4 * (1 - 0.875**2))
    assert found[4 * (20 + REACH) - 2, 122] == pytest.approx(1 - SHARPNESS * 4)
    assert found[4 * (20 + REACH) + 6, 122] == pytest.approx(1)


def test_the_distance_below_the_peak_is_that_of_every_square_window():
    values = torch.randn(2, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    padded = F.pad(values, (2, 2, 2, 2), value=-torch.inf)
    for row, column in itertools.product(range(9), range(11)):
        peak = padded[..., row : row + 5, column : column + 5].amax((2, 3))
        expected = peak - values[..., row, column]
        torch.testing.assert_close(below_peak(values, 2)[..., row, column], expected)
