"""The folder of a training run: its settings, and who learns and who is held out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from blemish import runtime
from blemish.config import InspectorConfig, parse, read_yaml, write_yaml
from blemish.data import Dataset, Split, hold_out, read_split, refuse_inside, write_split
from blemish.detection.examples import digest
from blemish.errors import ArtifactError, DatasetError
from blemish.records import Record
from blemish.runtime import write_json

CONFIG, SPLIT, EXAMPLES = "config.yaml", "split.json", "examples.json"
_AT_LEAST = 4


def prepare_folder(
    dataset: Dataset,
    config: InspectorConfig,
    folder: Path,
    kin: Mapping[Record, int],
    examples: Sequence[Record],
    *,
    resume: bool,
) -> Split:
    """Write, or on resuming check, the run's settings and its split; return the split.

    Raises:
        DatasetError: there are fewer than four good training photos, or the folder is among them.
        ArtifactError: the folder holds another run.
    """
    refuse_inside(dataset, folder)
    path = folder / SPLIT
    if resume and path.is_file():
        if parse(read_yaml(folder / CONFIG)) != config:
            raise ArtifactError(
                f"{folder} was started with other settings than these",
                hint=f"compare with {folder / CONFIG}, or choose another folder",
            )
        _same_examples(folder, examples)
        split = read_split(path, dataset.root)
        _same_photos(folder, dataset, split)
        return split
    if path.exists():
        raise ArtifactError(
            f"{folder} holds a run already", hint="add --resume, or choose another folder"
        )
    if len(dataset.train) < _AT_LEAST:
        raise DatasetError(
            f"{dataset.root} has {len(dataset.train)} good training photos, expected at least "
            f"{_AT_LEAST}",
            hint="20 give a first impression, 100 a threshold with a promise",
        )
    at_least = min(config.data.holdout_at_least, len(dataset.train) // 4)
    seed, share = config.training.seed, config.data.holdout
    numbers = [kin[record] for record in dataset.train]
    split = hold_out(dataset.train, seed=seed, fraction=share, at_least=at_least, families=numbers)
    if 2 * len(split.validation) < at_least:
        runtime.logger.warning(
            "the good photos are too much alike to keep some apart that training has not nearly seen: "
            "expect more false alarms than the threshold promises"
        )
        split = hold_out(dataset.train, seed=seed, fraction=share, at_least=at_least)
    if not split.validation:
        raise DatasetError(
            f"the good training photos of {dataset.root} are copies of so few that none can be kept",
            hint="add photos of other pieces; `blemish check` lists the copies",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / CONFIG, config)
    write_json(folder / EXAMPLES, {"digest": digest(examples)})
    write_split(path, split, dataset.root)
    return split


def _same_photos(folder: Path, dataset: Dataset, split: Split) -> None:
    """Stop where good photos came or went since the run began: it would take them for others.

    Raises:
        ArtifactError: they did.
    """
    before = {record.image for record in (*split.train, *split.validation)}
    now = {record.image for record in dataset.train}
    if before != now:
        raise ArtifactError(
            f"{folder} was started with other good photos: since then {len(now - before)} have come to "
            f"the training split and {len(before - now)} have left it",
            hint="put back what changed (photos of defects beside good ones make a fifth of these test "
            "photos), or start another run in another folder",
        )


def _same_examples(folder: Path, examples: Sequence[Record]) -> None:
    """Stop where a resumed run would see other example defects than before.

    Raises:
        ArtifactError: they are not the same photos.
    """
    path = folder / EXAMPLES
    before = digest(())
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))["digest"]
    if before != digest(examples):
        raise ArtifactError(
            f"{folder} was started with other example defects than these",
            hint="give the same folders of examples, unchanged, or choose another folder",
        )
