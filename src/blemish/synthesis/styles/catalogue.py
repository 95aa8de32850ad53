"""Families of defects: who paints them, what shapes they take, how strong they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from blemish.synthesis.styles import damage, finish, matter
from blemish.synthesis.styles.palettes import (
    Palette,
    any_colours,
    bare_metal,
    clear,
    corroded,
    dark,
    dyes,
    inks,
    pale,
    scorched,
)

if TYPE_CHECKING:
    from blemish.synthesis.styles.site import Painter

Range: TypeAlias = tuple[float, float]

PATCH: Range = (0.006, 0.2)
REGION: Range = (0.08, 0.5)
LINE: Range = (0.005, 0.04)

DARKER: Range = (0.3, 0.85)
BRIGHTER: Range = (1.15, 1.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the types of one family have in common.

    tones: ranges of the factor on the surface's light, one of which a style draws from; ranges: of
    other dials, where they differ from the usual. A range above 0 is drawn log-uniformly.
    """

    painter: Painter
    shapes: tuple[str, ...]
    area: Range
    palette: Palette = any_colours
    tones: tuple[Range, ...] = (DARKER, BRIGHTER)
    ranges: Mapping[str, Range] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = {
    "hole": Family(
        painter=damage.hole,
        shapes=("blob", "polygon", "specks", "strip"),
        area=(0.002, 0.08),
        palette=dark,
        ranges={"opacity": (0.95, 1), "depth": (-7, -2), "softness": (1, 2), "ragged": (0, 0.5)},
    ),
    "chip": Family(
        painter=damage.chip,
        shapes=("polygon", "blob", "bite", "bite"),
        area=(0.004, 0.12),
        palette=pale,
        ranges={"opacity": (0.3, 1), "depth": (-5, -1), "softness": (1, 2.5), "gloss": (0, 0.8)},
    ),
    "shell": Family(
        painter=damage.shell,
        shapes=("bite", "bite", "blob", "edge"),
        area=(0.004, 0.2),
        ranges={
            "opacity": (0.5, 1),
            "depth": (-5, -0.5),
            "softness": (1, 2.5),
            "ragged": (0, 0.4),
            "rough": (0.02, 0.6),
        },
        tones=((0.45, 0.95), (0.95, 1.25)),
    ),
    "gap": Family(
        painter=damage.gap,
        shapes=("wedge", "wedge", "bite", "band", "strip"),
        area=(0.01, 0.25),
        palette=dark,
        tones=((0.5, 0.95), (0.9, 1.2)),
        ranges={"opacity": (1, 1), "depth": (-6, -1.5), "softness": (1, 2), "ragged": (0.2, 1)},
    ),
    "dent": Family(
        painter=damage.dent,
        shapes=("blob", "blob", "strip", "polygon"),
        area=(0.006, 0.15),
        ranges={"depth": (-9, -2), "ragged": (0, 0.4)},
    ),
    "bulge": Family(
        painter=damage.dent,
        shapes=("blob", "specks", "strip"),
        area=(0.002, 0.08),
        ranges={"depth": (2, 9), "ragged": (0, 0.4), "rough": (0.02, 0.4)},
    ),
    "poke": Family(
        painter=damage.poke,
        shapes=("blob",),
        area=(0.006, 0.08),
        palette=pale,
        ranges={"depth": (-8, -3), "ragged": (0, 0.6), "opacity": (0.5, 1)},
    ),
    "scratch": Family(
        painter=damage.scratch,
        shapes=("lines",),
        area=LINE,
        palette=bare_metal,
        ranges={
            "thickness": (1.2, 4),
            "depth": (-1.5, -0.3),
            "softness": (1, 1.5),
            "gloss": (0, 0.8),
            "ragged": (0, 0.5),
        },
    ),
    "crack": Family(
        painter=damage.crack,
        shapes=("branching", "branching", "strip"),
        area=(0.003, 0.02),
        palette=dark,
        tones=((0.15, 0.6),),
        ranges={
            "thickness": (1.5, 5),
            "depth": (-0.6, -0.05),
            "elongation": (8, 20),
            "opacity": (0.75, 1),
        },
    ),
    "blowhole": Family(
        painter=damage.blowhole,
        shapes=("blob", "specks", "strip"),
        area=(0.0005, 0.01),
        tones=((0.25, 0.7),),
        ranges={"depth": (-1.5, -0.2), "ragged": (0, 0.35), "count": (2, 8)},
    ),
    "fold": Family(
        painter=damage.fold,
        shapes=("strip", "strip", "band"),
        area=(0.01, 0.15),
        ranges={"depth": (0.5, 5), "elongation": (3, 9), "ragged": (0, 0.4), "rough": (0.05, 1.5)},
    ),
    "cut": Family(
        painter=damage.cut,
        shapes=("strip", "strip", "blob"),
        area=(0.004, 0.05),
        palette=pale,
        ranges={"depth": (0.5, 3), "elongation": (4, 12), "ragged": (0.1, 0.6), "opacity": (0.4, 1)},
    ),
    "thread": Family(
        painter=damage.thread,
        shapes=("band", "lines", "strip"),
        area=(0.01, 0.05),
        ranges={
            "thickness": (2, 6),
            "count": (1, 2),
            "elongation": (8, 25),
            "depth": (-2, 2),
            "opacity": (0.05, 0.8),
        },
        tones=((0.5, 0.9), (1.1, 1.5)),
    ),
    "flake": Family(
        painter=damage.flake,
        shapes=("blob", "polygon", "bite", "specks", "glyph"),
        area=(0.003, 0.2),
        ranges={"depth": (-1.5, -0.1), "softness": (1, 2.5), "opacity": (0.5, 1), "gloss": (0, 0.4)},
        tones=((0.4, 0.9), (1.1, 1.6)),
    ),
    "wet": Family(
        painter=matter.wet,
        shapes=("blob", "specks", "strip", "bite"),
        area=PATCH,
        palette=dyes,
        ranges={"softness": (1, 12), "opacity": (0.4, 1)},
    ),
    "tide": Family(
        painter=matter.tide,
        shapes=("blob", "blob", "specks"),
        area=(0.006, 0.2),
        palette=dyes,
        ranges={"opacity": (0.5, 1), "elongation": (1, 2), "count": (1, 4)},
    ),
    "rust": Family(
        painter=matter.rust,
        shapes=("blob", "specks", "bite", "edge"),
        area=PATCH,
        palette=corroded,
        ranges={"ragged": (0.3, 1), "depth": (-1, 1), "gloss": (0, 0.1), "softness": (2, 8)},
    ),
    "dirt": Family(
        painter=matter.dirt,
        shapes=("specks", "blob", "specks"),
        area=(0.001, 0.05),
        ranges={"depth": (1, 5), "count": (1, 14), "softness": (1, 2), "opacity": (0.8, 1)},
    ),
    "fibre": Family(
        painter=matter.fibre,
        shapes=("curl", "curl", "lines"),
        area=LINE,
        ranges={
            "thickness": (1.2, 4),
            "count": (1, 3),
            "depth": (0.8, 2.5),
            "opacity": (0.6, 1),
            "ragged": (0, 0.2),
        },
    ),
    "burn": Family(
        painter=matter.burn,
        shapes=("blob", "strip", "bite"),
        area=PATCH,
        palette=scorched,
        ranges={"opacity": (0.1, 1), "softness": (2, 10)},
    ),
    "temper": Family(
        painter=matter.temper,
        shapes=("blob", "band", "bite"),
        area=(0.01, 0.25),
        tones=((0.8, 1.1),),
        ranges={"opacity": (0.3, 1), "softness": (2, 10), "ragged": (0, 0.6)},
    ),
    "ink": Family(
        painter=matter.ink,
        shapes=("strip", "blob", "curl", "lines"),
        area=(0.004, 0.06),
        palette=inks,
        ranges={"softness": (1, 8), "opacity": (0.5, 1), "thickness": (3, 9), "elongation": (1, 7)},
    ),
    "powder": Family(
        painter=matter.powder,
        shapes=("blob", "specks", "strip"),
        area=PATCH,
        palette=pale,
        ranges={"opacity": (0.5, 1)},
    ),
    "glue": Family(
        painter=matter.glue,
        shapes=("blob", "blob", "specks", "ring"),
        area=(0.004, 0.12),
        palette=clear,
        ranges={
            "depth": (1.5, 6),
            "ragged": (0, 0.35),
            "count": (1, 4),
            "elongation": (1, 2.5),
            "gloss": (0.2, 1),
        },
    ),
    "misprint": Family(
        painter=matter.misprint,
        shapes=("glyph", "polygon", "band", "specks", "lines"),
        area=(0.003, 0.08),
        ranges={"softness": (1, 1.2), "thickness": (2, 6)},
    ),
    "foreign": Family(
        painter=matter.foreign,
        shapes=("blob", "polygon", "strip", "bite"),
        area=PATCH,
        ranges={"softness": (1, 3), "depth": (-2, 2), "opacity": (0.8, 1)},
    ),
    "smear": Family(
        painter=finish.smear,
        shapes=("strip", "blob", "band", "bite"),
        area=(0.01, 0.2),
        ranges={"softness": (1, 8), "opacity": (0.2, 1)},
        tones=((0.6, 0.95), (1.05, 1.5)),
    ),
    "haze": Family(
        painter=finish.haze,
        shapes=("blob", "bite", "edge"),
        area=(0.01, 0.3),
        ranges={"softness": (3, 14), "rough": (0.02, 0.8)},
    ),
    "scuff": Family(
        painter=finish.scuff,
        shapes=("blob", "strip", "polygon"),
        area=(0.004, 0.1),
        palette=bare_metal,
        ranges={"softness": (1, 6)},
    ),
    "fray": Family(
        painter=finish.fray,
        shapes=("bite", "strip", "blob"),
        area=(0.004, 0.12),
        palette=any_colours,
        ranges={"ragged": (0.3, 1), "softness": (1, 6)},
    ),
    "uneven": Family(
        painter=finish.uneven,
        shapes=("edge", "edge", "band", "blob", "bite"),
        area=REGION,
        tones=((0.6, 0.93), (1.07, 1.5)),
        ranges={
            "softness": (1, 10),
            "ragged": (0, 0.5),
            "opacity": (0.1, 1),
            "contrast": (0.012, 0.04),
        },
    ),
    "bleach": Family(
        painter=finish.bleach,
        shapes=("blob", "edge", "band", "strip"),
        area=(0.01, 0.4),
        palette=dyes,
        tones=((0.6, 0.9), (1.15, 1.7)),
        ranges={"softness": (3, 16), "contrast": (0.015, 0.05)},
    ),
    "ghost": Family(
        painter=finish.ghost,
        shapes=("blob", "polygon", "band", "bite"),
        area=(0.01, 0.2),
        ranges={"softness": (1, 3)},
        tones=((0.85, 0.99), (1.01, 1.15)),
    ),
}
