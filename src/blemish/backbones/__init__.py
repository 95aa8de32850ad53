"""Latent diffusion models that the generator paints with, behind one protocol."""

from blemish.backbones.opening import PUBLISHED, find, open_backbone
from blemish.backbones.protocol import PLACEHOLDER, TEMPLATES, Context, LatentBackbone, Scene

__all__ = [
    "PLACEHOLDER",
    "PUBLISHED",
    "TEMPLATES",
    "Context",
    "LatentBackbone",
    "Scene",
    "find",
    "open_backbone",
]
