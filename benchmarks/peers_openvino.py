"""How fast anomalib's detectors are in OpenVINO here, measured as `blemish bench` measures ours.

In the environment of `make peers`, with openvino, onnx and onnxscript installed there too. Each model
is trained for some minutes on good photos, exported in float32, and timed with and without bfloat16
inside: one square on all cores, and one square on each core. Prints one JSON line for each.

    .venv-peers/bin/python benchmarks/peers_openvino.py DATA --pictures TEXTURES --minutes 4
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from torch import nn

from blemish.data import read_dataset
from blemish.experiments.peer_training import train
from blemish.experiments.peers import PEERS

SIZE = 256


class Plain(nn.Module):
    """A detector of anomalib that returns two tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return score and map of photos (1, 3, S, S), normalised as the network wants them."""
        found = self.network(photo)
        return found.pred_score, found.anomaly_map


def timed(model: Any, hint: str, inside: str, seconds: float) -> list[float]:
    """Return the time of each photo (LATENCY), or of all divided by their number (THROUGHPUT)."""
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": inside}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    photo = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    for _ in range(3):
        compiled(photo)
    times: list[float] = []
    if hint == "LATENCY":
        while sum(times) < seconds:
            begun = time.perf_counter()
            compiled(photo)
            times.append(time.perf_counter() - begun)
        return times
    queue, count, begun = openvino.AsyncInferQueue(compiled), 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        queue.start_async(photo)
        count += 1
    queue.wait_all()
    return [(time.perf_counter() - begun) / count]


def main() -> None:
    """Train, export, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", default=["patchcore-lite", "draem"])
    parser.add_argument("--pictures", type=Path, help="textures for DRAEM's defects")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each figure")
    options = parser.parse_args()
    records = read_dataset(options.data).train
    for name in options.models:
        trained, facts = train(
            PEERS[name],
            records,
            seconds=60 * options.minutes,
            seed=0,
            size=SIZE,
            weights=None,
            pictures=options.pictures if PEERS[name].pictures else None,
            where=torch.device("cpu"),
        )
        example = torch.zeros(1, 3, SIZE, SIZE)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            path = str(Path(folder) / "model.onnx")
            torch.onnx.export(Plain(trained.network).eval(), (example,), path, dynamo=False)
            model = openvino.Core().read_model(path)
            for inside in ("f32", "bf16"):
                single = timed(model, "LATENCY", inside, options.seconds)
                many = timed(model, "THROUGHPUT", inside, options.seconds)
                p50, p99 = np.percentile(single, [50, 99])
                figures = {
                    "model": name,
                    "inside": inside,
                    "latency_ms": {"p50": round(1000 * p50, 1), "p99": round(1000 * p99, 1)},
                    "images_per_second": round(1 / many[0], 2),
                    "trained_minutes": round(facts["train_minutes"], 1),
                }
                print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
