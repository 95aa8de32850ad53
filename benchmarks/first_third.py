"""Make the few-shot split of a dataset: a tree of links with a third of the defects to train on.

    python benchmarks/first_third.py DATA OUT [--parts 200]

OUT/train/<type>/ holds the first third of each type, OUT/test/<type>/ the rest; good photos stay what
they were. With --parts, the first third of each type's *parts*: of photos whose names are numbered as
they were taken, those with numbers less than so many apart show the same part. So what is judged is a
defect that nothing has learned from, and not the same one in another light.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from blemish.data import first_third, read_dataset
from blemish.records import Record, by_label


def main() -> None:
    """Write the tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", type=int, metavar="GAP", help="least gap between two parts")
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    if options.parts is None:
        few, rest = first_third(dataset.defects)
    else:
        few, rest = _third_of_parts(dataset.defects, options.parts)
    print(f"{len(few)} defects to train on, {len(rest)} to judge by")
    for record in (*(record for record in dataset.records if record.is_good), *few, *rest):
        _link(options.out, record)


def _third_of_parts(
    defects: Sequence[Record], gap: int
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    few: list[Record] = []
    rest: list[Record] = []
    for group in by_label(defects).values():
        parts: list[list[Record]] = []
        for record in sorted(group, key=_number):
            if not parts or _number(record) - _number(parts[-1][-1]) >= gap:
                parts.append([])
            parts[-1].append(record)
        third = max(1, len(parts) // 3)
        few += [replace(record, split="train") for part in parts[:third] for record in part]
        rest += [replace(record, split="test") for part in parts[third:] for record in part]
    return tuple(few), tuple(rest)


def _number(record: Record) -> int:
    return int(re.findall(r"\d+", record.image.stem)[-1])


def _link(root: Path, record: Record) -> None:
    places = [(record.image, root / record.split / record.label / record.image.name)]
    if record.mask is not None:
        places.append((record.mask, root / "ground_truth" / record.label / record.mask.name))
    for source, place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.resolve())


if __name__ == "__main__":
    main()
