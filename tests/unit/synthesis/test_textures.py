import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.errors import ConfigError, DatasetError
from blemish.synthesis.patterns import PATTERNS, palette
from blemish.synthesis.textures import FolderTextures, ProceduralTextures, random_window


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
@pytest.mark.parametrize("side", [96, 97])
def test_every_pattern_is_finite_varied_and_of_the_wanted_size(pattern, side):
    for seed in range(4):
        field = pattern(side, np.random.default_rng(seed))
        assert field.shape == (side, side)
        assert field.dtype == np.float32
        assert np.isfinite(field).all()
        assert field.std() > 0


def test_a_palette_runs_over_256_colours():
    colours = palette(np.random.default_rng(0))
    assert colours.shape == (256, 3)
    assert len(np.unique(colours, axis=0)) > 2


def test_a_texture_depends_on_seed_and_index_alone():
    one, same = ProceduralTextures(seed=1, side=64), ProceduralTextures(seed=1, side=64)
    same.texture(3)
    assert np.array_equal(one.texture(5), same.texture(5))
    assert not np.array_equal(one.texture(5), one.texture(6))
    assert not np.array_equal(one.texture(5), ProceduralTextures(seed=2, side=64).texture(5))


@pytest.mark.parametrize("size", [(32, 32), (64, 100), (200, 30)])
def test_a_sample_has_the_wanted_size_and_is_a_function_of_the_stream(size):
    textures = ProceduralTextures(count=4, side=96)
    one, same = (textures.sample(*size, np.random.default_rng(7)) for _ in range(2))
    assert one.shape == (*size, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)


def test_samples_of_one_texture_differ():
    textures = ProceduralTextures(count=1, side=96)
    rng = np.random.default_rng(0)
    assert not np.array_equal(textures.sample(48, 48, rng), textures.sample(48, 48, rng))


def test_an_empty_bank_is_refused():
    with pytest.raises(ConfigError):
        ProceduralTextures(count=0)


def test_a_window_of_a_flat_texture_is_that_colour():
    flat = np.full((50, 80, 3), (10, 20, 30), np.uint8)
    for seed in range(30):
        window = random_window(flat, 64, 40, np.random.default_rng(seed))
        assert window.shape == (64, 40, 3)
        assert np.all(window == (10, 20, 30))


def test_a_window_as_large_as_the_texture_is_the_texture_turned_or_mirrored():
    texture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    poses = [np.rot90(side, k) for side in (texture, texture[:, ::-1]) for k in range(4)]
    seen = set()
    for seed in range(80):
        window = random_window(texture, 8, 8, np.random.default_rng(seed))
        matches = [index for index, pose in enumerate(poses) if np.array_equal(pose, window)]
        assert len(matches) == 1
        seen.update(matches)
    assert seen == set(range(8))


def test_pictures_are_found_at_any_depth(tmp_path):
    deep = tmp_path / "images" / "banded"
    deep.mkdir(parents=True)
    Pillow.new("RGB", (300, 200), (9, 8, 7)).save(deep / "a.PNG")
    Pillow.new("L", (60, 60), 5).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    textures = FolderTextures(tmp_path, side=100)
    assert [path.name for path in textures.paths] == ["b.png", "a.PNG"]
    rng = np.random.default_rng(0)
    colours = {tuple(textures.sample(50, 50, rng)[0, 0].tolist()) for _ in range(20)}
    assert colours == {(9, 8, 7), (5, 5, 5)}


def test_what_was_kept_in_memory_does_not_change_what_is_drawn(tmp_path):
    for index in range(4):
        noise = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Pillow.fromarray(noise).save(tmp_path / f"{index}.png")
    keeping, forgetting = FolderTextures(tmp_path), FolderTextures(tmp_path, kept=0)
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(8):
        assert np.array_equal(keeping.sample(20, 20, first), forgetting.sample(20, 20, second))


def test_a_folder_without_pictures_is_refused_with_a_hint(tmp_path):
    with pytest.raises(DatasetError, match="hint"):
        FolderTextures(tmp_path)


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"not a picture")
    textures = FolderTextures(tmp_path)
    with pytest.raises(DatasetError, match=r"torn\.jpg"):
        textures.sample(8, 8, np.random.default_rng(0))
