"""How much memory a pretrained backbone takes, counted without opening its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blemish.backbones.layouts import build_networks


class Needs(NamedTuple):
    """Bytes. weights: of all networks; step: what a training step keeps for its backward pass."""

    weights: int
    step: int


def estimate(folder: Path, *, batch: int, dtype: torch.dtype) -> Needs:
    """Return what a pretrained folder needs to learn tokens from `batch` pictures at once.

    Counted, not modelled: the networks are built without weights and run without numbers. `step` is for
    attention that keeps its map, which fused kernels need not; scratch space, the learned tensors and
    their optimiser come on top.

    Raises:
        ArtifactError: the folder has no known layout, or the settings of a network are missing.
        DependencyError: transformers is not installed.
    """
    autoencoder, unet, encoder = (nn.Module.to(n, dtype) for n in build_networks(folder))
    weights = (w for network in (autoencoder, unet, encoder) for w in network.parameters())
    return Needs(
        sum(w.numel() * w.element_size() for w in weights),
        kept_for_backward(unet, encoder, batch),
    )


def kept_for_backward(unet: Any, encoder: Any, batch: int) -> int:
    """Return the bytes that autograd keeps in one pass from the words to the noise, weights left out.

    unet, encoder: diffusers' and transformers' networks, on any device, the meta device too.
    """
    like = {"dtype": unet.dtype, "device": unet.device}
    side, positions = unet.config.sample_size, encoder.config.max_position_embeddings
    noisy = torch.zeros(batch, unet.config.in_channels, side, side, **like)
    step = torch.zeros(batch, dtype=torch.int64, device=unet.device)
    words = torch.zeros(batch, positions, dtype=torch.int64, device=unet.device)
    for network in (unet, encoder):
        network.eval().requires_grad_(False)
    encoder.get_input_embeddings().requires_grad_(True)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        context = encoder(words, return_dict=True).last_hidden_state
        noise = unet(noisy, step, encoder_hidden_states=context).sample
    weights = [w for network in (unet, encoder) for w in network.state_dict(keep_vars=True).values()]
    for weight in weights:
        kept.pop(weight.untyped_storage()._cdata, None)
    del noise  # until here it kept the graph, and so each storage at an address of its own
    return sum(kept.values())
