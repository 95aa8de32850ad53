"""Verbs that make other forms of an inspector, and time them."""

from __future__ import annotations

import argparse

from blemish.cli.output import emit
from blemish.data import read_dataset


def export(options: argparse.Namespace) -> int:
    """Write an exported inspector and print how far it is from the trained one."""
    from blemish.deploy.export import export as write_export
    from blemish.deploy.parity import Tolerance

    allowed = options.tolerance
    parity = write_export(
        options.detector,
        read_dataset(options.data),
        options.out,
        options.to,
        options.precision,
        None if allowed is None else Tolerance(map=allowed / 3, score=allowed),
    )
    emit({"out": str(options.out), **parity.summary()})
    return 0


def bench(options: argparse.Namespace) -> int:
    """Print one line of figures for each form."""
    from blemish.deploy.timing import timed

    for folder in options.detectors:
        emit(
            timed(
                folder,
                options.photos,
                batch=options.batch,
                seconds=options.budget,
                device=options.device,
                precision=options.precision,
            )
        )
    return 0
