"""The cell and the table of generation metrics: how real, how varied, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.data import read_sample
from blemish.experiments.baselines import UNTYPED
from blemish.experiments.few_shot import REAL, Product
from blemish.experiments.generation_quality import READ, SPLITS, judge
from blemish.experiments.grid import content_digest
from blemish.experiments.printed import Products, captioned, printed_averages, printed_rows
from blemish.experiments.tables import Column, Figure, Row, Table, mean_of
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
    Column("inception_deviation", "its deviation", "none", 2, "over the splits, mean over the types"),
    Column("ic_lpips", "IC-LPIPS in the mask"),
    Column("ic_lpips_whole", "IC-LPIPS"),
    Column("nearest_read_median", "to the nearest read one", "none", meaning="LPIPS, median"),
)
ROWS = {READ: "real ones that were read"}

LEAST = 50
"""Pictures in a split; an Inception Score over fewer is too low to stand beside the paper's."""

_PRINTED = ("anomalydiffusion-1",)


@dataclass(frozen=True)
class FidelityCell:
    """A source of a product's pairs against the real defects that it has not read.

    source: by its name, or `READ` for the read ones themselves. pairs: so many of each type are looked
    at, at most; lpips: folder of VGG16's weights; inception: file of InceptionV3's. None leaves their
    figures out.
    """

    product: Product
    source: str
    pairs: int = 100
    lpips: Path | None = None
    inception: Path | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.product.name}/fidelity/{self.source}/seed{self.seed}"

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the result."""
        split = self.product.split
        return {
            "task": "fidelity",
            "source": self.source,
            "seed": self.seed,
            "pairs": self.pairs,
            "lpips": self.lpips is not None and file_sha256(find_weights(VGG16, self.lpips)),
            "inception": self.inception is not None
            and file_sha256(find_weights(INCEPTION, self.inception)),
            "types": list(split.types),
            "data": {
                "pairs": content_digest(self.product.sources.get(self.source, ())),
                "few": content_digest(split.few),
                "rest": content_digest(split.rest),
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
            {} if self.source == READ else {self.source: self._pairs()},
            inception=None if self.inception is None else open_inception(self.inception, where),
            perceptual=None if self.lpips is None else Perceptual.load(self.lpips, where),
            whole=self.lpips is not None,
            reference=self.source == READ,
            seed=self.seed,
        )

    def _pairs(self) -> dict[str, list[tuple[Any, Any]]]:
        """Return the source's pairs by type; those of no type stand beside each."""
        source = self.product.sources[self.source]
        types, groups = self.product.split.types, by_label(source)
        if self.source in UNTYPED:
            return dict.fromkeys(types, _pairs(source[: self.pairs]))
        return {label: _pairs(groups.get(label, ())[: self.pairs]) for label in types}


def _pairs(records: Sequence[Record]) -> list[tuple[Any, Any]]:
    """Return photos with their masks."""
    samples = [read_sample(record) for record in records]
    return [(sample.image, sample.mask) for sample in samples if sample.mask is not None]


def fidelity_cells(
    product: Product, pairs: int, lpips: Path | None, inception: Path | None
) -> list[FidelityCell]:
    """Return a cell for each source of pairs, and last one for the read defects themselves."""
    names = [name for name in product.sources if name != REAL]
    return [FidelityCell(product, name, pairs, lpips, inception) for name in (*names, READ)]


def merged(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the results of a product's cells as one that has all sources."""
    found = dict(results[0])
    for key in ("mean", "pictures"):
        found[key] = {name: figures for one in results for name, figures in one[key].items()}
    found["types"] = {
        label: {name: figures for one in results for name, figures in one["types"][label].items()}
        for label in found["types"]
    }
    return found


def fidelity_table(product: str, result: Mapping[str, Any]) -> Table:
    """Return a row for each source: means over the types, intervals by random halves."""
    rows = []
    for name, found in result["mean"].items():
        figures = {
            key: Figure(found[key], *(found.get(f"{key}_interval") or ()))
            for key in _keys(name)
            if key in found
        }
        rows.append(Row(ROWS.get(name, name), figures))
    return _table(f"{product}: how real the pairs look", {product: result}, rows)


def fidelity_averages(results: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """Return the means over products of the sources that all have, beside the paper's.

    results: of each product by its name, judged by the same features. A figure that one of them has
    not is undefined.
    """
    every = [result["mean"] for result in results.values()]
    rows = []
    for name in (name for name in every[0] if all(name in means for means in every)):
        figures = {}
        for key in _keys(name):
            values = [means[name].get(key) for means in every]
            if any(value is not None for value in values):
                figures[key] = Figure(mean_of(values))
        rows.append(Row(ROWS.get(name, name), figures))
    return _table(title, results, rows, "Mean over the products.")


def _keys(name: str) -> list[str]:
    """Return the figures that a source has; read defects are too few for an Inception Score."""
    return [c.key for c in COLUMNS if name != READ or not c.key.startswith("inception")]


def _table(
    title: str, results: Mapping[str, Mapping[str, Any]], rows: Sequence[Row], means: str = ""
) -> Table:
    """Return the table of these rows and the paper's, with the columns that the former have.

    results: what the rows are of, by product; means: over what they are taken, in words.
    """
    known = {key for row in rows for key in row.figures}
    products = {product: set(result["types"]) for product, result in results.items()}
    quoted = _quoted(products, known)
    features = " and ".join(sorted({result["features"] for result in results.values()}))
    words = [means, f"Against the real defects that nothing has read; features: {features}."]
    if "inception_score" in known:
        pictures = _pictures_in_a_split(results)
        words.append(_inception_caption(pictures))
        if quoted and pictures < LEAST:
            words.append(f"The paper's are left out where a split has fewer than {LEAST}.")
            quoted = _quoted(products, known - {"inception_score"})
    columns = [column for column in COLUMNS if column.key in known]
    caption = captioned(" ".join(filter(None, words)), quoted)
    return Table(title, columns, [*rows, *quoted], caption, "pairs")


def _pictures_in_a_split(results: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the least number of pictures in a split of the Inception Score; 0 = was not noted.

    Of the types of generated pairs that have a score: where pictures are fewer than splits, none has.
    """
    counts = [
        count
        for result in results.values()
        for name, of_types in result.get("pictures", {}).items()
        for count in of_types.values()
        if name != READ and count >= SPLITS
    ]
    return min(counts, default=0) // SPLITS


def _inception_caption(pictures: int) -> str:
    """Return what must be known of the Inception Score. pictures: in a split, 0 if it was not noted."""
    number = f"{pictures} or more in each" if pictures else "whose number was not noted"
    return (
        f"Inception Score: a mean over {SPLITS} splits of a type's pictures, {number}. The score of a "
        "split cannot exceed the number of its pictures, and few of them make it too low."
    )


def _quoted(products: Products, keys: set[str]) -> list[Row]:
    """Return the paper's figures of these products, and its averages, of those that have these keys."""
    rows = []
    for row in (*printed_rows(products, _PRINTED), *printed_averages(products, _PRINTED)):
        named = {{"ic_lpips": "ic_lpips_whole"}.get(k, k): figure for k, figure in row.figures.items()}
        figures = {key: figure for key, figure in named.items() if key in keys}
        if figures:
            rows.append(Row(row.name, figures, row.origin, row.note))
    return rows
