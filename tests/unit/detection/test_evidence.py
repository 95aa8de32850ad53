from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from blemish.detection.evidence import (
    EVEN,
    PLAIN,
    RARE,
    REACH,
    SHARPNESS,
    SOFTNESS,
    STAIN,
    Opinion,
    Usual,
    below_peak,
    bounded,
    chroma,
    largest_expected,
    spreads,
    usual,
)


def test_without_features_the_verdict_is_what_the_segmenter_says():
    learned = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    opinion = Opinion(learned, None, None, torch.zeros(1, 3, 8, 8))
    assert torch.equal(opinion.verdict(Usual(torch.tensor(0.5))), learned)


def test_novelty_and_what_the_segmenter_says_beyond_its_ceiling_add_up():
    learned = torch.zeros(1, 1, 16, 16)
    learned[..., 3, 5], learned[..., 9, 9] = 7.0, 1.5
    novelty, flat = torch.full((1, 1, 2, 2), 1.5), torch.full((1, 1, 4, 4), -2.0)
    opinion = Opinion(learned, novelty, flat, torch.zeros(1, 3, 16, 16))
    expected = torch.full((1, 1, 16, 16), 1.5 - EVEN)
    expected[..., 3, 5] += 7.0 - 2.0
    torch.testing.assert_close(opinion.verdict(Usual(torch.tensor(2.0))), expected)


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
    assert (opinion.verdict(Usual(torch.tensor(0.0))).sigmoid() <= 0.5).all()
    assert (opinion.verdict(Usual(torch.tensor(-1.0))).sigmoid() > 0.5).all()


def test_among_places_that_nobody_doubts_the_fine_evidence_decides():
    novelty = torch.full((1, 1, 2, 2), 9.0)
    novelty[..., 1, 1] = 20.0
    learned = torch.zeros(1, 1, 16, 16)
    learned[..., 2, 2] = 4.0
    opinion = Opinion(learned, novelty, torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 16, 16))
    assert int(opinion.verdict(Usual(torch.tensor(1.0))).argmax()) == 2 * 16 + 2


def test_the_residual_takes_the_halo_and_leaves_the_peak():
    residual = torch.zeros(1, 1, 64, 64)
    residual[..., 20, 30] = 4.0
    novelty = torch.full((1, 1, 32, 32), 1.0)
    opinion = Opinion(torch.zeros(1, 1, 256, 256), novelty, residual, torch.zeros(1, 3, 256, 256))
    found = opinion.verdict(Usual(torch.tensor(1.0)))[0, 0] + EVEN
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


def test_the_chroma_of_grey_is_nothing_and_of_a_colour_its_opponents_whatever_the_texture():
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(2, 1, 32, 64, generator=generator).expand(2, 3, 32, 64)
    assert chroma(grey).shape == (2, 2, 4, 8)
    assert chroma(grey).abs().max() < 1e-6
    photo, stained = grey.clone(), torch.tensor([0.3, 0.1, -0.2]).view(3, 1, 1)
    photo[:, :, :, :24] += stained  # less than half of the picture
    found = chroma(photo)
    torch.testing.assert_close(found[:, 0, 1:3, 1], torch.full((2, 2), 0.1), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[:, 1, 1:3, 1], torch.full((2, 2), -0.2), atol=1e-6, rtol=0)


def test_a_tint_of_the_whole_picture_is_no_chroma():
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(2, 3, 32, 48, generator=generator)
    tint = torch.tensor([0.3, 0.1, -0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(chroma(photo + tint), chroma(photo), atol=1e-6, rtol=0)


def test_a_difference_is_measured_in_the_spreads_of_good_photos():
    difference = torch.tensor([3.0, 0.4]).view(1, 2, 1, 1)
    found = spreads(difference, torch.tensor([1.0, 0.1]))
    assert float(found) == pytest.approx(((9 + 16) / 2) ** 0.5)


def opinion_with(colour):
    novelty = torch.full((1, 1, 4, 4), 1.0)
    flat, learned = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 32, 32)
    return Opinion(learned, novelty, flat, torch.zeros(1, 3, 32, 32), colour)


def test_a_colour_beyond_that_of_good_photos_counts_as_novelty_and_is_bounded_with_it():
    reached = Usual(torch.tensor(1.0), torch.tensor([0.5, 0.5]), torch.tensor(3.0))
    for length, beyond in ((0.0, 0.0), (3.0, 0.0), (3.25, 0.25), (4.0, 1.0), (99.0, 96.0)):
        colour = torch.full((1, 2, 4, 4), 0.5 * length)
        found = opinion_with(colour).verdict(reached)
        coarse = float(bounded(torch.tensor(1.0 + STAIN * beyond)))
        torch.testing.assert_close(found, torch.full_like(found, coarse - EVEN))


def test_without_calibration_no_colour_is_a_stain():
    strange = opinion_with(torch.full((1, 2, 4, 4), 2.0))
    plain = opinion_with(None)
    assert torch.equal(
        strange.verdict(Usual(torch.tensor(0.0))), plain.verdict(Usual(torch.tensor(0.0)))
    )


def test_what_is_usual_is_measured_on_good_photos_without_their_padding():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([2.0, 0.5]).view(1, 2, 1, 1)
    opinions, valid, longest = [], [], []
    for index in range(40):
        inside = np.ones((32, 32), np.bool_)
        inside[:, 16:] = index % 2 == 0
        colour = torch.randn(1, 2, 4, 4, generator=generator) * scales
        learned = torch.randn(1, 1, 32, 32, generator=generator)
        if index % 2:
            colour[..., 2:] = 1e6
            learned[..., 16:] = 1e6
        opinions.append(opinion_with(colour)._replace(learned=learned))
        valid.append(inside)
        seen = (colour / scales)[..., : 2 if index % 2 else 4]
        longest.append(float(seen.square().mean(1).sqrt().max()))
    found = usual(opinions, valid, 0.9)
    assert float(found.learned) == pytest.approx(1.2816, abs=0.05)  # the normal 90 % quantile
    assert found.spread.tolist() == pytest.approx([2.0, 0.5], rel=0.15)
    assert float(found.stain) == pytest.approx(largest_expected(longest, RARE), rel=0.15)


def test_of_photos_without_a_colour_to_compare_nothing_is_a_stain():
    inside = np.ones((32, 32), np.bool_)
    never = Usual(torch.zeros(())).stain
    assert usual([opinion_with(None)] * 3, [inside] * 3, 0.9).stain == never
    colour = torch.ones(1, 2, 4, 4)
    assert usual([opinion_with(colour)], [inside], 0.9).stain == never
    thin = np.zeros((32, 32), np.bool_)
    thin[:2] = True  # no middle of a cell is inside
    assert usual([opinion_with(colour)] * 3, [thin] * 3, 0.9).stain == never


@pytest.mark.parametrize("count", [2, 6, 40])
def test_one_more_value_exceeds_the_largest_expected_as_often_as_promised(count):
    """Checked against draws: `count` values and one more, 20,000 times."""
    draws = np.random.default_rng(0).lognormal(1.5, 0.3, (20_000, count + 1))
    beyond = [draw[-1] > largest_expected(draw[:-1], 0.05) for draw in draws]
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.006)


def test_the_largest_expected_of_few_or_tiny_values_takes_nothing_for_a_stain():
    assert largest_expected([], 0.01) == largest_expected([5.0], 0.01) >= 1e4
    assert largest_expected([0.0, 0.0, 0.0], 0.01) == 1
    assert largest_expected([1.0, 5.0], 1e-6) <= 1e4 + 1e-6
