"""DiffusionAD: good photos in, a calibrated inspector out."""

from blemish.detection.planning import Length
from blemish.detection.trained import TrainedDetector
from blemish.detection.trainer import train

__all__ = ["Length", "TrainedDetector", "train"]
