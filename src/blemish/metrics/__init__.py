"""How good a detector is, counted exactly: ranking (AUROC, AP, F1-max), regions (PRO), intervals.

Every number is taken over all thresholds, ties included, and equals scikit-learn's where that has
one; nothing is binned. Scores are higher where more anomalous. A metric that its data cannot define
(one class only, no region) is NaN, which a JSON writer has to print as `null`.
"""

from blemish.metrics.pixels import PixelScores
from blemish.metrics.ranking import (
    Curve,
    F1Max,
    Ranking,
    auroc,
    average_precision,
    f1_max,
    precision_recall_curve,
    roc_curve,
)
from blemish.metrics.regions import ProMode, pro, pro_curve
from blemish.metrics.uncertainty import Interval, bootstrap, wilson

__all__ = [
    "Curve",
    "F1Max",
    "Interval",
    "PixelScores",
    "ProMode",
    "Ranking",
    "auroc",
    "average_precision",
    "bootstrap",
    "f1_max",
    "precision_recall_curve",
    "pro",
    "pro_curve",
    "roc_curve",
    "wilson",
]
