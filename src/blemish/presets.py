"""The three presets, as what they change in the defaults of `config`."""

from __future__ import annotations

from typing import Any

_SYNTHESIS = {"monochrome": "auto", "stroke_share": 0.3, "shading_share": 0.3, "missing_share": 0.3}

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"preset": "paper"},
    "base": {
        "preset": "base",
        "data": {"framing": "auto", "turns": "auto", "light": 0.07},
        "diffusion": {"prediction": "clean"},
        "denoiser": {"width": 64, "patch": 2, "multipliers": [1, 2, 2, 4, 4]},
        "segmenter": {"kind": "features", "width": 64},
        "synthesis": _SYNTHESIS,
        "training": {"denoiser_lr": 3e-4, "segmenter_lr": 3e-4, "warmup": 200, "decay": 0.5},
    },
    "fast": {
        "preset": "fast",
        "data": {"framing": "auto", "turns": "auto", "light": 0.07},
        "diffusion": {"prediction": "clean"},
        "denoiser": {
            "width": 64,
            "patch": 8,
            "multipliers": [1, 2],
            "blocks": 1,
            "attention": [],
            "groups": 8,
            "resampling_blocks": False,
        },
        "segmenter": {"kind": "features", "width": 32},
        "synthesis": _SYNTHESIS,
        "training": {
            "normals": 4,
            "defects": 4,
            "denoiser_lr": 5e-4,
            "segmenter_lr": 5e-4,
            "weight_decay": 1e-4,
            "warmup": 50,
            "lr_iterations": 480,
            "decay": 0.5,
            "ema": 0.998,
            "detach": True,
        },
    },
}
