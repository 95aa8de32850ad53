"""How a model of anomalib learns here: its own training step, our clock, weights from a file."""

from __future__ import annotations

import math
import pickle
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from blemish.data import hold_out, read_image
from blemish.errors import ArtifactError, DependencyError
from blemish.networks.encoder import weights_path
from blemish.records import Record
from blemish.runtime import logger
from blemish.version import __version__

if TYPE_CHECKING:
    from blemish.experiments.peers import Peer

_PACKAGES = ("anomalib", "lightning", "timm", "torch", "torchvision")


class Judged(NamedTuple):
    """What a detector says of a photo. map: float32 (H, W). seconds: of the network alone."""

    score: float
    map: npt.NDArray[np.float32]
    seconds: float


def train(
    peer: Peer,
    records: Sequence[Record],
    *,
    seconds: float,
    seed: int,
    size: int,
    weights: Path | None,
    pictures: Path | None,
    where: torch.device,
) -> tuple[Trained, dict[str, Any]]:
    """Return the trained detector and what its training took.

    The budget of seconds counts from the first photo read; building the network comes before it.

    Raises:
        DependencyError: anomalib is not installed.
        ArtifactError: the weights are those of another network.
        ImageError: a photo cannot be read.
    """
    try:
        from lightning.pytorch import Trainer, seed_everything
        from lightning.pytorch.callbacks import LambdaCallback
    except ImportError as error:
        raise DependencyError(
            "anomalib is not installed", hint="`make peers` makes an environment that has it"
        ) from error
    seed_everything(seed, verbose=False)
    module, transform = build(peer, size, weights, pictures)
    facts: dict[str, Any] = {}

    start = time.monotonic()
    learned, held = records, tuple[Record, ...]()
    if peer.updates:  # EfficientAD scales its maps by those of good photos that it did not learn from
        split = hold_out(records, seed=seed, fraction=0.1, at_least=1)
        learned, held = split.train, split.validation
    photos = _data_module(_read(learned, transform), _read(held, transform), peer.batch)
    pace = Pace(start, seconds, by_updates=bool(peer.updates))
    if peer.model == "Patchcore":
        module.fit = lambda: facts.update(_pick_coreset(module, start + seconds))
    batches = math.ceil(len(learned) / peer.batch)
    settings = {
        **module.trainer_arguments,
        "max_epochs": peer.epochs or math.ceil(peer.updates / batches),
        "accelerator": "gpu" if where.type == "cuda" else where.type,
        "devices": [where.index or 0] if where.type == "cuda" else 1,
        "limit_val_batches": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [LambdaCallback(on_train_start=pace.begin, on_train_batch_end=pace.after_update)],
    }
    Trainer(**settings).fit(module, datamodule=photos)
    module.to(where).eval()
    module.on_validation_start()  # where EfficientAD measures the maps of the held-out photos
    facts |= {
        "train_minutes": (time.monotonic() - start) / 60,
        "updates": pace.updates,
        "epochs": pace.updates / batches,
        "updates_of_a_whole_course": pace.course,
        "versions": {
            "blemish": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
    }
    return Trained(module.model, transform, where), facts


class Trained:
    """A trained network that judges one photo at a time."""

    def __init__(self, network: nn.Module, transform: Any, where: torch.device) -> None:
        self.network, self.transform, self.where = network, transform, where

    @torch.inference_mode()
    def __call__(self, photo: npt.NDArray[np.uint8]) -> Judged:
        """Return score and map of a photo, uint8 RGB (H, W, 3)."""
        picture = self.transform(_tensor(photo))[None].to(self.where)
        self._wait()
        start = time.monotonic()
        found = self.network(picture)
        self._wait()
        seconds = time.monotonic() - start
        small = found.anomaly_map.float().reshape(1, 1, *found.anomaly_map.shape[-2:])
        # Antialiasing matters for photos smaller than the network's input only.
        values = nn.functional.interpolate(small, photo.shape[:2], mode="bilinear", antialias=True)
        return Judged(found.pred_score.item(), values[0, 0].cpu().numpy(), seconds)

    def _wait(self) -> None:
        if self.where.type == "cuda":
            torch.cuda.synchronize(self.where)


class Pace:
    """Ends training with its budget, and lets learning rates fall as they would over a whole course.

        share = max(time spent / budget, updates / updates of the whole course)

    by_updates: the schedules count updates, not epochs.
    """

    def __init__(self, start: float, seconds: float, *, by_updates: bool) -> None:
        self.start, self.seconds, self.by_updates = start, seconds, by_updates
        self.updates, self.course, self.share, self.began = 0, 0, 0.0, start
        self.schedules: list[Any] = []

    def begin(self, trainer: Any, _module: Any) -> None:
        """Take the schedules over from the trainer."""
        self.began = time.monotonic()
        self.schedules = [entry.scheduler for entry in trainer.strategy.lr_scheduler_configs]
        trainer.strategy.lr_scheduler_configs = []
        self.course = trainer.max_epochs * trainer.num_training_batches

    def after_update(self, trainer: Any, module: Any, *_: Any) -> None:
        """Follow the clock; stop when it leaves no room for another update."""
        self.updates += 1
        now = time.monotonic()
        share = min(1.0, max((now - self.start) / self.seconds, self.updates / self.course))
        if int(10 * share) > int(10 * self.share):
            logger.info("%d updates, %.0f %% done", self.updates, 100 * share)
        self.share = share
        ticks = self.course if self.by_updates else trainer.max_epochs
        for schedule in self.schedules:
            while schedule.last_epoch < int(ticks * self.share):
                schedule.step()
        # DSR learns to enlarge its maps in the last part of its course, which it counts in epochs.
        if self.share >= getattr(module, "upsampling_train_ratio", math.inf):
            module.second_phase = min(module.second_phase, trainer.current_epoch)
        one = (now - self.began) / self.updates
        trainer.should_stop |= now + one > self.start + self.seconds


def build(peer: Peer, size: int, weights: Path | None, pictures: Path | None) -> tuple[Any, Any]:
    """Return anomalib's module with its pretrained weights, and what makes a photo its input.

    Raises:
        ArtifactError: the weights cannot be read, or are those of another network.
    """
    import anomalib.models
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    kind = getattr(anomalib.models, peer.model)
    arguments = dict(peer.arguments)
    if pictures is not None and peer.pictures is not None:
        arguments[peer.pictures_argument] = pictures
    if peer.mean_std is None:
        before = kind.configure_pre_processor((size, size))
    else:
        mean, std = ([value] * 3 for value in peer.mean_std)
        before = PreProcessor(Compose([Resize((size, size), antialias=True), Normalize(mean, std)]))
    try:
        with _backbones_from(_tensors(peer, weights)):
            module = kind(
                **arguments,
                pre_processor=before,
                post_processor=False,
                evaluator=False,
                visualizer=False,
            )
        if peer.model == "EfficientAd":
            module.model.teacher.load_state_dict(_tensors(peer, weights))
            module.prepare_pretrained_model = lambda: None
        if peer.model == "Dsr":
            module.model.discrete_latent_model.load_state_dict(_tensors(peer, weights))
            module.prepare_pretrained_model = lambda: weights
    except (RuntimeError, ValueError, OSError, pickle.UnpicklingError) as error:
        if weights is None or peer.weights is None:
            raise
        raise ArtifactError(
            f"{weights} does not hold {peer.weights.what}: {str(error)[:200]}",
            hint=f"fetch {peer.weights.source}",
        ) from error
    # The photos come transformed: what learns from a loader of its own would miss it otherwise.
    module.pre_processor = None
    return module, before.transform


def _tensors(peer: Peer, weights: Path | None) -> dict[str, Tensor]:
    """Return the pretrained tensors by name; none for a model that has none."""
    if weights is not None:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        return dict(torch.load(weights, map_location="cpu", weights_only=True))
    backbone = peer.arguments.get("backbone")
    return {} if backbone is None else _lite_tensors(backbone)


def _lite_tensors(backbone: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of EfficientNet-Lite0 from the package index, with timm's names.

    The package names them after another implementation (`_blocks.1._expand_conv.weight` for timm's
    `blocks.1.0.conv_pw.weight`), but both list the same tensors in the order of the forward pass.
    """
    import timm

    names = timm.create_model(backbone, pretrained=False).state_dict()
    found = torch.load(weights_path(), map_location="cpu", weights_only=True)
    return dict(zip(names, found.values(), strict=True))


@contextmanager
def _backbones_from(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let every backbone that is asked for with pretrained weights have these instead of a download."""
    import timm
    from torchvision.models import WeightsEnum

    create = timm.create_model

    def from_tensors(*names: Any, pretrained: bool = False, **settings: Any) -> Any:
        if pretrained:
            settings["pretrained_cfg_overlay"] = {"state_dict": dict(tensors)}
        return create(*names, pretrained=pretrained, **settings)

    with (
        mock.patch.object(timm, "create_model", from_tensors),
        mock.patch.object(WeightsEnum, "get_state_dict", return_value=dict(tensors)),
    ):
        yield


def _data_module(learned: Any, held: Any, batch: int) -> Any:
    """Return Lightning's module of two lists of good photos, float32 (3, size, size) each."""
    from anomalib.data import ImageBatch
    from lightning.pytorch import LightningDataModule
    from torch.utils.data import DataLoader

    def together(images: list[Tensor]) -> Any:
        stacked = torch.stack(images)
        count, _, height, width = stacked.shape
        good = torch.zeros(count, dtype=torch.int64)
        return ImageBatch(image=stacked, gt_label=good, gt_mask=torch.zeros(count, height, width))

    photos: Any = LightningDataModule()
    photos.train_batch_size = batch
    photos.train_dataloader = lambda: DataLoader(learned, batch, shuffle=True, collate_fn=together)
    photos.val_dataloader = lambda: DataLoader(held, batch, collate_fn=together)
    return photos


def _pick_coreset(module: Any, deadline: float) -> dict[str, int]:
    """Fill PatchCore's memory with anomalib's coreset, or with what the deadline leaves time to pick.

    The selection is greedy, so what was picked until then is the coreset of that smaller size.
    Returns how many patches there were, how many were wanted and how many were picked.
    """
    from anomalib.models.components import KCenterGreedy

    def update_distances(cluster_center: Tensor) -> None:
        picked.append(cluster_center)
        if time.monotonic() > deadline:
            raise TimeoutError
        # anomalib's formula makes a copy of all features for each pick.
        new = torch.cdist(sampler.features, sampler.features[cluster_center][None])
        old = sampler.min_distances
        sampler.min_distances = new if old is None else torch.minimum(old, new)

    picked: list[Tensor] = []
    patches = torch.vstack(module.model.embedding_store)
    module.model.embedding_store.clear()
    sampler = KCenterGreedy(patches, module.coreset_sampling_ratio)
    sampler.update_distances = update_distances
    try:
        module.model.memory_bank = sampler.sample_coreset()
    except TimeoutError:
        module.model.memory_bank = patches[torch.stack(picked)]
    return {
        "patches": len(patches),
        "coreset_wanted": sampler.coreset_size,
        "coreset": len(module.model.memory_bank),
    }


def _read(records: Sequence[Record], transform: Any) -> list[Tensor]:
    """Return photos as the network takes them, float32 (3, size, size)."""
    return [transform(_tensor(read_image(record.image))) for record in records]


def _tensor(photo: npt.NDArray[np.uint8]) -> Tensor:
    """Return a photo, uint8 (H, W, 3), as float32 (3, H, W) in [0, 1]."""
    return torch.tensor(photo).permute(2, 0, 1).float() / 255
