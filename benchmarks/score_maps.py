"""Score any detector's maps against the masks of a dataset; print the metrics as JSON.

    python benchmarks/score_maps.py DATA OUT

What OUT holds, and what is refused: `blemish.experiments.score_maps`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from blemish.data import read_dataset
from blemish.errors import BlemishError
from blemish.experiments.score_maps import scored_maps


def main() -> int:
    """Print the metrics; return the exit code, 2 for what a user can cause."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="a dataset: an MVTec tree, a folder, a manifest")
    parser.add_argument("out", type=Path, help="folder with maps/ and perhaps scores.jsonl")
    args = parser.parse_args()
    try:
        dataset = read_dataset(args.data)
        scored = scored_maps(dataset.test, args.out, dataset.root)
    except BlemishError as error:
        print(error, file=sys.stderr)
        return 2
    photos = {label: len(scores) for label, scores in scored.images.items()}
    print(json.dumps({**scored.figures(), "photos": photos}, indent=2, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
