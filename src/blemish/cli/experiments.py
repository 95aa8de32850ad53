"""The verb that reproduces an experiment: parse, call one function, print."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish import config
from blemish.cli.output import emit
from blemish.detection import Length
from blemish.errors import ConfigError
from blemish.experiments.grid import all_devices
from blemish.experiments.protocol import PAPER, SCALES, Scale
from blemish.experiments.reproduction import reproduce as reproduce_experiment
from blemish.experiments.request import Request
from blemish.experiments.tables import as_json
from blemish.experiments.variants import DETECTION, GENERATION
from blemish.generation import small_plan
from blemish.training import Plan


def reproduce(options: argparse.Namespace) -> int:
    """Run an experiment, or what is left of it; write its report and print its tables."""
    scale = _scale(options)
    request = Request(
        data=options.data,
        out=options.out,
        scale=scale,
        seeds=tuple(options.seeds),
        methods=options.methods,
        categories=tuple(options.categories),
        generated=_named(options.generated),
        maps=_named(options.maps),
        variant=options.variant or Request.variant,
        paper_protocol=options.paper_protocol,
        inspector=config.dotted(options.sets),
        generator=config.dotted(options.generator_sets),
        plan=_plan(options),
        lpips=options.lpips,
        inception=options.inception,
        devices=all_devices() if options.device == ["auto"] else tuple(options.device),
        command=shlex.join(["blemish", *sys.argv[1:]]),
    )
    _refuse_unused(options)
    found = reproduce_experiment(options.experiment, request)
    for table in as_json(found)["tables"]:
        emit({"table": table["title"], "rows": table["rows"]})
    emit({"report": str(options.out / "report.html")})
    return 0


def _refuse_unused(options: argparse.Namespace) -> None:
    """Stop where an option would be left aside without a word.

    Raises:
        ConfigError: the experiment does not read it.
    """
    experiment = options.experiment
    if experiment == "ablation":
        experiment += f" --variant {options.variant or Request.variant}"
    table = ("anomalydiffusion",)
    painting = (*table, "loop", *(f"ablation --variant {variant}" for variant in GENERATION))
    detecting = ("diffusionad", "loop", *(f"ablation --variant {variant}" for variant in DETECTION))
    for word, given, readers in (
        ("--pairs", options.pairs, painting),
        ("--budget", options.budget, detecting),
        ("--iterations", options.iterations, detecting),
        ("--set", options.sets, detecting),
        ("--variant", options.variant, ("ablation",)),
        ("--generated", options.generated, table),
        ("--maps", options.maps, ("diffusionad",)),
        ("--methods", options.methods, table),
        ("--paper-protocol", options.paper_protocol, ("anomalydiffusion", "diffusionad")),
        ("--lpips", options.lpips, table),
        ("--inception", options.inception, table),
        ("--resnet", options.resnet, table),
        ("--generator-set", options.generator_sets, painting),
        ("--generator-iterations", options.generator_iterations, painting),
    ):
        if given and not {options.experiment, experiment} & set(readers):
            raise ConfigError(
                f"`reproduce {experiment}` does not read {word}",
                hint=f"give it to {' or '.join(f'`reproduce {reader}`' for reader in readers)}",
            )


def _scale(options: argparse.Namespace) -> Scale:
    """Return the scale with what was asked for otherwise."""
    scale = SCALES[options.scale]
    changed: dict[str, Any] = {}
    if options.pairs is not None:
        fewer = (count for count in scale.generated if count < options.pairs)
        changed = {"pairs": options.pairs, "generated": (*fewer, options.pairs)}
    length = Length(options.iterations, seconds=options.budget)
    if length != Length():
        changed["detector"] = length
    scale = scale.changed(changed)
    if options.resnet is None:
        return scale
    return replace(scale, classifier=replace(scale.classifier, weights=str(options.resnet)))


def _plan(options: argparse.Namespace) -> Plan | None:
    """Return how the generator's network learns: the papers' way at their scale, else as in `learn`."""
    if options.generator_iterations is None:
        return None
    plan = Plan if options.scale == PAPER.name else small_plan
    return plan(iterations=options.generator_iterations)


def _named(words: Sequence[str]) -> dict[str, Path]:
    """Return name and folder of words such as dfmgan=pairs/dfmgan."""
    found = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise ConfigError(f"expected NAME=FOLDER, got {word!r}")
        if name in found:
            raise ConfigError(f"{name} is given twice", hint="give each folder a name of its own")
        found[name] = Path(folder)
    return found
