"""DiffusionAD: good photos in, a calibrated inspector out."""

from blemish.detection.calibration import Calibration
from blemish.detection.detector import Detector
from blemish.detection.planning import planned, updates
from blemish.detection.trainer import train

__all__ = ["Calibration", "Detector", "planned", "train", "updates"]
