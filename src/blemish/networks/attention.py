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
"""How weights enter an attention map."""

Change = Form | Literal["replace"]
"""What becomes of the attention to the learned tokens: weighted in some form, or replaced."""


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
    scores = _scores(query, key, scale)
    scores = scores * weights if form == "logit_mul" else scores
    shares = (scores if bias is None else scores + bias).softmax(-1)
    return (shares * weights if form == "probs" else shares) @ value


def replace(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    column: Tensor,
    tokens: slice,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Return attention whose map has the columns of some tokens replaced (Prompt-to-Prompt).

        A V,    A = softmax(Q K^T / sqrt(d)), but A[:, tokens] = column / number of tokens

    As AnomalyDiffusion (supplement E) puts it to the test: with the resized mask as the column, the
    mask says where the tokens are read, whatever their queries say. The other columns stay. column:
    (B, 1, N, 1), in [0, 1]; the rest as in `attend`.
    """
    scores = _scores(query, key, scale)
    shares = (scores if bias is None else scores + bias).softmax(-1)
    count = len(range(*tokens.indices(key.shape[-2])))
    shares[..., tokens] = (column / max(1, count)).to(shares.dtype)
    return shares @ value


def _scores(query: Tensor, key: Tensor, scale: float | None) -> Tensor:
    """Return Q K^T / sqrt(d), or Q K^T times the scale, (B, heads, N, L)."""
    return query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)


@dataclass
class Emphasis:
    """What all cross-attention layers of a network heed more: set it before each call.

    change: `replace` puts the weights in the place of the learned tokens' columns, a form of `attend`
    weighs them. columns: the learned tokens within the context; all others stay as they are. weights:
    (B, 1, h, w) on the grid of the latent or a finer one, a map for each row of the network's batch,
    ones for rows without learned tokens; None leaves the network as it is.
    """

    change: Change
    columns: slice
    weights: Tensor | None = None

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        weights: Tensor,
        *,
        scale: float | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return a layer's attention, changed by the weights, (B, heads, N, d); as in `attend`."""
        cells, tokens = query.shape[-2], key.shape[-2]
        column = self.column(weights, cells)
        if self.change == "replace":
            return replace(query, key, value, column, self.columns, scale=scale, bias=bias)
        table = column.new_ones(len(column), 1, cells, tokens)
        table[..., self.columns] = column
        return attend(query, key, value, table, self.change, scale=scale, bias=bias)

    @staticmethod
    def column(weights: Tensor, cells: int) -> Tensor:
        """Return the weights as a layer with so many cells sees them, (B, 1, cells, 1).

        A layer's grid is the given one, halved (and rounded up) as the network halves it.
        """
        height, width = weights.shape[-2:]
        while height * width > cells:
            height, width = (height + 1) // 2, (width + 1) // 2
        averaged = F.adaptive_avg_pool2d(weights, (height, width))
        return averaged.flatten(2).mT[:, None]


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
    """An attention processor of diffusers: changed while there are weights, else `own`."""

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
        found = self.emphasis.attention(
            query,
            key,
            heads(attn.to_v(context)),
            weights,
            scale=attn.scale,
            bias=None if attention_mask is None else attention_mask[:, None].to(query.dtype),
        )
        y: Tensor = found.transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            y = layer(y)
        return y
