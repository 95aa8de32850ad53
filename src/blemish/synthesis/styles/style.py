"""What the photos of one defect type have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from blemish.synthesis.styles.relief import Lamp

Colour: TypeAlias = tuple[float, float, float]
"""RGB in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectStyle:
    """One type of defect, as a line produces it again and again; places and details vary.

    The mask. shape: how it is outlined (`marks.SHAPES`); area: its range, as a share of the picture;
    elongation: length by width; ragged: how rough its outline is, 0 to 1; thickness: of lines, px;
    count: of lines or specks; heading, spread: its direction and how much it varies, radians.

    The look. family: which painter (`catalogue.FAMILIES`); colour, second: of foreign matter;
    opacity: share of the surface that it hides; tone: factor on the light of the surface; softness:
    px over which its edge fades in; depth: relief, px, negative below the surface; scale: of its
    micro-texture, px; rough: strength of the micro-texture; gloss: of the mirror part; flow:
    direction of the structure within, radians; lamp: where the light comes from; contrast: change
    that a typical pixel shows at least, 1 = white; seed: for what else the type keeps to itself.
    """

    family: str
    shape: str
    area: tuple[float, float]
    elongation: float
    ragged: float
    thickness: float
    count: int
    heading: float
    spread: float
    colour: Colour
    second: Colour
    opacity: float
    tone: float
    softness: float
    depth: float
    scale: float
    rough: float
    gloss: float
    flow: float
    lamp: Lamp
    contrast: float
    seed: int
