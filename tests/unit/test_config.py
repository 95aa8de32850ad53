from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from blemish.config import (
    InspectorConfig,
    dotted,
    merged,
    parse,
    preset,
    read_yaml,
    write_yaml,
)
from blemish.errors import ConfigError
from blemish.presets import PRESETS

SMALL = {"denoiser": {"multipliers": [1, 1]}}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_the_way_through_yaml(name, tmp_path):
    before = preset(name, {"synthesis": {"textures": "some/folder"}})
    write_yaml(tmp_path / "config.yaml", before)
    assert parse(read_yaml(tmp_path / "config.yaml")) == before
    assert before.preset == name


def test_the_paper_preset_holds_the_published_numbers():
    paper = preset("paper")
    assert paper == InspectorConfig()
    assert (paper.data.size, paper.training.normals, paper.training.defects) == (256, 8, 8)
    assert (paper.diffusion.fine_step, paper.diffusion.split, paper.diffusion.anchor_step) == (
        200,
        300,
        400,
    )
    assert paper.denoiser.multipliers == (1, 1, 2, 2, 4, 4)
    assert paper.denoiser.attention == (32, 16, 8)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"training": {"sead": 1}}, "training.sead"),
        ({"trainning": {}}, "trainning"),
        ({"data": {"size": 64, "colour": True}}, "data.colour"),
    ],
)
def test_an_unknown_setting_is_named_by_its_dotted_path(values, name):
    with pytest.raises(ConfigError, match=rf"^{name}: there is no such setting"):
        parse(values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"data": {"size": 100}}, "data.size"),
        ({"data": {"framing": "stretch"}}, "data.framing"),
        ({"data": {"overlap": 0.999}}, "data.overlap"),
        ({"training": {"ema": 1.0}}, "training.ema"),
        ({"training": {"normals": 0}}, "training.normals"),
        ({"training": 3}, "training"),
        ({"denoiser": {"multipliers": []}}, "denoiser.multipliers"),
        ({"denoiser": {"width": 7}}, "denoiser.width"),
        ({"calibration": {"false_alarm_rate": 0}}, "calibration.false_alarm_rate"),
        ({"synthesis": {"opacity": [0.1]}}, "synthesis.opacity"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_given(values, name):
    with pytest.raises(ConfigError, match=rf"^{name}.*got "):
        parse(values)


@pytest.mark.parametrize(
    "steps",
    [
        {"fine_step": 300},
        {"split": 200},
        {"anchor_step": 299},
        {"anchor_step": 1000},
        {"steps": 400},
    ],
)
def test_diffusion_steps_must_be_in_order(steps):
    with pytest.raises(ConfigError, match="expected fine_step < split <= anchor_step < steps"):
        parse({"diffusion": steps})


def test_a_schedule_too_short_for_its_noise_is_refused():
    steps = {"steps": 10, "fine_step": 1, "split": 2, "anchor_step": 5}
    with pytest.raises(ConfigError, match="beta_end"):
        parse({"diffusion": steps})


@pytest.mark.parametrize("size", [32, 64, 256])
def test_neighbouring_tiles_of_the_largest_overlap_are_still_apart(size):
    data = parse({"data": {"size": size, "overlap": 0.98, "framing": "tiles"}, **SMALL}).data
    assert round(data.overlap * size) < size


@pytest.mark.parametrize("opacity", [(0.8, 0.2), (1, 0)])
def test_an_opacity_range_that_descends_is_refused(opacity):
    with pytest.raises(ConfigError, match=r"^synthesis: .*expected opacity as low, high"):
        parse({"synthesis": {"opacity": opacity}})
    assert parse({"synthesis": {"opacity": (0.5, 0.5)}}).synthesis.opacity == (0.5, 0.5)


@pytest.mark.parametrize("uneven", ["normals", "defects"])
def test_a_batch_that_micro_batches_cannot_share_is_refused(uneven):
    training = {"normals": 4, "defects": 4, "accumulation": 4}
    assert parse({"training": training}).training.accumulation == 4
    with pytest.raises(ConfigError, match=r"^training: .*must be multiples of accumulation"):
        parse({"training": training | {uneven: 6}})


def test_heads_must_divide_the_widths():
    with pytest.raises(ConfigError, match="heads"):
        parse({"denoiser": {"heads": 3}})


def test_features_need_patches_that_are_powers_of_two():
    values = {"segmenter": {"kind": "features"}, "data": {"size": 96}}
    with pytest.raises(ConfigError, match="power of two"):
        parse(values | {"denoiser": {"patch": 3, "multipliers": [1, 2]}})


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_the_size_must_be_a_multiple_of_the_denoisers_deepest_cell(patch):
    denoiser = {"patch": patch, "multipliers": [1, 1, 2, 2]}
    parse({"data": {"size": 96}, "denoiser": denoiser})
    with pytest.raises(ConfigError, match=f"multiple of {patch * 64}"):
        parse({"data": {"size": 96}, "denoiser": denoiser | {"multipliers": 7 * [1]}})


def test_a_configuration_cannot_change():
    with pytest.raises(ValidationError):
        preset("fast").training.seed = 3


def test_overrides_are_laid_over_a_preset_and_leave_the_rest():
    found = preset("fast", {"training": {"seed": 3}})
    assert found.training.seed == 3
    assert found.training.ema == preset("fast").training.ema
    assert preset("fast").training.seed == 0


def test_settings_that_name_another_preset_are_not_laid_over_one():
    assert preset("fast", {"preset": "fast"}) == preset("fast")
    with pytest.raises(ConfigError, match="'fast' name another one: 'base'"):
        preset("fast", {"preset": "base"})


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="choose one of: base, fast, paper"):
        preset("huge")


def test_merging_goes_section_by_section_and_changes_neither_side():
    base, over = {"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "c": {"z": 4}}
    assert merged(base, over) == {"a": {"x": 1, "y": 3}, "b": 1, "c": {"z": 4}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 1}


def test_words_are_read_as_yaml_and_later_ones_win():
    words = ["training.seed=1", "training.detach=true", "denoiser.multipliers=[1, 2]"]
    assert dotted([*words, "training.seed=2"]) == {
        "training": {"seed": 2, "detach": True},
        "denoiser": {"multipliers": [1, 2]},
    }


@pytest.mark.parametrize("word", ["training.seed", "training.seed={", "=3", "training=seed=3"])
def test_words_that_are_no_setting_are_refused(word):
    with pytest.raises(ConfigError):
        preset("fast", dotted([word]))


@pytest.mark.parametrize(
    ("content", "said"),
    [("a: [", "cannot read"), ("- 1\n- 2\n", "holds list"), ("", "holds NoneType")],
)
def test_files_that_hold_no_settings_are_refused(tmp_path, content, said):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_yaml(tmp_path / "config.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_yaml(tmp_path / "config.yaml")


def test_written_settings_are_plain_yaml(tmp_path):
    write_yaml(tmp_path / "config.yaml", preset("fast"))
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert values["denoiser"]["multipliers"] == [1, 2]
