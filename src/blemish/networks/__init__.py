"""The networks: what they compute, not how they are trained."""

from blemish.networks.comparator import Comparator
from blemish.networks.denoiser import Denoiser
from blemish.networks.encoder import LiteEncoder
from blemish.networks.memory import NormalMemory
from blemish.networks.segmenter import UNetSegmenter

__all__ = ["Comparator", "Denoiser", "LiteEncoder", "NormalMemory", "UNetSegmenter"]
