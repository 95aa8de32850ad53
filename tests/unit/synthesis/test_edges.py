import numpy as np
import pytest

from blemish.synthesis.edges import feathered, softened


def line():
    mask = np.zeros((256, 256), np.bool_)
    mask[100, 20:200] = True
    return mask


def block():
    mask = np.zeros((256, 256), np.bool_)
    mask[60:180, 80:200] = True
    return mask


@pytest.mark.parametrize("mask", [line(), block()])
def test_a_softened_edge_stays_inside_and_reaches_one(mask):
    for seed in range(10):
        soft = softened(mask, np.random.default_rng(seed))
        assert soft.dtype == np.float32
        assert soft.max() == 1
        assert not soft[~mask].any()


@pytest.mark.parametrize("mask", [line(), block()])
def test_a_feathered_edge_stays_inside_and_never_fades_away(mask):
    soft = feathered(mask)
    assert soft.dtype == np.float32
    assert not soft[~mask].any()
    assert soft[mask].min() >= np.float32(0.4)
    assert soft.max() <= 1


def test_a_feathered_block_is_whole_in_its_middle_and_fades_towards_its_edge():
    row = feathered(block())[120, 80:140]
    assert row[-1] == 1
    assert (np.diff(row) >= 0).all()
    assert row[0] < 0.6
