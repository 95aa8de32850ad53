"""From a few photos of defects to a generator."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from blemish import artifacts, hardware, runtime
from blemish.backbones import LatentBackbone, find
from blemish.backbones.embedded import Embedded, PixelCodec
from blemish.config import read_yaml, validated, write_yaml
from blemish.data import (
    Dataset,
    first_third,
    natural_key,
    read_sample,
    refuse_bad_name,
    refuse_inside,
)
from blemish.errors import ArtifactError, ConfigError, DatasetError
from blemish.generation.augmentation import Augmentation
from blemish.generation.crops import window_around
from blemish.generation.embedding import Embedding
from blemish.generation.exemplars import Exemplar, as_picture
from blemish.generation.generator import Generator
from blemish.generation.goods import Goods, a_few, product_in, settled
from blemish.generation.inversion import Inversion, InversionSettings
from blemish.generation.masks import Template
from blemish.generation.normality import Normality
from blemish.generation.painter import refuse_inert
from blemish.generation.prior import READERS, described
from blemish.generation.repertoire import Repertoire
from blemish.generation.saving import open_painting_backbone, save_parts
from blemish.generation.views import Subject
from blemish.generation.workers import one_thread
from blemish.generator_config import GeneratorConfig
from blemish.records import Record, Sample
from blemish.training import Plan, Run
from blemish.version import __version__

CONFIG, PHOTOS, GENERATOR = "generator.yaml", "photos.json", "generator"
Shots = int | Literal["third"] | None
_TRIED = 6


def few_shot(dataset: Dataset, shots: Shots = None) -> tuple[Record, ...]:
    """Return the defect photos to learn from, as training records: the lowest names of each type.

    Where the training split has defects, only these count; else those of the test split, which the
    detector must then not be judged by. shots: so many of each type; `third` the first third of each,
    as the paper does; None all of them. Photos without a mask, and generated ones, are left out.

    Raises:
        DatasetError: no photo of a defect has a mask.
    """
    some = dataset.train_defects or dataset.defects
    drawn = [r for r in some if r.mask is not None and not r.synthetic]
    if not drawn:
        where = "among its training photos" if dataset.train_defects else "that is no generated one"
        raise DatasetError(
            f"{dataset.root} has no photo of a defect with a mask {where}",
            hint="draw the masks of a type's photos, or list these in a manifest.jsonl, some with one",
        )
    types = {record.label for record in drawn}
    for label in types:
        refuse_bad_name("label", label)
    others = {r.label for r in dataset.records if not r.is_good and not r.synthetic} - types
    if others:
        runtime.logger.warning(
            "not learned, as no photo %s shows them with a mask: %s",
            "of the training split" if dataset.train_defects else "of the dataset",
            ", ".join(sorted(others, key=natural_key)),
        )
    if shots == "third":
        return first_third(drawn)[0]
    chosen = []
    for label in dataset.defect_types:
        ones = sorted((r for r in drawn if r.label == label), key=lambda r: natural_key(r.image.name))
        chosen += [replace(record, split="train") for record in ones[: shots or len(ones)]]
    return tuple(chosen)


def learn(
    dataset: Dataset,
    config: GeneratorConfig,
    folder: str | os.PathLike[str],
    plan: Plan | None = None,
    *,
    shots: Shots = None,
    device: str = "auto",
    resume: bool = False,
) -> Generator:
    """Return a generator of the dataset's types of defects, saved in `folder/generator`.

    Learns from the defect photos that `few_shot` names and from good training photos; no other photo is
    opened. plan: how long the network learns; a budget of seconds counts from this call. Patches
    alone need no plan: there is nothing to train.

    Raises:
        DatasetError: there is nothing to learn from, or nothing to paint on.
        ArtifactError: the folder holds another run.
        ConfigError: a plan is missing where a network learns.
        DependencyError: the backbone is not installed.
    """
    begun, folder = time.monotonic(), Path(folder)
    if config.painting.painter != "patches" and plan is None:
        raise ConfigError(f"painting.painter={config.painting.painter} learns: give a plan")
    if hardware.processes(cpu=hardware.device(device).type == "cpu").num_processes > 1:
        raise ConfigError(
            "learning from a few photos is the work of one process",
            hint="start `blemish learn` without torchrun; `generate` shares its work",
        )
    records = few_shot(dataset, shots)
    goods = dataset.train
    if not goods:
        raise DatasetError(
            f"{dataset.root} has no good training photo", hint="defects are painted on good photos"
        )
    if not dataset.train_defects:
        runtime.logger.warning(
            "%d photos of the test split are learned from: a detector that learns what is painted of "
            "them must not be judged by them; defects to learn from belong into train/<type>/",
            len(records),
        )
    refuse_inside(dataset, folder)
    samples = [read_sample(record) for record in records]
    config = settled(config, goods)
    where = hardware.device(device)
    backbone = open_painting_backbone(config, where)
    refuse_inert(config.painting, backbone)
    shown = [{"image": r.image.relative_to(dataset.root).as_posix(), **named(r)} for r in records]
    exemplars = _exemplars(samples, config)
    _claim(folder, config, shown, resume=resume)
    with one_thread():  # so that the same patches are remembered on every machine
        normality = Normality.of(goods, Repertoire(exemplars, ()).features)
    if normality is None:
        runtime.logger.warning(
            "all good photos show one part: what would pass for a good part cannot be told from them, "
            "and passes the gate; add photos of other parts"
        )
    repertoire = Repertoire(exemplars, (), normality=normality)
    if isinstance(backbone, PixelCodec):
        some = chain(samples, map(read_sample, a_few(goods)))
        backbone.standardise(as_picture(one.image) for one in some)
    facts: dict[str, Any] = {"blemish": __version__, "photos": shown, "shots": shots}
    facts["knows_good"] = normality is not None
    embedding = None
    if config.painting.painter != "patches":
        assert plan is not None  # noqa: S101 - checked above
        assert not isinstance(backbone, PixelCodec) or isinstance(backbone, Embedded)  # noqa: S101
        embedding = _embedding(config, backbone, samples).to(where)
        left = plan.left(begun)
        run = _Inverting(config, backbone, embedding, samples, resume)
        facts["plan"] = length(plan)
        embedding, facts["defects"] = run("defects", left, folder)
        if config.learning.masks:
            embedding, facts["masks"] = run("masks", left, folder / "masks")
        if config.painting.reweighting == "auto":
            # A draft where the generator will be would be taken for it after a kill.
            with tempfile.TemporaryDirectory(prefix=".draft.", suffix=".tmp", dir=folder) as place:
                draft = Path(place) / GENERATOR
                save_parts(draft, config, repertoire, backbone, embedding, facts)
                judged = Generator.load(draft, device=device)
                facts["unfilled"] = _unfilled(judged, Goods(goods, judged.kind))
    facts["seconds"] = round(time.monotonic() - begun, 1)
    save_parts(folder / GENERATOR, config, repertoire, backbone, embedding, facts)
    return Generator.load(folder / GENERATOR, device=device)


def small_plan(iterations: int | None = None, seconds: float | None = None) -> Plan:
    """Return how the network of an office computer learns: it gets far within minutes, then settles."""
    return Plan(iterations, seconds, validations=6, warmup=20, decay=0.3, ema=0.99)


def length(plan: Plan) -> dict[str, float | None]:
    """Return how long a plan lets the network learn, as a generator's facts tell it."""
    return {"iterations": plan.iterations, "seconds": plan.planned_seconds}


