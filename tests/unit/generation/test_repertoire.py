from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blemish.data import write_png
from blemish.errors import ConfigError, ImageError
from blemish.generation.exemplars import Exemplar
from blemish.generation.masks import Template, largest_extent
from blemish.generation.repertoire import Repertoire

SHAPE = (60, 80)


def spot(row, column, side=8):
    mask = np.zeros(SHAPE, np.bool_)
    mask[row : row + side, column : column + side] = True
    return mask


def exemplar(label, number, mask):
    image = np.random.default_rng(number).integers(60, 200, (*SHAPE, 3), dtype=np.uint8)
    sha256 = f"{label}{number}"
    return Exemplar(image, Template(mask, np.ones(SHAPE, np.bool_), f"{number}.png", sha256), label)


@pytest.fixture
def exemplars():
    return {
        "hole": [exemplar("hole", 4, spot(20, 20))],
        "dent": [exemplar("dent", number, spot(5 * number, 9 * number)) for number in range(1, 5)],
    }


@pytest.fixture
def repertoire(exemplars):
    return Repertoire(exemplars, ("mirror",))


@pytest.fixture
def drawn(tmp_path):
    """Two masks of the user's own."""
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(files):
        write_png(path, spot(10, 10 + 20 * number, side=5))
    return files


def rng(seed=0):
    return np.random.default_rng(seed)


def test_types_come_in_sorted_order_with_their_own_masks(repertoire, exemplars):
    assert list(repertoire.exemplars) == ["dent", "hole"]
    for label, some in exemplars.items():
        assert repertoire.templates[label] == tuple(one.template for one in some)
        assert repertoire.real(label) == [(one.image, one.template.mask) for one in some]


@pytest.mark.parametrize("ask", ["known", "real"])
def test_a_type_that_was_not_learned_is_named_with_those_that_were(repertoire, ask):
    with pytest.raises(ConfigError, match="'scratch' was not learned") as caught:
        getattr(repertoire, ask)("scratch")
    assert "dent, hole" in caught.value.hint
    assert repertoire.known("hole") == "hole"


def test_a_loyal_painting_begins_with_the_defect_whose_mask_it_is(repertoire, exemplars):
    own = exemplars["dent"][2]
    for seed in range(10):
        found = repertoire.sources("dent", own.template, 4, 1.0, rng(seed))
        assert found[0] is own
        assert {id(one) for one in found} == {id(one) for one in exemplars["dent"]}
        assert repertoire.sources("dent", own.template, 1, 1.0, rng(seed)) == [own]


def test_a_disloyal_one_comes_to_it_last(repertoire, exemplars):
    own = exemplars["dent"][2]
    for seed in range(10):
        assert repertoire.sources("dent", own.template, 4, 0.0, rng(seed))[-1] is own
        assert own not in repertoire.sources("dent", own.template, 3, 0.0, rng(seed))


def test_half_loyal_is_loyal_half_of_the_time(repertoire, exemplars):
    own, stream = exemplars["dent"][0], rng()
    loyal = sum(repertoire.sources("dent", own.template, 1, 0.5, stream) == [own] for _ in range(400))
    assert 160 < loyal < 240


def test_the_only_defect_of_a_type_paints_all_masks(repertoire, exemplars):
    (only,) = exemplars["hole"]
    for loyalty in (0.0, 1.0):
        assert repertoire.sources("hole", only.template, 3, loyalty, rng()) == [only]


def test_a_mask_of_the_users_own_is_painted_with_any_of_the_defects(repertoire, drawn, exemplars):
    other = repertoire.with_masks({"dent": drawn})
    mask, stream = other.templates["dent"][0], rng()
    first = [other.sources("dent", mask, 1, 1.0, stream)[0] for _ in range(100)]
    assert {id(one) for one in first} == {id(one) for one in exemplars["dent"]}


def named(repertoire):
    """The same defects with photos that have names."""
    exemplars = {
        label: [replace(one, sha256=f"{label} {one.template.source}") for one in some]
        for label, some in repertoire.exemplars.items()
    }
    return Repertoire(exemplars, repertoire.turns)


