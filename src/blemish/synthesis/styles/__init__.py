"""A drawn world: endless clean surfaces, endless types of defects, and photos of both together.

A generator that learns from a handful of real photos can only recombine what it has seen before;
this is where it has seen it. `draw_surface` takes the photo, `draw_style` invents a type of defect,
`draw_mask` and `paint` put one more example of that type on any photo. All is a pure function of
the random stream.
"""

from blemish.synthesis.styles.catalogue import FAMILIES
from blemish.synthesis.styles.drawing import draw_style
from blemish.synthesis.styles.marks import draw_mask
from blemish.synthesis.styles.painting import paint
from blemish.synthesis.styles.style import DefectStyle
from blemish.synthesis.styles.surfaces import draw_surface

__all__ = ["FAMILIES", "DefectStyle", "draw_mask", "draw_style", "draw_surface", "paint"]
