import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.synthesis import Recipe, synthesise
from blemish.synthesis.missing import behind, depth

GROUND, PRODUCT = 10, 200
"""Grey levels: up to 30 above the first is background, the second is the product."""


def product(top=20, bottom=60, left=30, right=70, side=96):
    """Return a product of one level on a background with grain, and where it is."""
    grain = np.random.default_rng(1).integers(GROUND, GROUND + 30, (side, side, 1), dtype=np.uint8)
    image = grain.repeat(3, axis=2)
    inside = np.zeros((side, side), np.bool_)
    inside[top:bottom, left:right] = True
    image[inside] = PRODUCT
    return image, inside


def middle(inside, by=12):
    mask = np.zeros_like(inside)
    rows, columns = np.nonzero(inside)
    mask[rows.min() + by : rows.max() - by, columns.min() + by : columns.max() - by] = True
    return mask


def test_what_lies_behind_is_background_wherever_it_says_so():
    image, inside = product()
    for seed in range(20):
        ground, gone = behind(image, inside, middle(inside), np.random.default_rng(seed))
        assert gone.any()
        assert not (gone & ~middle(inside)).any()
        assert ground[gone].max() < GROUND + 30
        assert (ground[middle(inside) & ~gone] == PRODUCT).all()


def test_the_background_is_the_photo_moved_with_its_grain():
    image, inside = product()
    ground, _ = behind(image, inside, middle(inside), np.random.default_rng(0))
    moves = [(down, across) for down in range(96) for across in range(96)]
    assert any(np.array_equal(ground, np.roll(image, move, (0, 1))) for move in moves)


def test_of_the_moves_the_one_with_most_background_is_taken():
    image, inside = product(0, 96, 0, 90)  # a strip of six columns is all that there is behind
    _, gone = behind(image, inside, middle(inside), np.random.default_rng(0))
    assert 0 < gone.sum() <= 6 * 96


def test_without_a_background_nothing_is_gone():
    image, _ = product()
    everywhere = np.ones((96, 96), np.bool_)
    _, gone = behind(image, everywhere, everywhere, np.random.default_rng(0))
    assert not gone.any()


def test_the_dark_is_darker_than_nearly_all_of_the_product_and_keeps_its_tint():
    image, inside = product()
    image[inside] = np.random.default_rng(2).integers((100, 50, 20), (200, 100, 40), (inside.sum(), 3))
    for seed in range(20):
        dark = depth(image, inside, np.random.default_rng(seed))
        assert dark.shape == image.shape
        assert len(np.unique(dark.reshape(-1, 3), axis=0)) == 1
        assert (dark[0, 0] <= np.percentile(image[inside], 5, axis=0) + 0.5).all()
        assert list(dark[0, 0]) == sorted(dark[0, 0], reverse=True)


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_where_a_piece_is_missing_it_is_darker(kind, red):
    image, inside = product()
    recipe = Recipe(kind=kind, missing_share=1)
    levels = []
    for seed in range(40):
        drawn, mask = synthesise(image, inside, recipe, red, np.random.default_rng(seed))
        assert mask.any()
        assert not (mask & ~inside).any()
        assert np.array_equal(drawn[~mask], image[~mask])
        levels.append(drawn[mask].min())
    assert not red.count
    # Eq. 12: half of the product's level, on average, with a fifth of the product shining through.
    assert np.median(levels) < 0.75 * PRODUCT
    assert max(levels) <= PRODUCT


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_an_object_shows_its_background_and_a_texture_never(kind, red):
    image, inside = product()
    image[~inside] = (0, 0, 250)  # brighter in blue than the product ever is
    recipe = Recipe(kind=kind, missing_share=1)
    for seed in range(200):
        drawn, mask = synthesise(image, inside, recipe, red, np.random.default_rng(seed))
        assert (drawn[mask][:, 2].max() > PRODUCT) == (kind == "object")


def test_an_object_without_a_background_shows_the_dark(red):
    image, inside = product()
    everywhere = np.ones_like(inside)
    recipe = Recipe(missing_share=1)
    for seed in range(20):
        drawn, mask = synthesise(image, everywhere, recipe, red, np.random.default_rng(seed))
        assert (drawn[mask].astype(int) <= image[mask]).all()


def test_pieces_are_missing_in_their_share_of_the_defects(red):
    image, inside = product()
    recipe = Recipe(texture_share=1, missing_share=0.3)
    for seed in range(300):
        synthesise(image, inside, recipe, red, np.random.default_rng(seed))
    assert red.count / 300 == pytest.approx(0.7, abs=0.1)


def test_a_mask_of_another_size_is_refused():
    image, inside = product()
    with pytest.raises(ImageError, match="mask"):
        behind(image, inside, np.ones((4, 4), np.bool_), np.random.default_rng(0))