def test_a_painting_is_made_of_the_defects_that_lent_its_mask_and_its_looks(repertoire, drawn):
    some = named(repertoire)
    one, two, three, four = some.exemplars["dent"]
    assert some.made_of("dent", one.template, [three]) == ["dent 1.png", "dent 3.png"]
    assert some.made_of("dent", two.template, [four, two]) == ["dent 2.png", "dent 4.png"]
    assert some.made_of("dent", two.template, [two]) == ["dent 2.png"]
    whole = [f"dent {number}.png" for number in range(1, 5)]
    assert some.made_of("dent", two.template) == whole  # a network has learned from all
    given = some.with_masks({"dent": drawn})
    assert given.made_of("dent", given.templates["dent"][0], [three]) == ["dent 3.png"]
    unnamed = repertoire.exemplars["dent"]
    assert repertoire.made_of("dent", unnamed[0].template, unnamed[2:3]) == []


def test_given_masks_take_the_place_of_a_types_own_and_other_types_keep_theirs(repertoire, drawn):
    other = repertoire.with_masks({"dent": drawn})
    for found, column in zip(other.templates["dent"], (10, 30), strict=True):
        np.testing.assert_array_equal(found.mask, spot(10, column, side=5))
    assert other.templates["hole"] == repertoire.templates["hole"]
    assert other.exemplars == repertoire.exemplars
    assert len(repertoire.templates["dent"]) == 4
    both = other.with_masks({"hole": drawn[:1]})
    assert both.templates["dent"] == other.templates["dent"]
    assert len(both.templates["hole"]) == 1
    assert other.turns == repertoire.turns


def test_masks_of_an_unknown_type_and_unreadable_ones_are_refused(repertoire, drawn, tmp_path):
    with pytest.raises(ConfigError, match="'scratch' was not learned"):
        repertoire.with_masks({"scratch": drawn})
    (tmp_path / "broken.png").write_bytes(b"no mask")
    with pytest.raises(ImageError):
        repertoire.with_masks({"dent": [tmp_path / "broken.png"]})


def test_a_given_mask_is_as_large_on_an_object_as_it_was_drawn(tmp_path):
    """The product is a quarter of the frame; the mask covers as much of it as the real defect does."""
    product = np.zeros((80, 80), np.bool_)
    product[20:60, 20:60] = True
    real, drawn = np.zeros_like(product), tmp_path / "0.png"
    real[25:45, 25:45] = True
    image = np.full((80, 80, 3), 90, np.uint8)
    known = Repertoire({"dent": [Exemplar(image, Template(real, product), "dent")]}, ())
    write_png(drawn, real)
    (given,) = known.with_masks({"dent": [drawn]}).templates["dent"]
    np.testing.assert_array_equal(given.extent, known.templates["dent"][0].extent)
    assert given.extent.tolist() == [0.5, 0.5]


def test_the_digest_changes_with_the_masks_and_with_nothing_else(repertoire, drawn, exemplars):
    with_some = [repertoire.with_masks({"dent": files}) for files in (drawn, drawn, drawn[:1])]
    assert with_some[0].masks_digest == with_some[1].masks_digest
    digests = {one.masks_digest for one in (repertoire, *with_some)}
    assert len(digests) == 3
    assert Repertoire(exemplars, ()).masks_digest == repertoire.masks_digest


def test_habits_and_sizes_are_those_of_the_masks_that_are_painted(repertoire, drawn):
    known, largest = repertoire.habits("dent")
    templates = repertoire.templates["dent"]
    np.testing.assert_array_equal(largest, largest_extent(templates))
    assert known == repertoire.habits("dent")[0]
    other = repertoire.with_masks({"dent": drawn})
    np.testing.assert_allclose(other.habits("dent")[1], [5 / 60, 5 / 80])


def test_the_gate_lets_the_real_defects_pass(repertoire):
    """The judge knows them: only likeness to themselves may be held against them."""
    judge, gate = repertoire.judge("dent"), repertoire.gate("dent")
    assert gate == judge.gate()
    for image, mask in repertoire.real("dent"):
        scores = judge.scores(image, image, mask)
        assert scores.outside == 0
        assert scores.distance == pytest.approx(0, abs=1e-5)
        assert scores.seam <= gate.most_seam
    assert repertoire.judge("dent") is judge
