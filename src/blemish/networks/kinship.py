"""Which good photos show the same part, so that they are held out together or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from blemish.data import letterbox, read_sample
from blemish.networks.encoder import LiteEncoder
from blemish.networks.symmetry import places
from blemish.records import Record

NEAR, CLOSE = 0.95, 0.6
"""How close siblings are: as 95 % of all photos to their nearest, and 0.6 times the usual at most."""

MOST = 5000
"""Of more photos than this, the distances between all pairs would not fit in memory."""

_STATISTICS = 64


def families(records: Sequence[Record], size: int) -> list[int]:
    """Return for each good photo the number of its family: other photos of the same part.

    A line photographs a part several times, or cuts one photo into many. A held-out photo whose
    siblings are in training looks better than any new part will, and the threshold that it sets
    promises too much (docs/lab.md). Families are clusters of average linkage (`clusters`); a photo
    without siblings is one of its own. size: side of the square that a photo is compared in, pixels.
    More than 5,000 photos are taken for strangers.
    """
    if len(records) > MOST:
        return list(range(len(records)))
    return related([letterbox(read_sample(record).image, size)[0] for record in records])


def related(squares: Sequence[npt.NDArray[np.uint8]]) -> list[int]:
    """Return what `families` does of photos that are at hand as squares, uint8 (S, S, 3)."""
    count = len(squares)
    if count < 2:
        return list(range(count))
    by_content = sorted(squares, key=lambda square: square.tobytes())  # names must not matter
    some = np.stack(by_content[:: max(1, count // _STATISTICS)])
    encoder = LiteEncoder.imagenet(torch.from_numpy(some).permute(0, 3, 1, 2).float() / 255)
    found = [places(square[None], encoder).flatten() for square in squares]
    return clusters(torch.cdist(torch.stack(found), torch.stack(found)).double().numpy())


def clusters(distances: npt.NDArray[np.float64]) -> list[int]:
    """Return the number of each item's cluster, from the distances (N, N) between all pairs.

        cut = min(95 % quantile of min_j D_ij, 0.6 * median D)

    The first follows how close siblings are; the second says that without siblings, where the nearest
    is hardly nearer than the others, nobody is related.
    """
    nearest = (distances + np.diag(np.full(len(distances), np.inf))).min(1)
    pairs = squareform(distances, checks=False)
    cut = min(np.quantile(nearest, NEAR), CLOSE * np.median(pairs))
    return [int(number) for number in fcluster(linkage(pairs, "average"), cut, "distance")]
