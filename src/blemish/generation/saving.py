"""A generator on disk: one folder with all that it needs but the backbone's own weights."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blemish import artifacts, hardware, runtime
from blemish.backbones import LatentBackbone, open_backbone
from blemish.backbones.embedded import Embedded, PixelCodec
from blemish.config import validated
from blemish.errors import ArtifactError, BlemishError
from blemish.generation.embedding import Embedding
from blemish.generation.exemplars import Exemplar
from blemish.generation.masks import Template
from blemish.generation.normality import Normality
from blemish.generation.painter import Painter, refuse_unfit
from blemish.generation.repertoire import Repertoire
from blemish.generator_config import GeneratorConfig

KIND = "generator"
Parts = tuple[GeneratorConfig, Repertoire, Painter, str, dict[str, Any]]


def save_parts(
    folder: Path,
    config: GeneratorConfig,
    repertoire: Repertoire,
    backbone: PixelCodec | LatentBackbone,
    embedding: Embedding | None,
    facts: Mapping[str, Any],
) -> None:
    """Write a generator: real defects, what is normal, tokens, and the network where it has adapted.

    The network is kept in half precision. A pretrained backbone is named, not copied.

    Raises:
        ArtifactError: the folder exists and is not a saved model.
    """
    tensors: dict[str, Tensor] = {}
    shown: list[dict[str, Any]] = []
    for label, some in repertoire.exemplars.items():
        for one in some:
            name, template = f"exemplar.{len(shown)}", one.template
            tensors[f"{name}.image"] = torch.from_numpy(np.array(one.image))
            tensors[f"{name}.mask"] = torch.from_numpy(np.array(template.mask))
            tensors[f"{name}.product"] = torch.from_numpy(np.array(template.product))
            shown.append({"type": label, "mask": template.source, "sha256": template.sha256})
    card: dict[str, Any] = {
        "kind": KIND,
        "config": config.model_dump(mode="json"),
        "exemplars": shown,
        "facts": dict(facts),
    }
    if isinstance(backbone, PixelCodec):
        card["light"] = [float(backbone.level), float(backbone.spread)]
    if embedding is not None:
        card["embedding"] = {"types": list(embedding.types), "shape": embedding.shape}
        tensors |= {f"embedding.{name}": value for name, value in embedding.state_dict().items()}
    if repertoire.normality is not None:
        normal = repertoire.normality.state_dict()
        tensors |= {f"normality.{name}": value for name, value in normal.items()}
    if isinstance(backbone, Embedded) and config.learning.network:
        for name, value in backbone.network.state_dict().items():
            tensors[f"network.{name}"] = value.half()
    artifacts.save_artifact(folder, tensors, card)


def load_parts(folder: Path, device: str, precision: str) -> Parts:
    """Return what a `Generator` is made of.

    Raises:
        ArtifactError: the folder is no generator, is damaged, or was written by a newer version.
        DependencyError: its backbone is not installed.
    """
    with _card_of(folder) as (tensors, card):
        config = validated(GeneratorConfig, card["config"])
        repertoire = _repertoire(tensors, card, config)
        where = hardware.device(device)
        backbone = _backbone(config, tensors, card, where, precision)
        embedding = _embedding(tensors, card)
        facts = dict(card["facts"])
    painter = Painter(
        backbone,
        None if embedding is None else embedding.to(where),
        config.painting,
        facts.get("unfilled", ()),
    )
    return config, repertoire, painter, _model(card), facts


def load_repertoire(folder: Path) -> Repertoire:
    """Return the real defects that a saved generator has learned; its backbone need not be there.

    Raises:
        ArtifactError: the folder is no generator, is damaged, or was written by a newer version.
    """
    with _card_of(folder) as (tensors, card):
        return _repertoire(tensors, card, validated(GeneratorConfig, card["config"]))


@contextlib.contextmanager
def _card_of(folder: Path) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """Give the block a generator's tensors and card; what it does not find in them is their fault."""
    hint = "give the folder that `blemish learn` wrote"
    tensors, card = artifacts.load_kind(folder, KIND, "a", hint)
    try:
        yield tensors, card
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, BlemishError):
            raise
        raise ArtifactError(f"{folder} does not fit its own card: {error}") from error


def _repertoire(
    tensors: Mapping[str, Tensor], card: Mapping[str, Any], config: GeneratorConfig
) -> Repertoire:
    turns = config.product.turns
    if turns == "auto" or config.product.kind == "auto":
        raise ValueError("product.kind and product.turns are not decided")
    # Both are of the photos in the order that learning read them, the exemplars type by type.
    photos = sorted(dict(card["facts"]).get("photos", ()), key=itemgetter("type"))
    exemplars: dict[str, list[Exemplar]] = {}
    for index, entry in enumerate(card["exemplars"]):
        image, mask, product = (
            tensors[f"exemplar.{index}.{part}"].numpy() for part in ("image", "mask", "product")
        )
        template, label = Template(mask, product, entry["mask"], entry["sha256"]), entry["type"]
        sha256 = photos[index]["sha256"] if index < len(photos) else ""
        exemplars.setdefault(label, []).append(Exemplar(image, template, label, sha256))
    normality, known = None, artifacts.part(tensors, "normality")
    if known:
        normality = Normality()
        normality.load_state_dict(known)
    elif dict(card["facts"]).get("knows_good", True):
        runtime.logger.warning(
            "this generator was learned by an older version and does not know good photos: what would "
            "pass for a good part passes its gate; learn again"
        )
    return Repertoire(exemplars, turns, normality=normality)


def _model(card: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that was learned: what is beside the weights decides a painting too."""
    settings, facts = card["config"], card["facts"]
    parts = [
        card["weights_sha256"],
        card["exemplars"],
        card.get("light"),
        settings["product"],
        settings["learning"]["backbone"],
        facts.get("unfilled"),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def open_painting_backbone(
    config: GeneratorConfig, where: torch.device, precision: str = "auto"
) -> PixelCodec | LatentBackbone:
    """Return what the settings paint with: the codec alone where patches do all the work."""
    if config.painting.painter == "patches":
        return PixelCodec().to(where)
    chosen = config.learning.precision if precision == "auto" else precision
    dtype = hardware.precision(chosen, where)
    backbone = open_backbone(config.learning.backbone, device=where, dtype=dtype)
    refuse_unfit(config.painting.painter, backbone)
    return backbone


def _backbone(
    config: GeneratorConfig,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    where: torch.device,
    precision: str,
) -> PixelCodec | LatentBackbone:
    backbone = open_painting_backbone(config, where, precision)
    if isinstance(backbone, PixelCodec):
        level, spread = card["light"]
        backbone.level.fill_(level)
        backbone.spread.fill_(spread)
    if isinstance(backbone, Embedded):
        network = artifacts.part(tensors, "network")
        if network:
            backbone.network.load_state_dict({name: w.float() for name, w in network.items()})
    return backbone


def _embedding(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Embedding | None:
    if "embedding" not in card:
        return None
    embedding = Embedding(card["embedding"]["types"], **card["embedding"]["shape"])
    embedding.load_state_dict(artifacts.part(tensors, "embedding"))
    return embedding.eval()
