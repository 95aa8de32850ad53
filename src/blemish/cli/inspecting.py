"""The verbs that an edge machine runs; they import no PyTorch."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from blemish.cli.output import emit
from blemish.deploy.inspection import STEM, find_photos, inspect_files, write_overlay
from blemish.deploy.recalibration import recalibrate
from blemish.errors import ConfigError
from blemish.runtime import logger
from blemish.verdicts import Detector


def loaded(options: argparse.Namespace) -> Detector:
    """Return the detector, with the threshold for the rate of false alarms that is asked for.

    A rate that cannot be promised is said.
    """
    detector = Detector.load(options.detector, device=options.device, precision=options.precision)
    if options.false_alarm_rate is not None:
        detector = detector.with_false_alarm_rate(options.false_alarm_rate)
    if warning := detector.calibration.warning():
        logger.warning("%s", warning)
    return detector


def inspect(options: argparse.Namespace) -> int:
    """Print one JSON line a photo; 2 when a file could not be read."""
    detector = loaded(options)
    failed = False
    overlays = options.overlays
    if overlays is not None and overlays.resolve() in map(Path.resolve, options.photos):
        raise ConfigError(
            f"heat maps in {overlays} would lie among the photos, and be photos the next time",
            hint="give --overlays a folder of its own; one inside is passed over",
        )
    photos = find_photos(options.photos, without=overlays)
    for index, finding in enumerate(inspect_files(detector, photos, batch_size=options.batch)):
        if finding.prediction is not None and options.threshold is not None:
            other = replace(finding.prediction, threshold=options.threshold)
            finding = replace(finding, prediction=other)
        line = finding.line()
        if overlays is not None:
            name = f"{index:05d}_{finding.path.stem[:STEM]}"
            written = write_overlay(overlays, finding, name)
            line["overlay"] = None if written is None else str(written)
        emit(line)
        failed |= finding.error is not None
    return 2 if failed else 0


def calibrate(options: argparse.Namespace) -> int:
    """Write the detector again with the threshold that good photos set, and print that."""
    made = recalibrate(
        options.detector,
        find_photos(options.photos),
        options.out,
        rate=options.false_alarm_rate,
        batch_size=options.batch,
        device=options.device,
        precision=options.precision,
    )
    if warning := made.calibration.warning():
        logger.warning("%s", warning)
    emit(
        {
            "detector": str(options.out),
            "photos": len(made.calibration.scores),
            "parts": made.calibration.parts,
            "left_out": made.left_out,
            "false_alarm_rate": made.calibration.false_alarm_rate,
            "promised": made.calibration.guaranteed_rate,
            "threshold": made.calibration.threshold,
        }
    )
    return 0
