"""The cell and the table of generation metrics: how real, how varied, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.data import read_sample
from blemish.experiments.baselines import UNTYPED
from blemish.experiments.few_shot import REAL, Product
from blemish.experiments.generation_quality import READ, judge
from blemish.experiments.grid import content_digest
from blemish.experiments.reported import reported
from blemish.experiments.tables import Column, Figure, Row, Table
from blemish.hardware import device as found_device
from blemish.networks import Perceptual, open_inception
from blemish.networks.inception import INCEPTION
from blemish.networks.perceptual import VGG16
from blemish.networks.published import find_weights
from blemish.records import Record, by_label
from blemish.runtime import file_sha256

COLUMNS = (
    Column("kid", "KID", "lower"),
    Column("separability", "told from real", "lower", meaning="AUROC of a classifier, 0.5: cannot be"),
    Column("inception_score", "Inception Score", "higher", 2),
    Column("ic_lpips", "IC-LPIPS in the mask"),
    Column("ic_lpips_whole", "IC-LPIPS"),
    Column("nearest_read_median", "to the nearest read one", "none", meaning="LPIPS, median"),
)
ROWS = {READ: "real ones that were read"}


@dataclass(frozen=True)
class FidelityCell:
    """All sources of a product against the real defects that none of them has read.

    pairs: so many of each type are looked at, at most; lpips: folder of VGG16's weights; inception:
    file of InceptionV3's. None leaves their figures out.
    """

    product: Product
    pairs: int = 100
    lpips: Path | None = None
    inception: Path | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.product.name}/fidelity/sources/seed{self.seed}"

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the result."""
        sources = self.product.sources
        return {
            "task": "fidelity",
            "seed": self.seed,
            "pairs": self.pairs,
            "lpips": self.lpips is not None and file_sha256(find_weights(VGG16, self.lpips)),
            "inception": self.inception is not None
            and file_sha256(find_weights(INCEPTION, self.inception)),
            "types": list(self.product.split.types),
            "data": {
                "sources": {name: content_digest(records) for name, records in sources.items()},
                "rest": content_digest(self.product.split.rest),
            },
        }

    def __call__(self, folder: Path, device: str) -> Mapping[str, Any]:
        """Return what `judge` finds of the types that are both read and unread."""
        del folder
        where = found_device(device)
        split = self.product.split
        return judge(
            [read_sample(record) for record in split.rest if record.label in split.types],
            [read_sample(record) for record in split.few if record.label in split.types],
            {n: self._pairs(n, s) for n, s in self.product.sources.items() if n != REAL},
            inception=None if self.inception is None else open_inception(self.inception, where),
            perceptual=None if self.lpips is None else Perceptual.load(self.lpips, where),
            whole=self.lpips is not None,
            seed=self.seed,
        )

    def _pairs(self, name: str, source: Sequence[Record]) -> dict[str, list[tuple[Any, Any]]]:
        """Return a source's pairs by type; those of no type stand beside each."""
        types, groups = self.product.split.types, by_label(source)
        if name in UNTYPED:
            return dict.fromkeys(types, _pairs(source[: self.pairs]))
        return {label: _pairs(groups.get(label, ())[: self.pairs]) for label in types}


def _pairs(records: Sequence[Record]) -> list[tuple[Any, Any]]:
    """Return photos with their masks."""
    samples = [read_sample(record) for record in records]
    return [(sample.image, sample.mask) for sample in samples if sample.mask is not None]


def fidelity_table(product: str, result: Mapping[str, Any]) -> Table:
    """Return a row for each source: means over the types, intervals by random halves."""
    means = result["mean"]
    rows = []
    for name, found in means.items():
        figures = {
            column.key: Figure(found[column.key], *(found.get(f"{column.key}_interval") or ()))
            for column in COLUMNS
            if column.key in found
        }
        rows.append(Row(ROWS.get(name, name), figures))
    known = {key for row in rows for key in row.figures}
    columns = [column for column in COLUMNS if column.key in known]
    return Table(
        f"{product}: how real the pairs look",
        columns,
        [*rows, *_printed(product, known)],
        f"Against the real defects that nothing has read; features: {result['features']}.",
        "pairs",
    )


def _printed(product: str, known: set[str]) -> list[Row]:
    """Return the paper's figures of this product, where it has any that stand in the table."""
    table = reported("anomalydiffusion-1")
    methods: dict[str, dict[str, Figure]] = {}
    for column, value in table.rows.get(product, {}).items():
        method, metric = column.split("/")
        key = {"ic_lpips": "ic_lpips_whole"}.get(metric, metric)
        if key in known:
            methods.setdefault(method, {})[key] = Figure(value)
    return [Row(method, found, "printed", table.source) for method, found in methods.items()]
