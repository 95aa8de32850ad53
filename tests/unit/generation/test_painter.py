from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from blemish.backbones.embedded import Embedded, PixelCodec
from blemish.config import dotted, validated
from blemish.errors import ConfigError
from blemish.generation import painter as module
from blemish.generation.embedding import Embedding
from blemish.generation.exemplars import Exemplar
from blemish.generation.masks import Template
from blemish.generation.painter import Painter
from blemish.generator_config import GeneratorConfig, PaintingConfig

SIDE = 64


def grain(seed):
    return np.random.default_rng(seed).integers(60, 200, (SIDE, SIDE, 3), dtype=np.uint8)


def disc(row, column, radius):
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


@pytest.fixture(scope="module")
def codec():
    codec = PixelCodec(SIDE, 4)
    codec.standardise([torch.from_numpy(grain(9)).permute(2, 0, 1).float() / 255])
    return codec


@pytest.fixture(scope="module")
def embedded(small_backbone, codec):
    backbone = Embedded.load(small_backbone, device=torch.device("cpu"), dtype=torch.float32)
    backbone.level.copy_(codec.level)
    backbone.spread.copy_(codec.spread)
    return backbone


@pytest.fixture(scope="module")
def embedding():
    shape = {"anomaly_tokens": 2, "spatial_tokens": 2, "scale": 1.0}
    return Embedding.fresh(["dent", "rust"], 8, **shape).eval()


@pytest.fixture(scope="module")
def sources():
    mask = disc(30, 33, 8)
    return [Exemplar(grain(2), Template(mask, np.ones_like(mask)), "dent")]


def how(painter="patches", **settings):
    return PaintingConfig(painter=painter, **{"steps": 3, **settings})


def fill(painter, sources, stream=1, label="dent", mask=None):
    mask = disc(30, 30, 9) if mask is None else mask
    return painter.fill(grain(1), mask, label, sources, 1.0, stream)


@pytest.fixture(params=["patches", "mixed", "network"])
def painter(request, embedded, embedding):
    return Painter(embedded, embedding, how(request.param))


def test_all_that_is_inside_the_mask_is_painted_and_nothing_else(painter, sources):
    made = fill(painter, sources)
    changed = (made != grain(1)).any(axis=2)
    mask = disc(30, 30, 9)
    assert made.dtype == np.uint8
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.9


def test_one_stream_paints_one_picture_and_another_stream_another(painter, sources):
    first, again, other = (fill(painter, sources, stream) for stream in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_patches_alone_need_neither_network_nor_tokens(codec, embedded, embedding, sources):
    alone = Painter(codec, None, how())
    beside = Painter(embedded, embedding, how())
    np.testing.assert_array_equal(fill(alone, sources), fill(beside, sources))
    assert (alone.size, alone.device.type) == (SIDE, "cpu")


def test_where_nothing_is_handed_over_the_mixture_is_the_network(embedded, embedding, sources):
    mixed = Painter(embedded, embedding, how("mixed", handover=1e-6))
    network = Painter(embedded, embedding, how("network"))
    np.testing.assert_array_equal(fill(mixed, sources), fill(network, sources))


def test_where_all_is_handed_over_the_mixture_is_the_patches(embedded, embedding, sources):
    mixed = Painter(embedded, embedding, how("mixed", handover=float("inf")))
    patches = Painter(embedded, embedding, how("patches"))
    np.testing.assert_array_equal(fill(mixed, sources), fill(patches, sources))


def test_in_between_the_mixture_is_neither(embedded, embedding, sources):
    made = {
        name: fill(Painter(embedded, embedding, how(name)), sources) for name in ("patches", "mixed")
    }
    made["network"] = fill(Painter(embedded, embedding, how("network")), sources)
    assert len({picture.tobytes() for picture in made.values()}) == 3


def test_a_network_is_told_which_type_to_paint(embedded, embedding, sources):
    painter = Painter(embedded, embedding, how("network"))
    dent, rust = (fill(painter, sources, label=label) for label in ("dent", "rust"))
    assert (dent != rust).any()
    with pytest.raises(ConfigError, match="'hole' was not learned"):
        fill(painter, sources, label="hole")


def test_what_a_painter_has_not_learned_it_refuses(codec, embedded, embedding):
    for name in ("network", "mixed"):
        with pytest.raises(ConfigError, match="learned patches only"):
            Painter(codec, None, how(name))
        with pytest.raises(ConfigError, match="learned patches only"):
            Painter(codec, None, how()).painting(how(name))
    both = Painter(embedded, embedding, how("network"), ["rust"])
    other = both.painting(how("patches", loyalty=1.0))
    assert (other.backbone, other.embedding, other.unfilled) == (embedded, embedding, {"rust"})
    assert other.how.loyalty == 1


class Latents:
    """A backbone whose latents are no pixels, as the published ones have."""

    size = SIDE


@pytest.mark.parametrize("name", ["patches", "mixed"])
def test_patches_paint_pixels_and_nothing_else(embedding, name):
    with pytest.raises(ConfigError, match="needs the embedded backbone"):
        Painter(Latents(), embedding, how(name))
    assert Painter(Latents(), embedding, how("network")).size == SIDE


@pytest.mark.parametrize(
    ("asked", "label", "expected"),
    [
        ("auto", "rust", "tempered"),
        ("auto", "dent", "off"),
        ("off", "rust", "off"),
        ("paper", "dent", "paper"),
        ("reference", "rust", "reference"),
    ],
)
def test_attention_is_reweighted_by_itself_only_for_types_that_need_it(
    embedded, embedding, sources, monkeypatch, asked, label, expected
):
    told = []

    def spy(*words):
        told.append(words[5])
        return words[2]

    monkeypatch.setattr(module, "paint", spy)
    settings = {"reweighting": asked, "solver": "multistep", "guidance": 2.0, "shrink": 1}
    fill(Painter(embedded, embedding, how("network", **settings), ["rust"]), sources, label=label)
    (sampling,) = told
    assert sampling == replace(
        sampling, reweighting=expected, solver="multistep", guidance=2.0, shrink=1, steps=3, handover=0
    )


def test_a_learned_mask_is_a_square_that_its_name_decides(embedded, embedding, monkeypatch):
    monkeypatch.setattr("blemish.generation.painter._DEFECT", 0.5)  # the network is not trained
    painter = Painter(embedded, embedding, how("network"))
    mask, again, other = (painter.mask("dent", 2.0, 2, name) for name in ((0, 1), (0, 1), (0, 2)))
    assert mask.shape == (SIDE, SIDE)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, again)
    assert (mask != other).any()


def test_off_is_a_word_also_where_yaml_takes_it_for_a_boolean():
    given = dotted(["painting.reweighting=off"])
    assert given == {"painting": {"reweighting": False}}
    assert validated(GeneratorConfig, given).painting.reweighting == "off"
