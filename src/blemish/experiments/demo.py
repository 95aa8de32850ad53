"""The toy factory as a dataset: drawn here, so that anybody may have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from blemish.data import write_sample
from blemish.randomness import numpy_generator
from blemish.records import GOOD
from blemish.runtime import write_json
from blemish.synthesis import DEFECTS, PRODUCTS, draw_defect, draw_good
from blemish.version import __version__

TRAIN_GOOD, FEW, TEST_GOOD, TEST_DEFECTS = 130, 4, 40, 10
_DONE = "factory.json"


def draw_factory(folder: Path, *, seed: int = 0, size: int = 256) -> list[Path]:
    """Return the product folders of a toy factory, drawn into `folder` in MVTec layout.

    Each product has 130 good photos and 4 of each defect type to learn from, 40 good ones and 10 of
    each type to test on. A folder that is complete already is left as it is; one that was interrupted
    is drawn again.
    """
    facts = {"blemish": __version__, "seed": seed, "size": size}
    products = [folder / product for product in PRODUCTS]
    for product, root in zip(PRODUCTS, products, strict=True):
        if (root / _DONE).exists():
            continue
        for split, label, index in tqdm(list(_photos(product)), desc=product, disable=None):
            rng = numpy_generator(seed, product, split, label, index)
            # Masks of both splits share a folder, and so their photos may not share names.
            few = split == "train" and label != GOOD
            stem = f"few_{index:03d}" if few else f"{index:03d}"
            if label == GOOD:
                write_sample(root, label, stem, draw_good(product, size, rng), split=split)
            else:
                image, mask = draw_defect(product, label, size, rng)
                write_sample(root, label, stem, image, mask, split=split)
        write_json(root / _DONE, facts)
    return products


def _photos(product: str) -> Iterator[tuple[str, str, int]]:
    """Yield split, label and index of every photo of a product."""
    yield from (("train", GOOD, index) for index in range(TRAIN_GOOD))
    yield from (("test", GOOD, index) for index in range(TEST_GOOD))
    for defect in DEFECTS[product]:
        yield from (("train", defect, index) for index in range(FEW))
        yield from (("test", defect, index) for index in range(TEST_DEFECTS))
