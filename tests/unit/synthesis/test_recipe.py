import numpy as np
import pytest

from blemish.errors import ConfigError, ImageError
from blemish.synthesis import recipe as recipe_module
from blemish.synthesis.recipe import Recipe, draw_mask, synthesise
from blemish.synthesis.textures import ProceduralTextures

TEXTURES = ProceduralTextures(count=6, side=96)
RECIPES = [
    Recipe(),
    Recipe(kind="texture"),
    Recipe(stroke_share=1),
    Recipe(stroke_share=0.5, missing_share=0.7),
    Recipe(kind="texture", stroke_share=0.5, shading_share=1),
    Recipe(monochrome=True, max_area=0.05),
]


def photo(seed=0, height=64, width=80):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def middle(height=64, width=80):
    inside = np.zeros((height, width), np.bool_)
    inside[height // 4 : -height // 4, width // 4 : -width // 4] = True
    return inside


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_mask_is_a_non_empty_part_of_the_foreground_and_the_rest_is_untouched(recipe):
    for seed in range(25):
        image, mask = synthesise(photo(), middle(), recipe, TEXTURES, np.random.default_rng(seed))
        assert mask.any()
        assert not (mask & ~middle()).any()
        assert np.array_equal(image[~mask], photo()[~mask])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_is_a_function_of_the_stream(recipe):
    one, same = (
        synthesise(photo(), middle(), recipe, TEXTURES, np.random.default_rng(9)) for _ in range(2)
    )
    assert np.array_equal(one[0], same[0])
    assert np.array_equal(one[1], same[1])


def test_an_empty_foreground_gives_the_photo_and_an_empty_mask():
    nowhere = np.zeros((64, 80), np.bool_)
    image, mask = synthesise(photo(), nowhere, Recipe(), TEXTURES, np.random.default_rng(0))
    assert np.array_equal(image, photo())
    assert not mask.any()


@pytest.mark.parametrize("kind", ["object", "texture"])
def test_a_single_foreground_pixel_still_gets_a_defect(kind):
    one = np.zeros((64, 80), np.bool_)
    one[10, 70] = True
    assert np.array_equal(draw_mask(one, Recipe(kind=kind), np.random.default_rng(0)), one)


@pytest.mark.parametrize("max_area", [0.002, 0.02, 0.2])
def test_no_mask_is_larger_than_allowed(max_area):
    everywhere = np.ones((64, 80), np.bool_)
    recipe = Recipe(max_area=max_area, stroke_share=0.5)
    for seed in range(60):
        mask = draw_mask(everywhere, recipe, np.random.default_rng(seed))
        assert 0 < mask.sum() <= max_area * mask.size


def test_opacity_one_hides_the_defect_and_opacity_zero_shows_the_bare_texture(red):
    everywhere = np.ones((64, 80), np.bool_)
    hidden = Recipe(kind="texture", opacity=(1, 1))
    image, _ = synthesise(photo(), everywhere, hidden, red, np.random.default_rng(0))
    assert np.array_equal(image, photo())
    bare = Recipe(kind="texture", opacity=(0, 0))
    image, mask = synthesise(photo(), everywhere, bare, red, np.random.default_rng(0))
    assert len(np.unique(image[mask], axis=0)) == 1


@pytest.mark.parametrize(
    ("recipe", "share"),
    [
        (Recipe(), 0.5),
        (Recipe(kind="texture"), 1),
        (Recipe(texture_share=0), 0),
        (Recipe(kind="texture", shading_share=0.6), 0.4),
    ],
)
def test_textures_give_their_share_of_the_appearances(recipe, share, red):
    everywhere = np.ones((16, 16), np.bool_)
    for seed in range(300):
        synthesise(photo(0, 16, 16), everywhere, recipe, red, np.random.default_rng(seed))
    assert red.count / 300 == pytest.approx(share, abs=0.1)


def test_the_frequencies_stay_fixed_across_fifty_redraws(monkeypatch):
    tried = []

    def never(height, width, frequency, _rng):
        tried.append(frequency)
        return np.zeros((height, width), np.bool_)

    monkeypatch.setattr(recipe_module, "perlin_mask", never)
    mask = draw_mask(middle(), Recipe(), np.random.default_rng(0))
    assert len(tried) == 50
    assert len(set(tried)) == 1
    assert mask.any()
    assert not (mask & ~middle()).any()


def test_monochrome_defects_on_a_grey_photo_have_no_colour():
    level = photo()[..., :1].repeat(3, axis=2)
    recipe = Recipe(kind="texture", monochrome=True)
    for seed in range(20):
        image, _ = synthesise(level, middle(), recipe, TEXTURES, np.random.default_rng(seed))
        assert np.ptp(image, axis=2).max() == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"stroke_share": 1.2},
        {"missing_share": 1.2},
        {"texture_share": -0.1},
        {"opacity": (0.8, 0.2)},
        {"opacity": (0, 2)},
        {"kind": "liquid"},
        {"max_area": 0},
    ],
)
def test_impossible_recipes_are_refused(settings):
    with pytest.raises(ConfigError):
        Recipe(**settings)


def test_a_foreground_of_another_size_is_refused():
    with pytest.raises(ImageError, match="foreground"):
        synthesise(photo(), middle(32, 32), Recipe(), TEXTURES, np.random.default_rng(0))
