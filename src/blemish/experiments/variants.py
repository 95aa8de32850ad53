"""The papers' ablations, as overrides of settings: what changes from row to row, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Overrides = Mapping[str, Any]

RECONSTRUCTIONS: dict[str, Overrides] = {
    "autoencoder": {"diffusion": {"reconstruction": "autoencoder"}},
    "iterative": {"diffusion": {"reconstruction": "iterative"}},
    "one_step": {"diffusion": {"reconstruction": "one_step"}},
    "norm_guided": {"diffusion": {"reconstruction": "norm_guided"}},
}
"""DiffusionAD, Table 3: how the normal look is found."""


def _noise(reconstruction: str, fine: int, anchor: int) -> Overrides:
    """Return settings with these steps; what is below `split` counts as small noise."""
    split = min(max(fine + 1, 300), anchor)
    steps = {"fine_step": fine, "anchor_step": anchor, "split": split}
    return {"diffusion": {"reconstruction": reconstruction, **steps}}


_ONE_STEP = {f"one step, t = {t}": t for t in (100, 200, 400, 600, 800)}
_ITERATIVE = {f"iterative, t = {t}": t for t in (300, 400, 600, 800)}
_GUIDED = {
    f"norm-guided, t = {fine} and {anchor}": (fine, anchor)
    for fine, anchor in ((100, 400), (200, 400), (200, 600), (200, 800))
}

NOISE_SCALES: dict[str, Overrides] = {
    **{row: _noise("one_step", t, max(t + 1, 400)) for row, t in _ONE_STEP.items()},
    **{row: _noise("iterative", 200, t) for row, t in _ITERATIVE.items()},
    **{row: _noise("norm_guided", *steps) for row, steps in _GUIDED.items()},
}
"""DiffusionAD, Figures 7 and 8: how noisy a photo is when its normal look is found."""

_WEIGHTS = {f"guidance {weight:g}": weight for weight in (0.0, 0.5, 1.0, 2.0)}
GUIDANCES: dict[str, Overrides] = {
    row: {"diffusion": {"guidance": weight}} for row, weight in _WEIGHTS.items()
}
"""DiffusionAD, Figure 9: the weight of the anchor."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure (`key`, `y` in words) over what is changed (`x`); series: rows with their x, by name."""

    key: str
    x: str
    y: str
    series: Mapping[str, Mapping[str, float]]


CURVES = {
    "noise": Curve(
        "image_auroc",
        "step t of the noise",
        "image AUROC",
        {"one step": _ONE_STEP, "iterative": _ITERATIVE},
    ),
    "guidance": Curve("pixel_ap", "weight of the anchor", "pixel AP", {"norm-guided": _WEIGHTS}),
}

SHOWN = {
    "noise": (
        *(f"one step, t = {t}" for t in (200, 400, 600)),
        "iterative, t = 400",
        "norm-guided, t = 200 and 400",
    )
}
"""Rows whose normal looks are shown, where not all are: those of Figure 7."""

PRINTED = {
    "reconstruction": "diffusionad-3",
    "parts": "anomalydiffusion-6",
    "shares": "anomalydiffusion-7",
    "tokens": "anomalydiffusion-8",
    "editing": "anomalydiffusion-9",
}
"""The papers' tables of ablations."""

DETECTION = {
    "reconstruction": RECONSTRUCTIONS,
    "noise": NOISE_SCALES,
    "guidance": GUIDANCES,
}

_NETWORK: Overrides = {
    "painting": {"painter": "network", "transplants": 0.0, "reweighting": "off"},
    "quality": {"attempts": 1},
}


def _network(learning: Overrides, painting: Overrides | None = None) -> Overrides:
    merged = {"learning": dict(learning), **{k: dict(v) for k, v in _NETWORK.items()}}
    merged["painting"] = {**merged["painting"], **(painting or {})}
    return merged


_WEIGHTED = {"reweighting": "tempered", "form": "probs"}

PARTS: dict[str, Overrides] = {
    "none": _network({"spatial": False, "masked": False}),
    "spatial": _network({"masked": False}),
    "spatial + masked": _network({}),
    "masked + re-weighting": _network({"spatial": False}, _WEIGHTED),
    "full": _network({}, _WEIGHTED),
    "full, network frozen": _network({"network": False}, _WEIGHTED),
}
"""AnomalyDiffusion, Table 6: spatial embedding, masked loss, re-weighting; and what adapting adds."""

TOKENS: dict[str, Overrides] = {
    f"{spatial} + {anomaly} tokens": _network(
        {"spatial_tokens": spatial, "anomaly_tokens": anomaly}, _WEIGHTED
    )
    for spatial, anomaly in ((4, 8), (4, 16), (8, 8), (8, 16))
}
"""AnomalyDiffusion, Table 8: how many tokens tell the place and the look."""

EDITING: dict[str, Overrides] = {
    "textual inversion + Prompt-to-Prompt": _network(
        {"spatial": False, "masked": False}, {"reweighting": "prompt_to_prompt"}
    ),
    "full": PARTS["full"],
}
"""AnomalyDiffusion, Table 9: the mask in the place of the attention, instead of all parts."""

SHARES = {f"{part} %": part / 100 for part in (10, 20, 30, 40, 50)}
"""AnomalyDiffusion, Table 7: the share of a type's photos that is learned from."""

GENERATION: dict[str, Mapping[str, Overrides]] = {
    "parts": PARTS,
    "tokens": TOKENS,
    "editing": EDITING,
    "shares": {share: {} for share in SHARES},
}
