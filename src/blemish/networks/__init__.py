"""The networks: what they compute, not how they are trained."""

from blemish.networks.attention import Emphasis, attend, reweighted
from blemish.networks.comparator import Comparator, log_distance
from blemish.networks.denoiser import Denoiser
from blemish.networks.describer import Describer
from blemish.networks.encoder import LiteEncoder
from blemish.networks.inception import Inception, open_inception
from blemish.networks.localiser import LiteLocaliser
from blemish.networks.memory import Novelty
from blemish.networks.perceptual import Perceptual, distances_to, distances_within
from blemish.networks.segmenter import UNetSegmenter

__all__ = [
    "Comparator",
    "Denoiser",
    "Describer",
    "Emphasis",
    "Inception",
    "LiteEncoder",
    "LiteLocaliser",
    "Novelty",
    "Perceptual",
    "UNetSegmenter",
    "attend",
    "distances_to",
    "distances_within",
    "log_distance",
    "open_inception",
    "reweighted",
]
