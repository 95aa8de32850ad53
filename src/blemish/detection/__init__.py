"""DiffusionAD: good photos in, a calibrated inspector out."""

from blemish.detection.planning import planned, updates
from blemish.detection.trained import TrainedDetector
from blemish.detection.trainer import train

__all__ = ["TrainedDetector", "planned", "train", "updates"]
