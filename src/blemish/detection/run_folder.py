"""The folder of a training run: its settings, and who learns and who is held out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from blemish import runtime
from blemish.config import InspectorConfig, parse, read_yaml, write_yaml
from blemish.data import Dataset, Split, hold_out, read_split, refuse_inside, write_split
from blemish.detection.examples import digest
from blemish.errors import ArtifactError, DatasetError
from blemish.records import Record
from blemish.runtime import write_json
from blemish.training import CHECKPOINT, LOG
from blemish.verdicts import Calibration

CONFIG, SPLIT, EXAMPLES, DETECTOR = "config.yaml", "split.json", "examples.json", "detector"
_AT_LEAST = 4


def refuse_start(dataset: Dataset, folder: Path, *, resume: bool) -> None:
    """Stop, before any photo is read, where no run can begin.

    Raises:
        DatasetError: there are fewer than four good training photos, or the folder is among them.
        ArtifactError: the folder holds a run, which is not to be resumed.
    """
    refuse_inside(dataset, folder)
    if _has_begun(folder):
        if not resume:
            raise ArtifactError(
                f"{folder} holds a run already", hint="add --resume, or choose another folder"
            )
    elif len(dataset.train) < _AT_LEAST:
        raise DatasetError(
            f"{dataset.root} has {len(dataset.train)} good training photos, expected at least "
            f"{_AT_LEAST}",
            hint="20 give a first impression, 100 a threshold with a promise",
        )


def prepare_folder(
    dataset: Dataset,
    config: InspectorConfig,
    folder: Path,
    kin: Mapping[Record, int],
    examples: Sequence[Record],
    *,
    resume: bool,
    joins: bool = False,
) -> Split:
    """Write, or on resuming check, the run's settings and its split; return the split.

    Where an earlier start came no further than these files, nothing is lost: they are written anew.
    joins: another process of this very run has written them.

    Raises:
        DatasetError: the good training photos are copies of too few.
        ArtifactError: the folder holds another run.
    """
    if joins:
        return _written(dataset, config, folder, examples)
    if resume and (folder / SPLIT).is_file() and _has_begun(folder):
        split = _written(dataset, config, folder, examples)
    else:
        split = _divided(dataset, config, kin)
        folder.mkdir(parents=True, exist_ok=True)
        write_yaml(folder / CONFIG, config)
        write_json(folder / EXAMPLES, {"digest": digest(examples)})
        write_split(folder / SPLIT, split, dataset.root)
    _warn_of_few(config, [kin[record] for record in split.validation])
    return split


def _has_begun(folder: Path) -> bool:
    """Return whether a folder holds anything that a run has learned."""
    return any((folder / name).exists() for name in (CHECKPOINT, LOG, DETECTOR))


def _written(
    dataset: Dataset, config: InspectorConfig, folder: Path, examples: Sequence[Record]
) -> Split:
    """Return the split of a folder's run, which is of these settings, examples and photos.

    Its records are the dataset's own, which tell more than the file does.
    """
    if parse(read_yaml(folder / CONFIG)) != config:
        raise ArtifactError(
            f"{folder} was started with other settings than these",
            hint=f"compare with {folder / CONFIG}, or choose another folder",
        )
    _same_examples(folder, examples)
    split = read_split(folder / SPLIT, dataset.root)
    _same_photos(folder, dataset, split)
    own = {record.image: record for record in dataset.train}
    sides = ([own[record.image] for record in side] for side in (split.train, split.validation))
    train, validation = map(tuple, sides)
    return replace(split, train=train, validation=validation)


def _warn_of_few(config: InspectorConfig, families: Sequence[int]) -> None:
    """Say what a threshold that is set on held-out photos of these families will not promise."""
    rate, at_least = config.calibration.false_alarm_rate, config.data.holdout_at_least
    calibration = Calibration.of([0.0] * len(families), rate, families)
    warning, needed = calibration.warning(), calibration.needed
    if warning:
        setting = "" if at_least >= needed else f", with data.holdout_at_least={needed:.0f}"
        runtime.logger.warning(
            "%s; as a quarter is held out, train on %.0f good photos of as many parts%s",
            warning,
            4 * needed,
            setting,
        )


def _divided(dataset: Dataset, config: InspectorConfig, kin: Mapping[Record, int]) -> Split:
    """Return who learns and who is held out, by families as far as there are enough of them."""
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
