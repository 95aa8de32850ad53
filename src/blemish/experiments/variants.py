"""The papers' ablations, as overrides of settings: what changes from row to row, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Overrides = Mapping[str, Any]

RECONSTRUCTIONS: dict[str, Overrides] = {
    "autoencoder": {"diffusion": {"reconstruction": "autoencoder"}},
    "iterative": {"diffusion": {"reconstruction": "iterative"}},
    "one_step": {"diffusion": {"reconstruction": "one_step"}},
    "norm_guided": {"diffusion": {"reconstruction": "norm_guided"}},
}
"""DiffusionAD, Table 3: how the normal look is found."""

NOISE_SCALES: dict[str, Overrides] = {
    f"fine {fine}, anchor {anchor}": {
        "diffusion": {"fine_step": fine, "anchor_step": anchor, "split": max(fine + 1, 300)}
    }
    for fine, anchor in ((100, 400), (200, 400), (299, 400), (200, 300), (200, 600), (200, 800))
}
"""DiffusionAD, Figures 7 and 8: the two noise scales."""

GUIDANCES: dict[str, Overrides] = {
    f"guidance {weight:g}": {"diffusion": {"guidance": weight}} for weight in (0.0, 0.5, 1.0, 2.0)
}
"""DiffusionAD, Figure 9: the weight of the anchor."""

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
