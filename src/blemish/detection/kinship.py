"""Which good photos show the same part, so that they are held out together or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from blemish.data import letterbox, read_sample
from blemish.detection.inspector import as_float
from blemish.detection.symmetry import places
from blemish.networks import LiteEncoder
from blemish.records import Record

NEAR = 0.95
"""Photos closer than this share of all photos is to its nearest are of one family."""

MOST = 5000
"""Of more photos than this, the distances between all pairs would not fit in memory."""

_STATISTICS = 64


def families(records: Sequence[Record], size: int) -> list[int]:
    """Return for each good photo the number of its family: other photos of the same part.

    A line photographs a part several times, or cuts one photo into many. A held-out photo whose
    siblings are in training looks better than any new part will, and the threshold that it sets
    promises too much (docs/lab.md). Families are clusters of average linkage, cut where 95 % of the
    photos have their nearest other. Photos that are strangers to each other make small families, which
    does no harm. size: side of the square that a photo is compared in, pixels. More than 5,000 photos
    are taken for strangers.
    """
    count = len(records)
    if not 2 <= count <= MOST:
        return list(range(count))
    encoder = LiteEncoder()
    encoder.load_imagenet()
    squares = [letterbox(read_sample(record).image, size)[0] for record in records]
    by_content = sorted(squares, key=lambda square: square.tobytes())  # names must not matter
    some = np.stack(by_content[:: max(1, count // _STATISTICS)])
    encoder.standardise(as_float(torch.from_numpy(some)))
    found = [places(square[None], encoder).flatten() for square in squares]
    return clusters(torch.cdist(torch.stack(found), torch.stack(found)).double().numpy())


def clusters(distances: npt.NDArray[np.float64]) -> list[int]:
    """Return the number of each item's cluster, from the distances (N, N) between all pairs."""
    near = np.quantile((distances + np.diag(np.full(len(distances), np.inf))).min(1), NEAR)
    tree = linkage(squareform(distances, checks=False), "average")
    return [int(number) for number in fcluster(tree, near, "distance")]
