"""A toy factory: two products, four defects each, with exact masks.

Every photo is rendered from a height field, a finish, a lamp and a camera, and every defect changes
the product before the photo is taken: a missing yarn shows the warp under it, a dent bends the
reflection, a chip takes its shadow along. Nothing here is shared with the synthetic defects that
inspectors are trained on, so a demo on this factory is an honest test.
"""

from blemish.synthesis.factory.line import (
    DEFECTS,
    PRODUCTS,
    draw_defect,
    draw_good,
    visible_change,
)

__all__ = ["DEFECTS", "PRODUCTS", "draw_defect", "draw_good", "visible_change"]