def _unfilled(generator: Generator, goods: Goods) -> list[str]:
    """Return the types whose masks the network leaves emptier than any real defect's is, by half."""
    alone = {"reweighting": "off", "transplants": 0.0}
    plain = generator.with_settings({"painting": alone, "quality": {"attempts": 1}})
    found = []
    for label in generator.types:
        made = [plain.make(goods, label, index) for index in range(_TRIED)]
        fill = np.median([one.verdict.scores.fill for one in made])
        if fill < generator.repertoire.gate(label).least_fill:
            found.append(label)
    return found


def _claim(
    folder: Path, config: GeneratorConfig, photos: Sequence[Mapping[str, str]], *, resume: bool
) -> None:
    """Write, or on resuming check, the settings of the run and the photos that it learns from."""
    path, shown = folder / CONFIG, folder / PHOTOS
    if path.is_file():
        if not resume:
            raise ArtifactError(
                f"{folder} holds a run already", hint="add --resume, or choose another folder"
            )
        if validated(GeneratorConfig, read_yaml(path)) != config:
            raise ArtifactError(
                f"{folder} was started with other settings than these",
                hint=f"compare with {path}, or choose another folder",
            )
        if json.loads(shown.read_text(encoding="utf-8")) != list(photos):
            raise ArtifactError(
                f"{folder} was started with other photos of defects than these",
                hint=f"compare with {shown}, or choose another folder",
            )
        return
    runtime.write_json(shown, photos)
    write_yaml(path, config)


