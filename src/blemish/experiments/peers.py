"""Train one of anomalib's detectors within a wall-clock budget; write its score maps.

    python -m blemish.experiments.peers MODEL DATA OUT [--minutes 30] [--seed 0] [--size 256]
        [--weights FILE] [--pictures DIR] [--category NAME] [--device auto]

It runs in an environment of its own (`make peers`) and downloads nothing. Networks, synthetic defects,
losses, optimisers and image scores are anomalib's. Only good training photos are read while it learns:
no early stopping and no choice of weights on test photos.

    OUT/maps/, OUT/scores.jsonl   what `score_maps` reads
    OUT/peer.json                 how it was made, how long it took; written last
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from blemish.data import Dataset, read_benchmark, read_dataset, read_image
from blemish.errors import (
    ArtifactError,
    BlemishError,
    ConfigError,
    DatasetError,
    DependencyError,
    ImageError,
)
from blemish.experiments.peer_training import Judged, train
from blemish.experiments.score_maps import PEER, SCORES, map_path, refuse_shared_maps
from blemish.hardware import device
from blemish.records import Record
from blemish.runtime import configure_logging, file_sha256, logger, peak_memory, write_json


class Need(NamedTuple):
    """Something that anomalib would download: what it is, and where it comes from."""

    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A model of anomalib and the course that its authors train it for.

    model: its class. epochs or updates: the whole course; the budget may end it earlier. pictures: of
    the argument `pictures_argument`. arguments: where they differ from anomalib's own. mean_std: of the
    network's input, where they are not ImageNet's.
    """

    model: str
    batch: int
    epochs: int = 0
    updates: int = 0
    weights: Need | None = None
    pictures: Need | None = None
    pictures_argument: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mean_std: tuple[float, float] | None = None


_TORCHVISION = "https://download.pytorch.org/models/"
_RELEASES = "https://github.com/open-edge-platform/anomalib/releases/download/"
_RESNET18 = Need("ImageNet weights of resnet18", f"{_TORCHVISION}resnet18-f37072fd.pth")
_WIDE = Need("ImageNet weights of wide_resnet50_2", f"{_TORCHVISION}wide_resnet50_2-95faca4d.pth")
_TEACHER = Need(
    "the weights of its teacher, pretrained_teacher_small.pth",
    f"{_RELEASES}efficientad_pretrained_weights/efficientad_pretrained_weights.zip",
)
_CODEBOOK = Need(
    "the weights of its autoencoder, vq_model_pretrained_128_4096.pckl",
    f"{_RELEASES}dsr_pretrained_weights/dsr_vq_model_pretrained.zip",
)
_TEXTURES = Need(
    "textures for its defects, such as DTD",
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
)
_IMAGENETTE = Need(
    "pictures of other things in folders of classes, such as the train folder of ImageNette",
    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",
)

# Weights from the package index. Strides 8 and 16 are the places of layer2 and layer3 in a ResNet. They
# were trained with TensorFlow: only timm's `tf_` variant pads as it does.
_LITE = {"backbone": "tf_efficientnet_lite0", "layers": ("blocks.2", "blocks.4")}
_LITE_ALL = {**_LITE, "layers": ("blocks.1", "blocks.2", "blocks.4")}
_HALVES = (0.5, 0.5)

PEERS: Mapping[str, Peer] = {
    "cfa": Peer("Cfa", 4, epochs=30, weights=_WIDE),
    "cflow": Peer("Cflow", 16, epochs=50, weights=_WIDE),
    "cflow-lite": Peer("Cflow", 16, epochs=50, arguments=_LITE_ALL, mean_std=_HALVES),
    "draem": Peer("Draem", 8, epochs=700, pictures=_TEXTURES, pictures_argument="dtd_dir"),
    "draem-sspcab": Peer(
        "Draem",
        8,
        epochs=700,
        pictures=_TEXTURES,
        pictures_argument="dtd_dir",
        arguments={"enable_sspcab": True},
    ),
    "dsr": Peer("Dsr", 8, epochs=700, weights=_CODEBOOK),
    "efficientad": Peer(
        "EfficientAd",
        1,
        updates=70_000,
        weights=_TEACHER,
        pictures=_IMAGENETTE,
        pictures_argument="imagenet_dir",
    ),
    "fastflow": Peer("Fastflow", 32, epochs=500, weights=_RESNET18),
    "padim": Peer("Padim", 32, epochs=1, weights=_RESNET18),
    "padim-lite": Peer(
        "Padim", 32, epochs=1, arguments={**_LITE_ALL, "n_features": 100}, mean_std=_HALVES
    ),
    "patchcore": Peer("Patchcore", 32, epochs=1, weights=_WIDE),
    "patchcore-lite": Peer(
        "Patchcore", 16, epochs=1, arguments={**_LITE, "coreset_sampling_ratio": 0.01}, mean_std=_HALVES
    ),
    "reverse-distillation": Peer("ReverseDistillation", 32, epochs=200, weights=_WIDE),
    "stfpm": Peer("Stfpm", 32, epochs=100, weights=_RESNET18),
    "stfpm-lite": Peer("Stfpm", 32, epochs=100, arguments=_LITE_ALL, mean_std=_HALVES),
    "supersimplenet": Peer("Supersimplenet", 32, epochs=300, weights=_WIDE),
    "supersimplenet-lite": Peer("Supersimplenet", 32, epochs=300, arguments=_LITE, mean_std=_HALVES),
}
"""By their names on the command line; batch and length are those of anomalib's configurations."""


