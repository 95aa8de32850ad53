"""One function a verb: options in, exit code out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blemish import config
from blemish.cli.output import emit
from blemish.data import Dataset, read_dataset, write_png
from blemish.data import check as check_dataset
from blemish.deploy.doctor import examine
from blemish.detection import Length
from blemish.detection import train as train_detector
from blemish.errors import ConfigError, DatasetError
from blemish.experiments import evaluate as evaluate_detector
from blemish.experiments import write_report
from blemish.experiments.demo import draw_factory
from blemish.experiments.story import chapter, write_story
from blemish.generation import Generator, comparison, learn
from blemish.generator_config import GeneratorConfig
from blemish.records import Record
from blemish.runtime import logger, write_json
from blemish.training import Plan
from blemish.verdicts import Detector

DEFAULT_BUDGET = 1800.0
DEFAULT_PRESET = "fast"
DEMO_PAIRS = 40


def check(options: argparse.Namespace) -> int:
    """List the problems of a dataset, one JSON line each, then a summary."""
    report = check_dataset(options.data, masks=options.masks)
    for problem in report.problems:
        emit(
            {
                "severity": problem.severity,
                "file": str(problem.file),
                "what": problem.what,
                "fix": problem.fix,
            }
        )
    summary = report.summary()
    del summary["problems"]  # printed above, a line each
    emit(summary)
    return 0 if report.ok else 2


def train(options: argparse.Namespace) -> int:
    """Train an inspector and print where it is."""
    dataset = read_dataset(options.data, masks=options.masks)
    settings = _settings(options)
    plan = _plan(options, settings, dataset)
    detector = train_detector(
        dataset,
        settings,
        options.out,
        plan,
        device=options.device,
        resume=options.resume,
        examples=[r for folder in options.examples for r in _examples(folder)],
    )
    emit(
        {
            "detector": str(options.out / "detector"),
            "threshold": detector.threshold,
            **detector.facts,
        }
    )
    return 0


def _examples(folder: Path) -> tuple[Record, ...]:
    """Return the training defects of a dataset.

    Raises:
        DatasetError: it has none.
    """
    found = read_dataset(folder).train_defects
    if not found:
        raise DatasetError(
            f"{folder} has no defects to train on",
            hint="give what `blemish generate` wrote, or put photos of defects into train/<type>/",
        )
    return found


def evaluate(options: argparse.Namespace) -> int:
    """Write metrics.json and report.html, and print the figures."""
    detector = Detector.load(options.detector, device=options.device, precision=options.precision)
    out = options.out or _beside(options.detector)
    dataset = read_dataset(options.data, masks=options.masks)
    emit(_evaluate(detector, dataset, out, options.batch))
    return 0


def _beside(detector: Path) -> Path:
    """Return where a detector is judged: beside it, so that no two in one place share a report."""
    name = detector.name or detector.resolve().name  # the folder in which one stands has no name
    return detector.parent / ("evaluation" if name == "detector" else f"{name}-evaluation")


def demo(options: argparse.Namespace) -> int:
    """Draw a factory; learn, generate, train without and with what was generated; tell the story."""
    chapters = []
    for root in draw_factory(options.out / "factory"):
        if not check_dataset(root).ok:
            logger.error("the drawn factory in %s is damaged: remove it and start again", root)
            return 2
        dataset, run = read_dataset(root), options.out / "runs" / root.name
        pairs = _generated(dataset, run, options.device)
        sections: dict[str, dict[str, Any]] = {}
        for name in ("without", "with"):
            examples = pairs if name == "with" else ()
            figures = _trained(dataset, examples, run / name, options)
            emit({"data": str(root), "generated_defects": len(examples), **figures})
            sections[name] = figures
        chapters.append(chapter(root.name, run, sections))
    story = options.out / "story.html"
    write_story(story, chapters)
    logger.info("open %s", story.resolve())
    logger.info("paint and review: %s", _studio(options.out, root.name))
    return 0


def _studio(out: Path, product: str) -> str:
    """Return the command that opens the studio on one of the demo's products."""
    run = out / "runs" / product
    words = [
        "blemish",
        "serve",
        run / "with" / "detector",
        "--generator",
        run / "generator" / "generator",
    ]
    words += ["--data", out / "factory" / product, "--pairs", run / "generated", "--reports", out]
    return shlex.join(map(str, words))


