"""Make the few-shot split of a dataset: a tree of links with a third of the defects to train on.

    python benchmarks/first_third.py DATA OUT

OUT/train/<type>/ holds the first third of each type, OUT/test/<type>/ the rest; good photos stay what
they were.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from blemish.data import first_third, read_dataset
from blemish.records import Record


def main() -> None:
    """Write the tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    few, rest = first_third(dataset.defects)
    goods = [record for record in dataset.records if record.is_good]
    for record in (*goods, *few, *rest):
        _link(options.out, record)


def _link(root: Path, record: Record) -> None:
    places = [(record.image, root / record.split / record.label / record.image.name)]
    if record.mask is not None:
        places.append((record.mask, root / "ground_truth" / record.label / record.mask.name))
    for source, place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.resolve())


if __name__ == "__main__":
    main()
