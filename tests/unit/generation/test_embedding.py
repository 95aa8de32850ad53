from __future__ import annotations

import pytest
import torch

from blemish.errors import ConfigError
from blemish.generation.embedding import Embedding

TYPES = ("scratch", "hole", "stain")


def fresh(**options) -> Embedding:
    return Embedding.fresh(TYPES, 6, **{"anomaly_tokens": 8, "spatial_tokens": 3, **options})


def spots(count: int) -> torch.Tensor:
    masks = torch.zeros(count, 1, 16, 16)
    for index, mask in enumerate(masks):
        mask[0, index : index + 4, 2:5] = 1
    return masks


def test_the_tokens_of_a_defect_are_those_of_its_type_followed_by_those_of_its_place():
    embedding, masks = fresh(), spots(2)
    tokens = embedding(["stain", "hole"], masks)
    assert tokens.shape == (2, 8 + 3, 6)
    assert torch.equal(tokens[0, :8], embedding.anomaly[2])
    assert torch.equal(tokens[1, :8], embedding.anomaly[0])
    torch.testing.assert_close(tokens[:, 8:], embedding.scale * embedding.encoder(masks))


def test_the_place_does_not_depend_on_the_type():
    tokens = fresh()(["stain", "hole"], spots(1).expand(2, -1, -1, -1))
    torch.testing.assert_close(tokens[0, 8:], tokens[1, 8:])
    assert not torch.equal(tokens[0, :8], tokens[1, :8])


def test_each_type_has_mask_tokens_of_its_own():
    embedding = fresh(mask_tokens=2)
    tokens = embedding.mask_tokens(["scratch", "stain", "scratch"])
    assert tokens.shape == (3, 2, 6)
    assert torch.equal(tokens[0], tokens[2])
    assert not torch.equal(tokens[0], tokens[1])


def test_types_are_sorted_whatever_order_they_are_given_in():
    other = Embedding.fresh(TYPES[::-1] + TYPES, 6, spatial_tokens=3)
    assert other.types == ("hole", "scratch", "stain")
    mine, theirs = fresh().state_dict(), other.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_tokens_start_near_the_given_word_yet_no_two_alike():
    word = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0, 5.0])
    embedding = fresh(word=word)
    for tokens in (embedding.anomaly.detach(), embedding.mask.detach()):
        away = (tokens - word).flatten(0, 1).norm(dim=1)
        assert (away < 0.05 * word.norm()).all()
        assert len(tokens.flatten(0, 1).unique(dim=0)) == tokens.shape[0] * tokens.shape[1]


def test_location_tokens_start_as_large_as_the_word():
    word = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0, 5.0])
    places = fresh(word=word)(["hole"] * 4, spots(4))[:, 8:]
    torch.testing.assert_close(
        places.square().mean().sqrt(), word.square().mean().sqrt(), rtol=0.01, atol=0
    )


@pytest.mark.parametrize("word", [None, torch.zeros(6)])
def test_without_a_word_all_tokens_start_as_noise_of_the_wanted_size(word):
    embedding = fresh(word=word, scale=0.5, anomaly_tokens=400, mask_tokens=400)
    places = embedding(["hole"] * 4, spots(4))[:, 400:]
    for tokens in (embedding.anomaly, embedding.mask, places):
        torch.testing.assert_close(tokens.square().mean().sqrt(), torch.tensor(0.5), rtol=0.05, atol=0)


def test_a_fresh_embedding_depends_on_its_seed_and_on_nothing_else():
    first = fresh(seed=1).state_dict()
    torch.rand(1)
    again, other = fresh(seed=1).state_dict(), fresh(seed=2).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["anomaly"], other["anomaly"])
    assert not torch.equal(first["encoder.head.weight"], other["encoder.head.weight"])


def test_making_one_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    fresh()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("ask", [lambda e: e(["dent"], spots(1)), lambda e: e.mask_tokens(["dent"])])
def test_an_unknown_type_is_an_error_that_lists_the_known_ones(ask):
    with pytest.raises(ConfigError, match="dent") as caught:
        ask(fresh())
    assert "hole, scratch, stain" in str(caught.value)


@pytest.mark.parametrize("options", [{"types": []}, {"anomaly_tokens": 0}, {"mask_tokens": 0}])
def test_nothing_to_learn_is_refused(options):
    with pytest.raises(ConfigError, match="cannot embed"):
        Embedding(**{"types": TYPES, "token_width": 6, **options})


def test_a_word_of_another_width_is_refused():
    with pytest.raises(ConfigError, match=r"\(7,\), expected \(6,\)"):
        fresh(word=torch.zeros(7))