def _generated(dataset: Dataset, run: Path, device: str) -> tuple[Record, ...]:
    """Return pairs of every type of the dataset's few defects that passed the gate."""
    folder, pairs = run / "generator", run / "generated"
    if (folder / "generator").is_dir():
        generator = Generator.load(folder / "generator", device=device)
    else:
        generator = learn(dataset, GeneratorConfig(), folder, device=device, resume=True)
    counts = dict.fromkeys(generator.types, DEMO_PAIRS)
    logger.info("painting %d defects of %s", sum(counts.values()), dataset.root.name)
    entries = generator.generate(dataset.train, counts, pairs)
    for label in generator.types:
        some = [entry for entry in entries if entry.label == label]
        passed, real = [entry for entry in some if entry.accepted], generator.repertoire.real(label)
        sheet = comparison(pairs, passed or some, real, 4, scores=False)
        write_png(run / "sheets" / f"{label}.png", sheet)
    return read_dataset(pairs).train_defects


def _trained(
    dataset: Dataset, examples: Sequence[Record], run: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of a detector trained with or without examples, reported in its folder."""
    dials: dict[str, dict[str, Any]] = {"training": {"precision": options.precision}}
    if not examples:  # those of the dataset's own training split neither
        dials["synthesis"] = {"examples_share": 0.0}
    settings = config.preset("fast", dials)
    plan = Length(seconds=options.budget).plan(settings.training, len(dataset.train))
    words = (
        f"with {len(examples)} generated defects and the real ones"
        if examples
        else "with drawn defects only"
    )
    logger.info("training on %s %s for %.0f s", dataset.root.name, words, options.budget)
    resume = (run / "split.json").exists()
    detector = train_detector(
        dataset, settings, run, plan, device=options.device, resume=resume, examples=examples
    )
    return _evaluate(detector, dataset, run / "evaluation", batch=8)


def doctor(_: argparse.Namespace) -> int:
    """Print what the machine offers."""
    emit(examine())
    return 0


def _evaluate(detector: Detector, dataset: Dataset, out: Path, batch: int) -> dict[str, Any]:
    """Write metrics and report; return what to print."""
    command = shlex.join(["blemish", *sys.argv[1:]])
    figures, report = evaluate_detector(detector, dataset, command=command, batch_size=batch)
    write_json(out / "metrics.json", figures)
    write_report(out / "report.html", report)
    return {"data": str(dataset.root), "report": str(out / "report.html"), **figures["metrics"]}


def _settings(options: argparse.Namespace) -> config.InspectorConfig:
    """Return the preset with the file, the --set words and the short options laid over it.

    Any of --preset, the file and the --set words may name the preset.

    Raises:
        ConfigError: two presets are named, there is none of this name, or a setting does not fit.
    """
    file = {} if options.config is None else config.read_yaml(options.config)
    words = config.dotted(options.sets)
    said = (options.preset, file.get("preset"), words.get("preset"))
    named = list(dict.fromkeys(str(name) for name in said if name is not None))
    if len(named) > 1:
        raise ConfigError(
            f"the settings name two presets: {' and '.join(named[:2])}",
            hint="give --preset alone, and take the preset out of --config and --set",
        )
    values = config.merged(file, words)
    short = {
        "training": {"seed": options.seed, "precision": options.precision},
        "synthesis": {"textures": options.textures and str(options.textures)},
        "calibration": {"false_alarm_rate": options.false_alarm_rate},
    }
    given = {
        section: {name: value for name, value in dials.items() if value not in (None, "auto")}
        for section, dials in short.items()
    }
    return config.preset(named[0] if named else DEFAULT_PRESET, config.merged(values, given))


def _plan(options: argparse.Namespace, settings: config.InspectorConfig, dataset: Dataset) -> Plan:
    """Return how long to train: by wall clock, by iterations, or by passes over the photos."""
    length = Length(options.iterations, options.epochs, options.budget)
    if length == Length():
        length = Length(seconds=DEFAULT_BUDGET)
    return length.plan(settings.training, len(dataset.train), trackers=tuple(options.track))
