"""From good photos to a calibrated detector."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blemish import hardware, randomness, runtime
from blemish.config import InspectorConfig
from blemish.data import Dataset, Split, write_png
from blemish.data.pictures import contact_sheet, overlay
from blemish.detection.evidence import Opinion, Usual, usual
from blemish.detection.examples import Examples, divided, gathered
from blemish.detection.inspector import USUAL, Inspector, as_float
from blemish.detection.joint import Objective
from blemish.detection.noise import NoiseField
from blemish.detection.photos import Photos, View, framed, settled, some_photos, some_squares
from blemish.detection.run_folder import DETECTOR, prepare_folder, refuse_start
from blemish.detection.samples import Batch, Samples, drawn, texture_source
from blemish.detection.trained import TrainedDetector
from blemish.metrics import PixelScores, auroc
from blemish.networks import LiteEncoder
from blemish.networks.kinship import families
from blemish.networks.symmetry import symmetries
from blemish.randomness import numpy_generator
from blemish.records import Record
from blemish.training import Outcome, Plan, Run, read_snapshots, refuse_missing
from blemish.verdicts import Calibration, image_score
from blemish.version import __version__

_SHEET_ROWS = 6
_VALIDATION_SQUARES = 48
_BATCH = 8


class Credit(NamedTuple):
    """How far the segmenter is believed (docs/lab.md).

    calm: the share of held-out good pixels on which what it says counts for nothing; trust: how many
    times what is beyond that counts.
    """

    calm: float
    trust: float


DRAWN, SHOWN = Credit(0.95, 1.0), Credit(0.9, 2.0)
"""Where it has learned from drawn defects alone, and where from examples, real or generated."""

_COMPARED, _REMEMBERED, _WINDOWS = 48, 1000, 8


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A validation square: a held-out good photo as it is or with a drawn defect, or an example."""

    view: View
    mask: npt.NDArray[np.bool_]