def _exemplars(samples: Sequence[Sample], config: GeneratorConfig) -> dict[str, list[Exemplar]]:
    """Return the real defects by type."""
    kind = config.product.kind
    assert kind != "auto"  # noqa: S101 - settled
    found: dict[str, list[Exemplar]] = {}
    for sample in samples:
        record, mask = sample.record, sample.mask
        assert mask is not None and record.mask is not None  # noqa: S101, PT018 - chosen for their masks
        product = product_in(sample.image, kind)
        if not mask.any():
            raise DatasetError(
                f"the mask {record.mask} of a {record.label} is empty: it marks no defect",
                hint="draw the defect, or leave the photo out",
            )
        template = Template(mask, product, record.mask.name, runtime.file_sha256(record.mask))
        found.setdefault(record.label, []).append(Exemplar(sample.image, template, record.label))
    return found


def _embedding(
    config: GeneratorConfig, backbone: LatentBackbone, samples: Sequence[Sample]
) -> Embedding:
    """Return where learning starts: what the prior reads off the photos, or small noise."""
    learning = config.learning
    types = {sample.record.label for sample in samples}
    shape: dict[str, Any] = {
        "anomaly_tokens": learning.anomaly_tokens,
        "spatial_tokens": learning.spatial_tokens,
        "encoder": learning.encoder,
    }
    word = backbone.word("defect")
    readers = None
    if isinstance(backbone, Embedded):
        path = find(learning.backbone) / READERS
        readers = load_file(path) if path.is_file() else None
    embedding = Embedding.fresh(
        types,
        backbone.token_width,
        seed=learning.seed,
        word=word,
        **({"scale": 1.0} if isinstance(backbone, Embedded) else {}),
        **shape,
    )
    if readers is not None:
        _read(readers, embedding, backbone.size, samples)
    if not learning.spatial:
        embedding.scale.zero_()  # tokens of no size tell no place
    return embedding


def _read(
    readers: Mapping[str, Tensor], embedding: Embedding, size: int, samples: Sequence[Sample]
) -> None:
    """Start from what the prior's readers see: the mean tokens of each type, and their encoder."""
    known = readers["describer.body.5.bias"].numel() // readers["describer.norm.bias"].numel()
    count, width = embedding.anomaly.shape[1:]
    places = readers["spatial.head.bias"].numel() // width
    with torch.no_grad():
        # Readers of another number of tokens have nothing to say: these start from noise.
        for label in embedding.types if count == known else ():
            squares = []
            for sample in samples:
                if sample.record.label == label and sample.mask is not None:
                    window = window_around(sample.mask, size)
                    squares.append((window.cut(sample.image), window.cut_mask(sample.mask)))
            tokens = described(readers, squares, (count, width))
            embedding.anomaly[embedding.index([label])[0]] = tokens.mean(0)
        if embedding.shape["encoder"] == "small" and places == embedding.shape["spatial_tokens"]:
            embedding.encoder.load_state_dict(artifacts.part(readers, "spatial"))


@dataclass(frozen=True)
class _Inverting:
    """Textual inversion of defects or of masks, as the settings say."""

    config: GeneratorConfig
    backbone: LatentBackbone
    embedding: Embedding
    samples: Sequence[Sample]
    resume: bool

    def __call__(self, subject: Subject, plan: Plan, folder: Path) -> tuple[Embedding, dict[str, Any]]:
        """Return the embedding as training left it, and facts; a network adapts in place."""
        learning, turns = self.config.learning, self.config.product.turns
        adapts = learning.network and subject == "defects" and isinstance(self.backbone, Embedded)
        settings = InversionSettings(
            subject=subject,
            masked=learning.masked,
            batch=learning.batch,
            embedding_lr=learning.embedding_lr,
            encoder_lr=learning.encoder_lr,
            network_lr=learning.network_lr if adapts else None,
            augmentation=Augmentation(mirror="mirror" in turns, flip="flip" in turns),
            precision=learning.precision,
            seed=learning.seed,
        )
        folder.mkdir(parents=True, exist_ok=True)
        task = Inversion(self.backbone, self.embedding, self.samples, settings)
        run = Run(task, plan, folder, cpu=self.backbone.kept.device.type == "cpu")
        outcome = run.fit(resume=self.resume)
        state = outcome.state
        facts = {
            "iterations": state.iteration,
            "best_iteration": state.best_iteration,
            "loss": -state.best,
            "stopped": state.stopped,
        }
        return task.settle(outcome.weights), facts


def named(record: Record) -> dict[str, str]:
    """Return what a photo teaches, by content: its type, and the SHA-256 of it and of its mask."""
    assert record.mask is not None  # noqa: S101 - chosen for their masks
    return {
        "type": record.label,
        "sha256": runtime.file_sha256(record.image),
        "mask_sha256": runtime.file_sha256(record.mask),
    }
