"""Cross-attention that heeds the learned tokens more where the painting still looks normal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from blemish.errors import ConfigError

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

Form = Literal["logit_add", "logit_mul", "probs"]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    form: Form = "logit_add",
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Return attention whose map is re-weighted (AnomalyDiffusion, Eq. 8).

        probs      (softmax(Q K^T / sqrt(d)) * w) V      as the paper prints it
        logit_add  softmax(Q K^T / sqrt(d) + log w) V    the same with its rows made to sum to one
        logit_mul  softmax(Q K^T / sqrt(d) * w) V        the published code: what had a negative score
                                                         gets less

    With weights of 1 all three are plain attention. query: (B, heads, N, d); key, value:
    (B, heads, L, d); weights: (B, 1, N, L), not negative; scale: 1 / sqrt(d) unless given; bias: added
    to the scores before the softmax, (B, 1, 1 or N, L). Returns (B, heads, N, d).
    """
    if form == "logit_add":
        smallest = 1e-30  # a logarithm that stays finite: a row of weight 0 is then plain attention
        added = weights.float().clamp_min(smallest).log().to(query.dtype)
        added = added if bias is None else added + bias
        return F.scaled_dot_product_attention(query, key, value, attn_mask=added, scale=scale)
    weights = weights.to(query.dtype)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = scores * weights if form == "logit_mul" else scores
    shares = (scores if bias is None else scores + bias).softmax(-1)
    return (shares * weights if form == "probs" else shares) @ value


@dataclass
class Emphasis:
    """What all cross-attention layers of a network heed more: set it before each call.

    columns: the learned tokens within the context; all others keep weight 1. weights: (B, 1, h, w) on
    the grid of the latent or a finer one, a map for each row of the network's batch, ones for rows
    without learned tokens; None leaves the network as it is.
    """

    form: Form
    columns: slice
    weights: Tensor | None = None

    def at(self, weights: Tensor, cells: int, tokens: int) -> Tensor:
        """Return the weights of a layer with so many cells and tokens, (B, 1, cells, tokens).

        A layer's grid is the given one, halved (and rounded up) as the network halves it.
        """
        height, width = weights.shape[-2:]
        while height * width > cells:
            height, width = (height + 1) // 2, (width + 1) // 2
        averaged = F.adaptive_avg_pool2d(weights, (height, width))
        found = averaged.new_ones(len(weights), 1, cells, tokens)
        found[..., self.columns] = averaged.flatten(2).mT[:, None]
        return found


@contextmanager
def reweighted(network: nn.Module, emphasis: Emphasis) -> Iterator[Emphasis]:
    """Yield `emphasis`, which the cross-attention of a diffusers network obeys until the block ends.

    Raises:
        ConfigError: the network has no cross-attention.
    """
    from diffusers.models.attention_processor import Attention

    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, Attention) and layer.is_cross_attention and layer.added_kv_proj_dim is None
    ]
    if not layers:
        raise ConfigError(
            f"{type(network).__name__} has no cross-attention layers to re-weight",
            hint="turn attention re-weighting off for this backbone",
        )
    own = [layer.get_processor() for layer in layers]
    try:
        for layer, processor in zip(layers, own, strict=True):
            layer.set_processor(_Reweighted(emphasis, processor))
        yield emphasis
    finally:
        for layer, processor in zip(layers, own, strict=True):
            layer.set_processor(processor)


class _Reweighted:
    """An attention processor of diffusers: re-weighted while there are weights, else `own`."""

    def __init__(self, emphasis: Emphasis, own: Callable[..., Tensor]) -> None:
        self.emphasis = emphasis
        self.own = own

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        weights = self.emphasis.weights
        if weights is None or encoder_hidden_states is None:
            return self.own(attn, hidden_states, encoder_hidden_states, attention_mask)
        context = encoder_hidden_states
        if attn.norm_cross is not None:
            context = attn.norm_encoder_hidden_states(context)

        def heads(projected: Tensor) -> Tensor:
            batch, rows, _ = projected.shape
            return projected.view(batch, rows, attn.heads, -1).transpose(1, 2)

        query, key = heads(attn.to_q(hidden_states)), heads(attn.to_k(context))
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        found = attend(
            query,
            key,
            heads(attn.to_v(context)),
            self.emphasis.at(weights, hidden_states.shape[1], context.shape[1]),
            self.emphasis.form,
            scale=attn.scale,
            bias=None if attention_mask is None else attention_mask[:, None].to(query.dtype),
        )
        y: Tensor = found.transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            y = layer(y)
        return y
