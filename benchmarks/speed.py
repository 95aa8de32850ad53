"""Time an inspector on this machine: inspection, the joint training step, and the convolution ceiling.

    python benchmarks/speed.py [--preset fast] [--precision auto|bf16|fp32] [--seconds 20]

Prints one JSON line. Weights are fresh: the time does not depend on what they have learned. Photos are
drawn by the toy factory. `outside_share` is the share of an inspection spent outside the networks;
`..._share_of_ceiling` the arithmetic done a second by that of one convolution alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blemish import hardware, runtime
from blemish.config import preset
from blemish.detection import TrainedDetector
from blemish.detection.inspector import Inspector
from blemish.detection.joint import Objective
from blemish.detection.samples import Batch
from blemish.synthesis import draw_good
from blemish.verdicts import Calibration


def paced(work: Callable[[], object], seconds: float) -> tuple[float, list[float]]:
    """Return the median and all times of repeated work, after two warm-up runs."""
    work(), work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), times


def ceiling(dtype: torch.dtype, seconds: float) -> float:
    """Return the TFLOP/s of one 3x3 convolution, 128 to 128 channels on 16 grids of 32 x 32."""
    layer = nn.Conv2d(128, 128, 3, padding=1, dtype=dtype).to(memory_format=torch.channels_last)
    x = torch.randn(16, 128, 32, 32).to(memory_format=torch.channels_last, dtype=dtype)
    with torch.inference_mode():
        median, _ = paced(lambda: layer(x), seconds)
    return 2 * 16 * 128 * 128 * 9 * 32 * 32 / median / 1e12


def work(task: Callable[[], object]) -> int:
    """Return the floating-point operations of matrix products and convolutions in one call."""
    with FlopCounterMode(display=False) as counter:
        task()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    runtime.keep_memory()
    where = hardware.device()
    dtype = hardware.precision(options.precision, where)
    settings = preset(
        options.preset,
        {"data": {"framing": "letterbox"}, "training": {"precision": options.precision}},
    )
    size = settings.data.size
    photos = [draw_good("nut", size, np.random.default_rng(i)) for i in range(16)]
    inspector = Inspector.fresh(settings, np.stack(photos), range(len(photos)))
    detector = TrainedDetector(
        settings,
        inspector.state_dict(),
        Calibration.of([0.5] * 20, 0.05),
        precision=options.precision,
    )

    def inspect(count: int) -> Callable[[], object]:
        return lambda: list(detector.predict_many(photos[:count], batch_size=count, reconstruct=False))

    eight, _ = paced(inspect(8), options.seconds)
    _, singles = paced(inspect(1), options.seconds)
    squares = torch.from_numpy(np.stack(photos[:8])).to(where)
    noise = torch.randn(8, 2, 3, size, size).to(where)
    prepared = hardware.prepared(detector.inspector, dtype)

    def networks() -> None:
        with torch.inference_mode(), hardware.autocast(where, dtype):
            prepared(squares, noise)

    inside, _ = paced(networks, options.seconds)
    training = settings.training
    count = training.normals + training.defects
    normal = torch.arange(count) < training.normals
    batch = Batch(
        photo=torch.from_numpy(np.stack([photos[i % 16] for i in range(count)])),
        mask=torch.zeros(count, 1, size, size, dtype=torch.bool),
        valid=torch.ones(count, 1, size, size, dtype=torch.bool),
        normal=normal,
        family=torch.arange(count) % 16,
        fine=torch.randint(0, settings.diffusion.split, (count,)),
        anchor=torch.randint(settings.diffusion.split, settings.diffusion.steps, (count,)),
        streams=tuple(range(count)),
    )
    objective = Objective(settings, inspector.to(where), dtype).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(p for p in objective.parameters() if p.requires_grad)

    def step() -> None:
        objective(batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    joint, _ = paced(step, options.seconds)
    most = ceiling(dtype, options.seconds / 4)
    figures = {
        "preset": settings.preset,
        "precision": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "inspect_images_per_second_batch_8": 8 / eight,
        "inspect_ms_batch_1_median": 1e3 * float(np.median(singles)),
        "inspect_ms_batch_1_p99": 1e3 * float(np.quantile(singles, 0.99)),
        "outside_share": 1 - inside / eight,
        "inspect_share_of_ceiling": work(networks) / inside / 1e12 / most,
        "train_images_per_second": count / joint,
        "train_batch": count,
        "train_share_of_ceiling": work(step) / joint / 1e12 / most,
        "convolution_tflops": most,
    }
    print(json.dumps({name: _rounded(value) for name, value in figures.items()}))


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
