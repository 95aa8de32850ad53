"""From what networks say of squares to verdicts on photos; it needs neither networks nor PyTorch."""

from blemish.verdicts.calibration import Calibration
from blemish.verdicts.detector import EXPORTED, TRAINED, Detector, Photo, Viewing, tiles
from blemish.verdicts.scoring import image_score, top_count

__all__ = [
    "EXPORTED",
    "TRAINED",
    "Calibration",
    "Detector",
    "Photo",
    "Viewing",
    "image_score",
    "tiles",
    "top_count",
]
