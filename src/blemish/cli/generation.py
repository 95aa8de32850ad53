"""The verbs of the generator: options in, exit code out."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState
from tqdm import tqdm

from blemish import config
from blemish.cli.output import emit
from blemish.data import (
    Dataset,
    natural_key,
    read_dataset,
    refuse_inside,
    write_coco,
    write_png,
    write_yolo,
)
from blemish.errors import DatasetError
from blemish.generation import (
    Generator,
    comparison,
    mask_files,
    read_manifest,
    small_plan,
    write_masks,
)
from blemish.generation import learn as learn_defects
from blemish.generation.manifest import Entry
from blemish.generation.saving import load_repertoire
from blemish.generator_config import GeneratorConfig
from blemish.runtime import file_sha256, logger

__all__ = ["generate", "learn", "masks", "reproduce_sample", "review"]

DEFAULT_BUDGET = 1200.0


def learn(options: argparse.Namespace) -> int:
    """Learn from a few photos of each type and print where the generator is."""
    values: dict[str, object] = {}
    if options.config is not None:
        values = config.read_yaml(options.config)
    values = config.merged(values, config.dotted(options.sets))
    short = {"seed": options.seed, "precision": options.precision}
    given = {name: value for name, value in short.items() if value not in (None, "auto")}
    settings = config.validated(GeneratorConfig, config.merged(values, {"learning": given}))
    seconds = None if options.iterations else options.budget or DEFAULT_BUDGET
    plan = small_plan(options.iterations, seconds)
    generator = learn_defects(
        read_dataset(options.data),
        settings,
        options.out,
        plan,
        shots=options.shots,
        device=options.device,
        resume=options.resume,
    )
    counts = {label: len(some) for label, some in generator.repertoire.exemplars.items()}
    emit(
        {
            "generator": str(options.out / "generator"),
            "learned_from": counts,
            "seconds": generator.facts["seconds"],
        }
    )
    return 0


def generate(options: argparse.Namespace) -> int:
    """Paint pairs and print how many of each type passed the gate."""
    dataset = read_dataset(options.data)
    _refuse_own_folder(dataset, options.out)
    generator = _generator(options, options.sets)
    counts = dict.fromkeys(options.types or generator.types, options.count)
    begun = time.monotonic()
    made: list[Entry] = []
    with tqdm(total=sum(counts.values()), unit="pair", disable=None) as bar:

        def report(entry: Entry) -> None:
            made.append(entry)
            bar.update()

        entries = generator.generate(
            dataset.train,
            counts,
            options.out,
            seed=options.seed,
            region=options.region or options.polygon,
            report=report,
            processes=options.processes,
        )
    if PartialState().process_index:
        return 0  # the first process speaks for all
    for label in counts:
        emit({"type": label, **_yield([entry for entry in entries if entry.label == label])})
    accepted = sum(entry.accepted for entry in entries)
    seconds = time.monotonic() - begun
    emit(
        {
            "out": str(options.out),
            "pairs": len(entries),
            "accepted": accepted,
            "made_now": len(made),
            "seconds": round(seconds, 1),
        }
    )
    if options.formats:
        _export(options.out, options.formats)
    return 0


def _export(folder: Path, formats: Sequence[str]) -> None:
    """Write all pairs of a folder, also those of other calls, in the formats of other tools."""
    known = read_manifest(folder).entries.values()
    records = [entry.record(folder) for entry in known if entry.accepted]
    if "coco" in formats:
        write_coco(folder / "coco.json", records, folder)
    if "yolo" in formats:
        refused = [entry.record(folder) for entry in known if not entry.accepted]
        write_yolo(folder / "yolo", records, refused)


def masks(options: argparse.Namespace) -> int:
    """Draw masks of each type into a folder and print where they are."""
    dataset = read_dataset(options.data)
    _refuse_own_folder(dataset, options.out)
    generator = _generator(options, [])
    written = write_masks(
        generator,
        dataset.train,
        dict.fromkeys(options.types or generator.types, options.count),
        options.out,
        seed=options.seed,
        region=options.region or options.polygon,
        learned=options.learned,
    )
    for label, files in written.items():
        emit({"type": label, "masks": len(files), "folder": str(options.out / label)})
    return 0


def review(options: argparse.Namespace) -> int:
    """Draw a sheet of each type and print its yield and mean scores."""
    known = read_manifest(options.data).entries
    if not known:
        raise DatasetError(
            f"{options.data} holds no generated pairs", hint="give the folder that generate wrote"
        )
    real = None if options.generator is None else load_repertoire(options.generator)
    for label in sorted({entry.label for entry in known.values()}, key=natural_key):
        # What somebody deleted by hand is not shown, and readers leave it out likewise.
        entries = [e for e in known.values() if e.label == label and e.intact(options.data)]
        sheet = options.data / "review" / f"{label}.png"
        if entries:
            shown = [] if real is None else real.real(label)
            write_png(sheet, comparison(options.data, entries, shown, options.shown))
        emit({"type": label, "sheet": str(sheet) if entries else None, **_yield(entries)})
    return 0


def reproduce_sample(options: argparse.Namespace) -> int:
    """Make a pair again and say whether it is the one in the folder; 2 when it is not."""
    label, _, index = options.sample.rpartition("/")
    known = read_manifest(options.data).entries
    if not index.isdecimal() or (label, int(index)) not in known:
        raise DatasetError(
            f"{options.data} lists no {options.sample!r}", hint="name it as TYPE/INDEX: crack/12"
        )
    entry = known[label, int(index)]
    painting = _generator(options, options.sets).reproduce(entry, options.data)
    write_png(options.out, painting.image)
    identical = file_sha256(options.out) == entry.image_sha256
    if not identical:
        logger.warning("the photo differs: another machine, thread count or PyTorch made the first")
    emit({"sample": options.sample, "out": str(options.out), "identical": identical})
    return 0 if identical else 2


def _generator(options: argparse.Namespace, sets: list[str]) -> Generator:
    """Return the generator with other settings of painting, and the user's masks, where given."""
    generator = Generator.load(options.generator, device=options.device, precision=options.precision)
    if sets:
        generator = generator.with_settings(config.dotted(sets))
    folder = getattr(options, "masks", None)
    return generator if folder is None else generator.with_masks(mask_files(folder))


def _refuse_own_folder(dataset: Dataset, out: Path) -> None:
    """Stop where pairs or masks would be written among the photos that they are painted on.

    Elsewhere a folder that is not empty is refused; one with a manifest might be a run to go on with.

    Raises:
        DatasetError: one of both folders is in the other, where that matters.
    """
    refuse_inside(dataset, out)
    root, target = dataset.root.resolve(), out.resolve()
    if dataset.layout == "manifest" and (root.is_relative_to(target) or target.is_relative_to(root)):
        raise DatasetError(
            f"{out} and the dataset {dataset.root} are one folder, or one lies in the other",
            hint="give --out a folder of its own: photos and manifest of the dataset stay as they are",
        )


def _yield(entries: list[Entry]) -> dict[str, object]:
    """Return how many pairs there are, how many passed, why others did not, and the mean scores."""
    faults = Counter(
        reason.split()[0] for entry in entries for some in entry.refused for reason in some
    )
    names = sorted({name for entry in entries for name in entry.scores})
    means = {}
    for name in names:
        values = [v for entry in entries if (v := entry.scores.get(name)) is not None]
        means[name] = round(sum(values) / len(values), 3) if values else None
    return {
        "pairs": len(entries),
        "accepted": sum(entry.accepted for entry in entries),
        "attempts": sum(entry.attempts for entry in entries),
        "refused": dict(faults),
        "mean_scores": means,
    }
