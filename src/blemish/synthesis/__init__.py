"""Synthetic defects for training, and a toy factory for trying out.

A good photo becomes a defective one by Eq. 12 of DiffusionAD: a mask (`perlin`, `strokes`) within
the product (`foreground`), an appearance that does not belong there (`textures`, `photometric`,
`shading`, or what shows where a piece is `missing`), and a seam (`edges`, `overlay`);
`recipe` puts them together. Arrays are NumPy throughout, images uint8 RGB (H, W, 3), masks (H, W);
a sample is a pure function of its inputs and its generator.
"""

from blemish.synthesis.factory import DEFECTS, PRODUCTS, draw_defect, draw_good
from blemish.synthesis.foreground import ProductKind, foreground, product_kind, random_region
from blemish.synthesis.overlay import overlay, self_shuffle
from blemish.synthesis.pasting import crop_and_paste, cut_paste, poisson_blend, poisson_paste
from blemish.synthesis.perlin import perlin, perlin_mask, random_frequency
from blemish.synthesis.photometric import augment
from blemish.synthesis.recipe import Recipe, draw_mask, synthesise
from blemish.synthesis.shading import shade
from blemish.synthesis.strokes import stroke_mask
from blemish.synthesis.textures import FolderTextures, ProceduralTextures, TextureSource

__all__ = [
    "DEFECTS",
    "PRODUCTS",
    "FolderTextures",
    "ProceduralTextures",
    "ProductKind",
    "Recipe",
    "TextureSource",
    "augment",
    "crop_and_paste",
    "cut_paste",
    "draw_defect",
    "draw_good",
    "draw_mask",
    "foreground",
    "overlay",
    "perlin",
    "perlin_mask",
    "poisson_blend",
    "poisson_paste",
    "product_kind",
    "random_frequency",
    "random_region",
    "self_shuffle",
    "shade",
    "stroke_mask",
    "synthesise",
]
