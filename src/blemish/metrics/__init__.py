"""How good a detector is, counted exactly: ranking (AUROC, AP, F1-max), regions (PRO), intervals.

How real and how varied generated pictures are stands beside it (`fidelity`).
Every number is taken over all thresholds, ties included, and equals scikit-learn's where that has
one; only the intervals of pixel AP count scores in bins (`resampling`). Scores are higher where more
anomalous. A metric that its data cannot define (one class only, no region) is NaN, which a JSON writer
has to print as `null`.
"""

from blemish.metrics.fidelity import (
    InceptionScore,
    drawn_members,
    inception_score,
    intra_cluster_distance,
    kernel_distance,
    separability,
)
from blemish.metrics.halves import halved, halves_interval
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
from blemish.metrics.resampling import ImageCounts, percentile_interval, redrawn, weighted_auroc
from blemish.metrics.uncertainty import (
    Interval,
    alarm_chance,
    alarm_rate,
    bootstrap,
    unanimous,
    wilson,
)

__all__ = [
    "Curve",
    "F1Max",
    "ImageCounts",
    "InceptionScore",
    "Interval",
    "PixelScores",
    "ProMode",
    "Ranking",
    "alarm_chance",
    "alarm_rate",
    "auroc",
    "average_precision",
    "bootstrap",
    "drawn_members",
    "f1_max",
    "halved",
    "halves_interval",
    "inception_score",
    "intra_cluster_distance",
    "kernel_distance",
    "percentile_interval",
    "precision_recall_curve",
    "pro",
    "pro_curve",
    "redrawn",
    "roc_curve",
    "separability",
    "unanimous",
    "weighted_auroc",
    "wilson",
]