def check_needs(name: str, weights: Path | None, pictures: Path | None) -> None:
    """Stop where a model lacks what it cannot make by itself.

    Raises:
        DependencyError: a file or folder was not given, or is not there.
        ConfigError: one was given that it has no use for.
    """
    peer = PEERS[name]
    for need, given, flag, there in (
        (peer.weights, weights, "--weights FILE", Path.is_file),
        (peer.pictures, pictures, "--pictures DIR", Path.is_dir),
    ):
        if need is None and given is not None:
            raise ConfigError(f"{name} has no use for {given}", hint=f"leave {flag} out")
        if need is not None and (given is None or not there(given)):
            found = "none were given" if given is None else f"there is nothing at {given}"
            raise DependencyError(
                f"{name} needs {need.what}; {found}",
                hint=f"fetch {need.source}, unpack it if it is an archive, and give {flag}",
            )


def write_maps(
    detector: Callable[[npt.NDArray[np.uint8]], Judged],
    records: Sequence[Record],
    folder: Path,
    root: Path,
) -> dict[str, float]:
    """Return photos a second, in the `loop` from file to file and in the `network` alone.

    A map of each photo and scores.jsonl are written into the folder.

    Raises:
        DatasetError: there are no photos, or two share a map.
        ImageError: a photo cannot be read, or the detector's scores are not finite.
    """
    refuse_shared_maps(records)
    detector(read_image(records[0].image))  # the first call allocates and tunes
    network, lines, start = 0.0, [], time.monotonic()
    for record in records:
        score, values, seconds = detector(read_image(record.image))
        if not (math.isfinite(score) and np.isfinite(values).all()):
            raise ImageError(
                f"{record.image}: the detector's scores are not finite",
                hint="its training diverged: try another seed",
            )
        path = map_path(folder, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
        name = record.image.relative_to(root).as_posix()
        lines.append(json.dumps({"image": name, "label": record.label, "score": score}) + "\n")
        network += seconds
    (folder / SCORES).write_text("".join(lines), encoding="utf-8")
    count = len(records)
    return {"loop": count / (time.monotonic() - start), "network": count / network}


def run(options: argparse.Namespace) -> None:
    """Train, write the maps of the test photos, and then how it was done.

    Raises:
        BlemishError: something that the user can put right.
    """
    check_needs(options.model, options.weights, options.pictures)
    if options.out.exists():
        raise ArtifactError(
            f"{options.out} exists already", hint="name a new folder, so that no old map is scored"
        )
    dataset = _dataset(options.data, options.category)
    refuse_shared_maps(dataset.test)
    where = device(options.device)
    detector, facts = train(
        PEERS[options.model],
        dataset.train,
        seconds=options.minutes * 60,
        seed=options.seed,
        size=options.size,
        weights=options.weights,
        pictures=options.pictures,
        where=where,
    )
    logger.info("trained for %.1f minutes; scoring", facts["train_minutes"])
    rates = write_maps(detector, dataset.test, options.out, dataset.root)
    card = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else 0
    weights = options.weights and {"name": options.weights.name, "sha256": file_sha256(options.weights)}
    facts = {
        "model": options.model,
        "seed": options.seed,
        "size": options.size,
        "budget_minutes": options.minutes,
        **facts,
        "train_photos": len(dataset.train),
        "test_photos": len(dataset.test),
        "photos_per_second": rates,
        "peak_memory_mib": {"process": peak_memory(), "card": card / 2**20},
        "weights": weights,
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        "threads": torch.get_num_threads(),
    }
    write_json(options.out / PEER, facts)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    root.add_argument("model", choices=sorted(PEERS))
    root.add_argument("data", type=Path, help="a dataset, or a benchmark of which --category is one")
    root.add_argument("out", type=Path, help="a new folder")
    root.add_argument("--minutes", type=_minutes, default=30.0, help="training time (30)")
    root.add_argument("--seed", type=int, default=0)
    root.add_argument("--size", type=int, default=256, help="network input, pixels (256)")
    root.add_argument("--weights", type=Path, metavar="FILE", help="pretrained, if it needs any")
    root.add_argument("--pictures", type=Path, metavar="DIR", help="pictures, if it needs any")
    root.add_argument("--category", help="of a benchmark (VisA, DAGM, several of MVTec AD)")
    root.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, 2 for what a user can put right."""
    options = parser().parse_args(arguments)
    configure_logging()
    try:
        run(options)
    except BlemishError as error:
        logger.error("error: %s", error)
        return 2
    return 0


def _dataset(data: Path, category: str | None) -> Dataset:
    """Return a dataset that has good photos to learn from."""
    if category is None:
        dataset = read_dataset(data)
    else:
        benchmark = read_benchmark(data)
        if category not in benchmark:
            raise DatasetError(
                f"{data} has no category {category!r}", hint=f"choose from: {', '.join(benchmark)}"
            )
        dataset = benchmark[category]
    if not dataset.train:
        raise DatasetError(f"{dataset.root} has no good training photos", hint="put some in train/good")
    return dataset


def _minutes(text: str) -> float:
    """Return a positive number of minutes."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number of minutes, got {text!r}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