class InspectorTask:
    """Trains both networks jointly; validates on held-out photos, good and with drawn defects."""

    def __init__(
        self,
        config: InspectorConfig,
        photos: Photos,
        held_out: Photos,
        device: str = "auto",
        examples: Examples | None = None,
        held_out_examples: Examples | None = None,
    ) -> None:
        self.config, self.examples = config, examples
        self.credit = DRAWN if examples is None else SHOWN
        self.device = hardware.device(device)
        self.dtype = hardware.precision(config.training.precision, self.device)
        self.photos = photos
        squares, kin = some_squares(
            [photos], config.training.seed, _REMEMBERED, _windows([photos, held_out])
        )
        self.inspector = Inspector.fresh(config, squares, kin)
        self.module: nn.Module = Objective(config, self.inspector, self.dtype)
        self.module.to(memory_format=torch.channels_last)
        if config.training.compile:
            self.module.compile()
        self.held_out = self._held_out(held_out)
        if held_out_examples is not None:
            self.held_out += self._shown(held_out_examples)
        self._field = NoiseField(config.data.size)

    def _held_out(self, photos: Photos) -> list[HeldOut]:
        """Return each held-out square twice: as it is, and with a drawn defect."""
        seed = self.config.training.seed
        samples = Samples(photos, self.config)
        squares = []
        for index in range(min(len(photos), _VALIDATION_SQUARES)):
            rng = numpy_generator(seed, "validation", index)
            view = photos.view(index, rng)
            squares.append(HeldOut(view, np.zeros(view.valid.shape, np.bool_)))
            squares.append(HeldOut(*drawn(view, samples.recipe, samples.textures, rng)))
        return squares

    def _shown(self, examples: Examples) -> list[HeldOut]:
        """Return squares of held-out example defects."""
        seed = self.config.training.seed
        count = min(len(examples), _VALIDATION_SQUARES // 2)
        rngs = (numpy_generator(seed, "example", index) for index in range(count))
        return [HeldOut(*examples.view(index, rng)) for index, rng in enumerate(rngs)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one optimiser group a network."""
        training = self.config.training
        networks = (
            (self.inspector.denoiser, training.denoiser_lr),
            (self.inspector.segmenter, training.segmenter_lr),
        )
        return [
            {
                "params": [p for p in network.parameters() if p.requires_grad],
                "lr": rate,
                "weight_decay": training.weight_decay,
            }
            for network, rate in networks
        ]

    def batches(self, start: int, rank: int, world: int) -> Iterable[Sequence[Batch]]:
        """Yield this rank's micro-batches of iteration start, start + 1, ..."""
        samples = Samples(self.photos, self.config, rank, world, self.examples)
        return samples.stream(start, self.config.training.workers)

    def validate(self) -> dict[str, float]:
        """Return image AUROC and pixel AP on the held-out squares; the objective is their mean.

        An inspector that denoises iteratively is asked for its quick opinion: validating would take
        longer than training.
        """
        opinions = list(self.opinions(self.held_out, quick=True))
        reached, scores, labels, pixels = self._usual(self.held_out, opinions), [], [], PixelScores()
        for square, opinion in zip(self.held_out, opinions, strict=True):
            values = opinion.verdict(reached, self.credit.trust).sigmoid()[0, 0].numpy()
            scores.append(image_score(values, square.view.valid, self.config.data.size))
            labels.append(bool(square.mask.any()))
            pixels.add(values, square.mask, square.view.valid)
        image, pixel = auroc(scores, labels), pixels.average_precision()
        return {"image_auroc": image, "pixel_ap": pixel, "objective": (image + pixel) / 2}

    def settle(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the inspector's whole state with these learned weights, calibrated."""
        self.inspector.load_state_dict(weights, strict=False)
        self.inspector.eval()
        calm = [square for square in self.held_out if not square.mask.any()]
        for name, value in zip(USUAL, self._usual(calm, self.opinions(calm)), strict=True):
            self.inspector.get_buffer(name).copy_(value)
        self.inspector.trust.fill_(self.credit.trust)
        return dict(self.inspector.state_dict())

    def sheet(self, path: Path) -> None:
        """Draw photo, reconstruction, map and mask of some held-out squares."""
        part = self.held_out[: 2 * _SHEET_ROWS]
        opinions = list(self.opinions(part, quick=True))
        reached = self._usual(part, opinions)
        rows = []
        for square, opinion in zip(part, opinions, strict=True):
            values = opinion.verdict(reached, self.credit.trust).sigmoid()[0, 0].numpy()
            shown = opinion.reconstruction[0].permute(1, 2, 0).numpy()
            picture = np.rint(shown.clip(0, 1) * 255).astype(np.uint8)
            mask = np.repeat(square.mask[..., None], 3, axis=2).astype(np.uint8) * 255
            rows.append([square.view.image, picture, overlay(square.view.image, values), mask])
        write_png(path, contact_sheet(rows, ["photo", "reconstruction", "map", "drawn defect"]))

    def _usual(self, squares: Iterable[HeldOut], opinions: Iterable[Opinion]) -> Usual:
        """Return what the good ones of these squares reach."""
        pairs = zip(squares, opinions, strict=True)
        good = [(opinion, square.view.valid) for square, opinion in pairs if not square.mask.any()]
        return usual([opinion for opinion, _ in good], [valid for _, valid in good], self.credit.calm)

    def opinions(self, squares: Sequence[HeldOut], *, quick: bool = False) -> Iterator[Opinion]:
        """Yield the inspector's opinion on each square, as a batch of one on the CPU."""
        where = next(self.inspector.parameters()).device
        for start in range(0, len(squares), _BATCH):
            images = np.stack([square.view.image for square in squares[start : start + _BATCH]])
            photo = torch.from_numpy(images).to(where)
            with torch.inference_mode(), hardware.autocast(where, self.dtype):
                found = self.inspector.opinion(photo, self._field.to(where)(photo), quick=quick)
            whole = found.map(lambda value: value.float().cpu())
            for row in range(len(images)):
                yield whole.map(itemgetter(slice(row, row + 1)))


def train(
    dataset: Dataset,
    config: InspectorConfig,
    folder: Path,
    plan: Plan,
    *,
    device: str = "auto",
    resume: bool = False,
    examples: Sequence[Record] = (),
    watch: Callable[[int, TrainedDetector], None] | None = None,
) -> TrainedDetector:
    """Return a detector trained on the dataset's good training photos, saved in `folder/detector`.

    examples: defects to learn from beside the drawn ones and those of the dataset's own training split,
    real or generated; all with masks. Some are held out to choose the weights by, with all that was
    painted of the same real defects. No photo of the test split is opened. A budget
    of seconds counts from this call. The run can be killed at any moment; with `resume` it goes on from
    its last checkpoint and ends with the same weights, on a processor bit for bit. watch: called after
    training with each validation's iteration and the detector of its weights; it chooses nothing.

    Raises:
        DatasetError: there are fewer than four good training photos, or the folder lies among them.
        ArtifactError: the folder holds another run, or one that was planned for another time.
    """
    begun = time.monotonic()
    refuse_start(dataset, folder, resume=resume)
    refuse_missing(plan.trackers)
    texture_source(config)  # a folder without pictures is refused before photos are read
    processes = hardware.processes(cpu=hardware.device(device).type == "cpu")
    mine = processes.is_main_process
    with runtime.alone(folder) if mine else contextlib.nullcontext():
        with processes.main_process_first():  # the others find the split that the first has written
            kin = dict(zip(dataset.train, families(dataset.train, config.data.size), strict=True))
            shown = gathered(dataset, config, examples)
            split = prepare_folder(dataset, config, folder, kin, shown, resume=resume, joins=not mine)
        looks = some_photos(split.train)
        decided = {"data": framed(config.data, looks), "synthesis": settled(config.synthesis, looks)}
        config = config.model_copy(update=decided)
        photos = Photos(split.train, config, [kin[record] for record in split.train])
        photos.warm()
        config = _with_turns(config, photos)
        held_out = Photos(split.validation, config, [kin[record] for record in split.validation])
        learnt, kept = (
            Examples(part, config) if part else None
            for part in divided(shown, split, kin, config.training.seed)
        )
        task = InspectorTask(config, photos, held_out, device, learnt, kept)
        timed = replace(plan.left(begun), snapshots=watch is not None)
        run = Run(task, timed, folder, cpu=task.device.type == "cpu")
    outcome = run.fit(resume=resume)
    facts = _facts(config, split, outcome, plan) | {"examples": 0 if learnt is None else len(learnt)}

    def finished(learned: Mapping[str, Tensor]) -> TrainedDetector:
        weights = task.settle({n.removeprefix("inspector."): v for n, v in learned.items()})
        weights = remembering(config, weights, [photos, held_out])
        return calibrated(config, weights, split, facts, device, held_out.families)

    if watch is not None:
        for iteration, learned in read_snapshots(folder):
            watch(iteration, finished(learned))
    detector = finished(outcome.weights)
    detector.known = _known(split, shown)
    if run.accelerator.is_main_process:
        detector.save(folder / DETECTOR)
    return detector


def _with_turns(config: InspectorConfig, photos: Photos) -> InspectorConfig:
    """Return the settings with the turns decided by a look at the photos."""
    if config.data.turns != "auto":
        return config
    if config.data.framing != "letterbox":  # windows are alike where whole photos are not
        whole = config.data.model_copy(update={"framing": "letterbox"})
        photos = Photos(photos.records, config.model_copy(update={"data": whole}))
    squares, _ = some_squares([photos], config.training.seed, _COMPARED)
    encoder = LiteEncoder.imagenet(as_float(torch.from_numpy(squares)))
    found = symmetries(squares, encoder)
    runtime.logger.info("photos may be turned: %s", ", ".join(found) or "no")
    return config.model_copy(update={"data": config.data.model_copy(update={"turns": found})})


def calibrated(
    config: InspectorConfig,
    weights: dict[str, Tensor],
    split: Split,
    facts: dict[str, Any],
    device: str,
    families: Sequence[int],
) -> TrainedDetector:
    """Return the detector with its threshold set on the held-out good photos, of these families.

    They are in its memory, and are not compared with their own families, as no new photo will be.
    """
    rate = config.calibration.false_alarm_rate
    precision = config.training.precision
    raw = TrainedDetector(
        config, weights, Calibration.of([], rate), facts, device=device, precision=precision
    )
    photos = [record.image for record in split.validation]
    return raw.calibrated(Calibration.of(raw.scores_as_new(photos, families), rate, families))


def remembering(
    config: InspectorConfig, weights: dict[str, Tensor], photos: Sequence[Photos]
) -> dict[str, Tensor]:
    """Return an inspector's state with the patches of all these photos in its memory.

    Before the threshold is set: another choice of patches gives other scores (docs/lab.md).
    """
    inspector = Inspector(config)
    inspector.load_state_dict(weights)
    squares, kin = some_squares(photos, config.training.seed, _REMEMBERED, _windows(photos))
    inspector.remember(squares, kin, randomness.generator(config.training.seed, "all patches"))
    return dict(inspector.state_dict())


def _windows(photos: Sequence[Photos]) -> int:
    """Return how many squares of each photo the memory holds, of all its photos and of a part alike."""
    return max(1, min(_WINDOWS, _REMEMBERED // sum(map(len, photos))))


def _known(split: Split, examples: Sequence[Record]) -> frozenset[str]:
    """Return the SHA-256 of all real photos that a detector has to do with, directly or by painting."""
    real = [*split.train, *split.validation, *(one for one in examples if not one.synthetic)]
    painted = {name for one in examples for name in one.made_of}
    return frozenset({runtime.file_sha256(record.image) for record in real} | painted)


def _facts(config: InspectorConfig, split: Split, outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """Return what a reader of the card should know about how the weights came about."""
    best = outcome.state.best
    return {
        "blemish": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "preset": config.preset,
        "seed": config.training.seed,
        "product_kind": config.synthesis.kind,
        "framing": config.data.framing,
        "good_photos": len(split.train),
        "held_out_photos": len(split.validation),
        "split_sha256": split.digest,
        "iterations": outcome.state.iteration,
        "chosen_iteration": outcome.state.best_iteration,
        "validation_objective": best if math.isfinite(best) else None,
        "training_seconds": round(outcome.state.elapsed, 1),
        "budget_seconds": plan.seconds,
        "stopped": outcome.state.stopped,
    }
