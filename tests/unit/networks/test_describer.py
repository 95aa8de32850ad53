from __future__ import annotations

import pytest
import torch

from blemish.networks import Describer, LiteEncoder
from blemish.networks.describer import statistics


def test_statistics_of_a_hand_made_patch():
    values = torch.zeros(1, 1, 24, 24)
    values[..., 10:14, 10:12], values[..., 10:14, 12:14] = 2.0, 4.0
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 10:14, 10:14] = 1
    mean, deviation, apart = statistics(values, mask)[0].tolist()
    assert mean == pytest.approx(3, abs=1e-4)
    assert deviation == pytest.approx(1, abs=1e-4)
    assert apart == pytest.approx(3, abs=1e-4)


def test_what_lies_far_from_the_defect_makes_no_difference():
    values = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 4:8, 4:8] = 1
    changed = values.clone()
    changed[..., 20:, 20:] += 5
    assert torch.equal(statistics(values, mask), statistics(changed, mask))
    changed[..., 5, 5] += 5
    assert not torch.equal(statistics(values, mask), statistics(changed, mask))


def test_tokens_tell_one_look_from_another_and_not_one_batch_from_another():
    torch.manual_seed(0)
    encoder, describer = LiteEncoder(), Describer(4, 16)
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    image[1] = image[1].mean()
    mask = torch.zeros(3, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    found = describer(image, mask, encoder(image))
    assert found.shape == (3, 4, 16)
    torch.testing.assert_close(found.square().mean(-1), torch.ones(3, 4), rtol=0.02, atol=0.02)
    assert not torch.allclose(found[0], found[1], atol=0.01)
    alone = describer(image[:1], mask[:1], encoder(image[:1]))
    torch.testing.assert_close(alone[0], found[0], rtol=1e-4, atol=1e-4)
