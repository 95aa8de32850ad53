from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from blemish.experiments.ablation_report import printed_tables
from blemish.experiments.protocol import SCALES
from blemish.experiments.request import Request
from blemish.experiments.variants import CURVES, DETECTION, GENERATION, PRINTED, SHARES, SHOWN
from blemish.generator_config import GeneratorConfig

ROWS = [(name, row) for name, rows in DETECTION.items() for row in rows]
MADE = [(name, row) for name, rows in GENERATION.items() for row in rows]


def leaves(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value


def changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name, value in leaves(one) if dict(leaves(other))[name] != value}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("ablation", "row"), ROWS)
def test_a_row_of_the_detector_is_a_valid_setting_that_changes_only_its_subject(ablation, row, scale):
    request = Request(Path(), Path(), SCALES[scale])
    found = request.settings(3, DETECTION[ablation][row])
    plain = request.settings(3)
    subject = {
        "reconstruction": {"diffusion.reconstruction"},
        "noise": {
            "diffusion.reconstruction",
            "diffusion.fine_step",
            "diffusion.anchor_step",
            "diffusion.split",
        },
        "guidance": {"diffusion.guidance"},
    }
    assert changed(found.model_dump(), plain.model_dump()) <= subject[ablation]


def test_the_rows_are_those_of_the_paper_and_the_default_is_among_them():
    plain = Request(Path(), Path(), SCALES["paper"]).settings(0)
    for rows in DETECTION.values():
        settings = [Request(Path(), Path(), SCALES["paper"]).settings(0, row) for row in rows.values()]
        assert settings.count(plain) == 1
        assert len(set(map(str, settings))) == len(settings)
    assert list(DETECTION["reconstruction"]) == ["autoencoder", "iterative", "one_step", "norm_guided"]
    assert list(DETECTION["guidance"]) == ["guidance 0", "guidance 0.5", "guidance 1", "guidance 2"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("ablation", "row"), MADE)
def test_a_row_of_the_generator_is_a_valid_setting(ablation, row, scale):
    request = Request(Path(), Path(), SCALES[scale])
    found = request.generator_settings(GENERATION[ablation][row])
    if ablation == "shares":
        assert found == request.generator_settings()
    else:
        assert (found.painting.painter, found.quality.attempts) == ("network", 1)


@pytest.mark.parametrize("scale", SCALES)
def test_the_generators_parts_come_and_go_one_by_one(scale):
    def parts(found: GeneratorConfig) -> tuple[bool, bool, str]:
        return found.learning.spatial, found.learning.masked, found.painting.reweighting

    rows = Request(Path(), Path(), SCALES[scale], variant="parts").generators()
    learns = scale == "fast"  # the paper's scale freezes the network in all rows
    assert {row: parts(found) for row, found in rows.items() if row != "full, network frozen"} == {
        "none": (False, False, "off"),
        "spatial": (True, False, "off"),
        "spatial + masked": (True, True, "off"),
        "masked + re-weighting": (False, True, "tempered"),
        "full": (True, True, "tempered"),
    }
    frozen = rows.pop("full, network frozen", None)
    assert {found.learning.network for found in rows.values()} == {learns}
    if learns:
        assert changed(rows["full"].model_dump(), frozen.model_dump()) == {"learning.network"}
    else:
        assert frozen is None


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("ablation", GENERATION)
def test_no_two_rows_of_the_generator_are_alike_but_those_that_learn_from_more(ablation, scale):
    found = Request(Path(), Path(), SCALES[scale], variant=ablation).generators()
    if ablation == "shares":
        assert list(found) == list(SHARES)
    else:
        assert len(set(map(str, found.values()))) == len(found) > 1


def test_editing_is_plain_textual_inversion_with_the_mask_for_its_attention():
    def settings(row: str) -> GeneratorConfig:
        return Request(Path(), Path(), SCALES["fast"]).generator_settings(GENERATION["editing"][row])

    edited, full = settings("textual inversion + Prompt-to-Prompt"), settings("full")
    assert (edited.learning.spatial, edited.learning.masked) == (False, False)
    assert edited.painting.reweighting == "prompt_to_prompt"
    assert changed(edited.model_dump(), full.model_dump()) == {
        "learning.spatial",
        "learning.masked",
        "painting.reweighting",
        "painting.form",  # without meaning where the attention is replaced
    }


def test_names_say_what_they_are():
    for row, overrides in GENERATION["tokens"].items():
        found = Request(Path(), Path(), SCALES["fast"]).generator_settings(overrides).learning
        assert row == f"{found.spatial_tokens} + {found.anomaly_tokens} tokens"
    assert {row: round(100 * share) for row, share in SHARES.items()} == {
        f"{percent} %": percent for percent in (10, 20, 30, 40, 50)
    }
    for row, overrides in DETECTION["noise"].items():
        found = Request(Path(), Path(), SCALES["fast"]).settings(0, overrides).diffusion
        fine, anchor = found.fine_step, found.anchor_step
        assert (
            row
            == {
                "one_step": f"one step, t = {fine}",
                "iterative": f"iterative, t = {anchor}",
                "norm_guided": f"norm-guided, t = {fine} and {anchor}",
            }[found.reconstruction]
        )


def test_curves_and_pictures_are_of_rows_that_there_are():
    for variant, curve in CURVES.items():
        for rows in curve.series.values():
            assert set(rows) <= set(DETECTION[variant])
    for variant, rows in SHOWN.items():
        assert set(rows) <= set(DETECTION[variant])
    assert set(PRINTED) <= {*DETECTION, *GENERATION}


@pytest.mark.parametrize("variant", PRINTED)
def test_what_the_paper_prints_stands_beside(variant):
    (table,) = printed_tables(variant)
    assert len(table.rows) >= 2
    assert all(row.origin == "printed" for row in table.rows)
    best = max(row.figure("pixel_ap").value for row in table.rows)
    assert best == pytest.approx({"reconstruction": 0.458}.get(variant, 0.814))


def test_the_papers_speeds_stand_beside_as_they_are_printed():
    (table,) = printed_tables("reconstruction")
    speeds = [row.figure("frames_per_second").value for row in table.rows]
    assert speeds == [32.4, 0.09, 26.7, 23.5]  # DiffusionAD, Table 3
    assert table.columns[-1].key == "frames_per_second"
    assert "Frames per second on an A100." in table.caption
    (other,) = printed_tables("parts")
    assert "frames_per_second" not in {column.key for column in other.columns}
