"""A trained detector to a folder that runs without PyTorch, checked against it on real photos."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blemish import artifacts
from blemish.data import Dataset
from blemish.deploy.exported import Engine, ExportedDetector, Precision
from blemish.deploy.graph import read_graph, save_graph, write_onnx
from blemish.deploy.parity import Parity, Tolerance, compare
from blemish.deploy.quantising import SHOWN, quantised
from blemish.detection import TrainedDetector
from blemish.errors import ConfigError, DatasetError
from blemish.records import Record
from blemish.runtime import file_sha256, logger
from blemish.verdicts import EXPORTED
from blemish.verdicts.detector import Squares

TOLERANCES: dict[Precision, Tolerance] = {
    "f32": Tolerance(map=1e-4, score=1e-3),
    "bf16": Tolerance(map=0.01, score=0.05),
    "int8": Tolerance(map=0.05, score=0.25),
}
"""What each number format may cost; measured in docs/lab.md and docs/results.md."""

_COMPARED = 32


def export(
    detector: Path,
    dataset: Dataset,
    out: Path,
    engine: Engine,
    precision: Precision = "f32",
    tolerance: Tolerance | None = None,
) -> Parity:
    """Write an exported detector to a new folder and return how far it is from the trained one.

    The graph, and a card with the threshold, the settings that concern photos, and the parity. It is
    compared in the trained one's own number format (f32: in float32) on photos of the dataset: some of
    each kind of its test split for f32 and bf16, all for int8, whose figures go into the card; good
    training photos where there is no test. Only good training photos choose the ranges of int8. Of an
    f32 whose threshold was set in another number format it is said how far its scores are from those.

    Raises:
        ArtifactError: the folder exists, or the two differ by more than the tolerance.
        ConfigError: the engine has no such precision, or the detector cannot be exported.
        DatasetError: there is no photo to compare on, or none to choose ranges by.
        DependencyError: an exporter or engine is not installed.
    """
    if engine == "onnx" and precision == "bf16":
        raise ConfigError(
            "ONNX Runtime has no bfloat16 convolutions on processors",
            hint="--to openvino --precision bf16, or --precision int8",
        )
    if precision == "int8" and not dataset.train:
        raise DatasetError(
            f"{dataset.root} has no good training photo, and they choose the ranges of int8",
            hint="give the dataset that the detector was trained on",
        )
    artifacts.refuse_existing(out)
    exact = TrainedDetector.load(detector, device="cpu", precision="fp32")
    with tempfile.TemporaryDirectory(prefix="blemish-export-") as name:
        form = Path(name, "form")
        form.mkdir()
        write_onnx(exact, source := Path(name, "float.onnx"))
        model = read_graph(source, engine)
        if precision == "int8":
            model = quantised(source, model, engine, _good_squares(exact, dataset.train))
        save_graph(model, form, engine)
        card = _card(exact, form, engine, precision)
        trained = artifacts.read_card(detector)
        card["exported_from"] = trained["weights_sha256"]
        artifacts.write_card(form, card)
        calibrated = exact
        if trained["calibration"]["precision"] != exact.precision:
            calibrated = TrainedDetector.load(detector, device="cpu")
        reference = exact if precision == "f32" else calibrated
        other = None if reference is calibrated else calibrated
        records = compared(dataset, None if precision == "int8" else _COMPARED)
        logger.info("comparing on %d photos", len(records))
        parity = compare(reference, ExportedDetector.load(form, device="cpu"), records, other)
        allowed = tolerance or TOLERANCES[precision]
        parity.check(allowed)
        if parity.calibrated_score is not None:
            _warn_of_threshold(parity.calibrated_score, allowed.score, calibrated.precision, out)
        told = {"tolerance": {"map": allowed.map, "score": allowed.score}, **parity.summary()}
        artifacts.write_card(form, {**card, "parity": told})
        artifacts.create_folder(out, lambda fresh: _move(form, fresh))
    return parity


def _warn_of_threshold(apart: float, most: float, precision: str, out: Path) -> None:
    """Say where scores are further than allowed from those that the threshold was set on."""
    if not apart <= most:
        logger.warning(
            "the threshold was set in %s, and in one of 20 photos this form's score differs from that "
            "by %.2g or more (%g was expected): set it anew on good photos that training has not seen, "
            "`blemish calibrate %s NEW_GOOD --out DIR`",
            precision,
            apart,
            most,
            out,
        )


def _card(
    detector: TrainedDetector, form: Path, engine: Engine, precision: Precision
) -> dict[str, Any]:
    """Return what `ExportedDetector` needs to know of a graph that lies in a folder."""
    view = detector.view
    return {
        "kind": EXPORTED,
        "engine": engine,
        "precision": precision,
        "view": {"size": view.size, "framing": view.framing, "overlap": view.overlap},
        "calibration": detector.calibration.summary(),
        "facts": detector.facts,
        "known": sorted(detector.known),
        "files": {file.name: file_sha256(file) for file in sorted(form.iterdir())},
    }


def compared(dataset: Dataset, most: int | None) -> list[Record]:
    """Return the photos to compare on: of the test split as many of each label as there is room for.

    Raises:
        DatasetError: there is none.
    """
    photos = dataset.test or dataset.train
    if not photos:
        raise DatasetError(
            f"{dataset.root} has no photo", hint="give the photos that it was trained on"
        )
    if most is None or len(photos) <= most:
        return list(photos)
    order = sorted(range(len(photos)), key=lambda n: (_rank(photos, n), n))
    return [photos[n] for n in sorted(order[:most])]


def _rank(photos: Sequence[Record], number: int) -> int:
    """Return how many photos of the same label come before."""
    return sum(photo.label == photos[number].label for photo in photos[:number])


def _good_squares(detector: TrainedDetector, photos: Sequence[Record]) -> Iterator[Squares]:
    """Yield squares of good training photos as the networks see them, spread evenly."""
    for place in np.linspace(0, len(photos) - 1, min(SHOWN, len(photos))).round().astype(int):
        squares = detector.squares(photos[place].image)
        yield squares[len(squares) // 2]


def _move(source: Path, target: Path) -> None:
    for file in source.iterdir():
        shutil.move(file, target / file.name)
