"""From good photos to a calibrated detector."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from torch import Tensor, nn

from blemish import runtime
from blemish.config import InspectorConfig, parse, read_yaml, write_yaml
from blemish.data import Dataset, Split, hold_out, read_split, write_png, write_split
from blemish.data.pictures import contact_sheet, overlay
from blemish.detection.calibration import Calibration
from blemish.detection.detector import Detector
from blemish.detection.inspector import Inspector, Objective, as_float
from blemish.detection.photos import Photos, View, settled
from blemish.detection.samples import Batch, Samples, drawn
from blemish.detection.scoring import NoiseField, image_score
from blemish.detection.symmetry import symmetries
from blemish.errors import ArtifactError, DatasetError
from blemish.metrics import PixelScores, auroc
from blemish.networks import LiteEncoder
from blemish.runtime import numpy_generator
from blemish.training import Outcome, Plan, Run
from blemish.version import __version__

CONFIG, SPLIT, DETECTOR = "config.yaml", "split.json", "detector"
_AT_LEAST = 4
_SHEET_ROWS = 6
_VALIDATION_SQUARES = 48
_STATISTICS = 64


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A validation square: a held-out good photo as it is, or with a drawn defect."""

    view: View
    mask: npt.NDArray[np.bool_]


class InspectorTask:
    """Trains both networks jointly; validates on held-out photos, good and with drawn defects."""

    def __init__(
        self, config: InspectorConfig, photos: Photos, held_out: Photos, device: str = "auto"
    ) -> None:
        self.config = config
        self.device = runtime.device(device)
        self.dtype = runtime.precision(config.training.precision, self.device)
        self.photos = photos
        self.inspector = Inspector.fresh(config, some_squares(photos, config.training.seed))
        self.module: nn.Module = Objective(config, self.inspector, self.dtype)
        self.module.to(memory_format=torch.channels_last)
        if config.training.compile:
            self.module.compile()
        self.held_out = self._held_out(held_out)
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
        samples = Samples(self.photos, self.config, rank, world)
        return samples.stream(start, self.config.training.workers)

    def validate(self) -> dict[str, float]:
        """Return image AUROC and pixel AP on the held-out squares; the objective is their mean."""
        scores, labels, pixels = [], [], PixelScores()
        for start in range(0, len(self.held_out), 8):
            part = self.held_out[start : start + 8]
            for square, values in zip(part, self._look(part)[0], strict=True):
                scores.append(image_score(values, square.view.valid))
                labels.append(bool(square.mask.any()))
                pixels.add(values, square.mask, square.view.valid)
        image, pixel = auroc(scores, labels), pixels.average_precision()
        return {"image_auroc": image, "pixel_ap": pixel, "objective": (image + pixel) / 2}

    def sheet(self, path: Path) -> None:
        """Draw photo, reconstruction, map and mask of some held-out squares."""
        part = self.held_out[: 2 * _SHEET_ROWS]
        maps, pictures = self._look(part)
        rows = []
        for square, values, picture in zip(part, maps, pictures, strict=True):
            mask = np.repeat(square.mask[..., None], 3, axis=2).astype(np.uint8) * 255
            rows.append([square.view.image, picture, overlay(square.view.image, values), mask])
        titles = ["photo", "reconstruction", "map", "drawn defect"]
        write_png(path, contact_sheet(rows, titles))

    def _look(self, part: Sequence[HeldOut]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Return maps (B, S, S) and reconstructions (B, S, S, 3) of some squares."""
        squares = np.stack([square.view.image for square in part])
        noise = torch.stack([self._field.windows(square) for square in squares])
        where = next(self.inspector.parameters()).device
        with torch.inference_mode(), runtime.autocast(where, self.dtype):
            logits, picture = self.inspector(torch.from_numpy(squares).to(where), noise.to(where))
        shown = picture.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1)
        return logits.float().sigmoid()[:, 0].cpu().numpy(), shown.cpu().numpy()


def train(
    dataset: Dataset,
    config: InspectorConfig,
    folder: Path,
    plan: Plan,
    *,
    device: str = "auto",
    resume: bool = False,
) -> Detector:
    """Return a detector trained on the dataset's good training photos, saved in `folder/detector`.

    No photo of the test split is opened. The run can be killed at any moment; with `resume` it goes
    on from its last checkpoint and ends with the same weights.

    Raises:
        DatasetError: there are fewer than four good training photos.
        ArtifactError: the folder holds another run.
    """
    processes = PartialState(cpu=runtime.device(device).type == "cpu")
    with processes.main_process_first():  # the others find the split that the first has written
        mine = processes.is_main_process
        split = _prepare_folder(dataset, config, folder, resume=resume or not mine)
    config = config.model_copy(update={"synthesis": settled(config.synthesis, split.train)})
    photos = Photos(split.train, config)
    photos.warm()
    config = _with_turns(config, photos)
    held_out = Photos(split.validation, config)
    task = InspectorTask(config, photos, held_out, device)
    run = Run(task, plan, folder, cpu=task.device.type == "cpu")
    outcome = run.fit(resume=resume)
    weights = task.inspector.state_dict() | {
        name.removeprefix("inspector."): value for name, value in outcome.weights.items()
    }
    facts = _facts(config, split, outcome, plan)
    detector = calibrated(config, weights, split, facts, device)
    if run.accelerator.is_main_process:
        detector.save(folder / DETECTOR)
        warning = detector.calibration.warning()
        if warning:
            runtime.logger.warning("%s", warning)
    return detector


def _with_turns(config: InspectorConfig, photos: Photos) -> InspectorConfig:
    """Return the settings with the turns decided by a look at the photos."""
    if config.data.turns != "auto":
        return config
    encoder = LiteEncoder()
    encoder.load_imagenet()
    squares = some_squares(photos, config.training.seed)
    encoder.standardise(as_float(torch.from_numpy(squares)))
    found = symmetries(squares, encoder)
    runtime.logger.info("photos may be turned: %s", ", ".join(found) or "no")
    return config.model_copy(update={"data": config.data.model_copy(update={"turns": found})})


def some_squares(photos: Photos, seed: int) -> npt.NDArray[np.uint8]:
    """Return squares of up to 64 photos, to take statistics from."""
    rng = numpy_generator(seed, "statistics")
    chosen = rng.permutation(len(photos))[:_STATISTICS]
    return np.stack([photos.view(int(index), rng).image for index in chosen])


def calibrated(
    config: InspectorConfig,
    weights: dict[str, Tensor],
    split: Split,
    facts: dict[str, Any],
    device: str = "auto",
) -> Detector:
    """Return the detector with its threshold set on the held-out good photos."""
    rate = config.calibration.false_alarm_rate
    precision = config.training.precision
    raw = Detector(config, weights, Calibration.of([], rate), device=device, precision=precision)
    photos = [record.image for record in split.validation]
    scores = [p.score for p in raw.predict_many(photos, reconstruct=False)]
    return Detector(
        config, weights, Calibration.of(scores, rate), facts, device=device, precision=precision
    )


def _prepare_folder(dataset: Dataset, config: InspectorConfig, folder: Path, *, resume: bool) -> Split:
    """Write, or on resuming check, the run's settings and its split; return the split.

    Raises:
        DatasetError: there are fewer than four good training photos.
        ArtifactError: the folder holds another run.
    """
    path = folder / SPLIT
    if resume and path.is_file():
        if parse(read_yaml(folder / CONFIG)) != config:
            raise ArtifactError(
                f"{folder} was started with other settings than these",
                hint=f"compare with {folder / CONFIG}, or choose another folder",
            )
        return read_split(path, dataset.root)
    if path.exists():
        raise ArtifactError(
            f"{folder} holds a run already", hint="add --resume, or choose another folder"
        )
    if len(dataset.train) < _AT_LEAST:
        raise DatasetError(
            f"{dataset.root} has {len(dataset.train)} good training photos, expected at least "
            f"{_AT_LEAST}",
            hint="20 give a first impression, 100 a usable threshold",
        )
    at_least = min(config.data.holdout_at_least, len(dataset.train) // 4)
    seed, share = config.training.seed, config.data.holdout
    split = hold_out(dataset.train, seed=seed, fraction=share, at_least=at_least)
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / CONFIG, config)
    write_split(path, split, dataset.root)
    return split


def _facts(config: InspectorConfig, split: Split, outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """Return what a reader of the card should know about how the weights came about."""
    return {
        "blemish": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "seed": config.training.seed,
        "product_kind": config.synthesis.kind,
        "framing": config.data.framing,
        "good_photos": len(split.train),
        "held_out_photos": len(split.validation),
        "split_sha256": split.digest,
        "iterations": outcome.state.iteration,
        "chosen_iteration": outcome.state.best_iteration,
        "validation_objective": outcome.state.best,
        "training_seconds": round(outcome.state.elapsed, 1),
        "budget_seconds": plan.seconds,
        "stopped": outcome.state.stopped,
    }
