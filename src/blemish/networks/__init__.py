"""The networks: what they compute, not how they are trained."""

from blemish.networks.attention import Emphasis, attend, reweighted
from blemish.networks.comparator import Comparator, log_distance
from blemish.networks.denoiser import Denoiser
from blemish.networks.describer import Describer
from blemish.networks.encoder import LiteEncoder
from blemish.networks.memory import Novelty
from blemish.networks.segmenter import UNetSegmenter

__all__ = [
    "Comparator",
    "Denoiser",
    "Describer",
    "Emphasis",
    "LiteEncoder",
    "Novelty",
    "UNetSegmenter",
    "attend",
    "log_distance",
    "reweighted",
]
