from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import AttnProcessor

from blemish.errors import ConfigError
from blemish.networks import Emphasis, attend, reweighted
from blemish.networks.attention import replace

LEARNED = slice(1, 4)
FORMS = ["logit_add", "logit_mul", "probs"]


@pytest.fixture(scope="module")
def network() -> UNet2DConditionModel:
    """A tiny network whose cross-attention lies on grids of 8, 4 and 2 cells a side."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=6,
        norm_num_groups=2,
    ).eval()


def inputs(height: int = 8, width: int = 8, batch: int = 2) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    noisy = torch.randn(batch, 4, height, width, generator=rng)
    context = 3 * torch.randn(batch, 5, 6, generator=rng)
    weights = 1 + torch.rand(batch, 1, height, width, generator=rng)
    return noisy, context, weights


def predict(network: torch.nn.Module, noisy: torch.Tensor, context: torch.Tensor, **more: object):
    with torch.no_grad():
        return network(noisy, torch.tensor(300), encoder_hidden_states=context, **more).sample


class Stock:
    """The processor of diffusers, given log w as its attention mask: another way to the same."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self.sizes: set[int] = set()

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        mask = attention_mask
        if encoder_hidden_states is not None:
            side = round(hidden_states.shape[1] ** 0.5)
            self.sizes.add(side)
            area = F.interpolate(self.weights, (side, side), mode="area")
            mask = torch.zeros(len(area), side * side, encoder_hidden_states.shape[1])
            mask[..., LEARNED] = area.flatten(2).transpose(1, 2).log()
        return AttnProcessor()(attn, hidden_states, encoder_hidden_states, mask)


def tensors() -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(2)
    query, key, value = (
        torch.randn(2, 3, rows, 4, generator=rng, dtype=torch.float64) for rows in (6, 5, 5)
    )
    weights = 0.5 + 2 * torch.rand(2, 1, 6, 5, generator=rng, dtype=torch.float64)
    return query, key, value, weights


def by_hand(query, key, value, weights, form):
    """Return the attention of one image, head and cell after the other, softmax written out."""
    found = torch.zeros_like(query)
    for image, head, cell in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        w = weights[image, 0, cell]
        scores = key[image, head] @ query[image, head, cell] / query.shape[-1] ** 0.5
        odds = (scores * w if form == "logit_mul" else scores).exp()
        odds = odds * w if form == "logit_add" else odds
        shares = odds / odds.sum()
        found[image, head, cell] = (shares * w if form == "probs" else shares) @ value[image, head]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_its_formula_written_out(form):
    found = attend(*tensors(), form)
    torch.testing.assert_close(found, by_hand(*tensors(), form), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_one_leave_attention_as_it_is(form):
    query, key, value, weights = tensors()
    bias = torch.randn(2, 1, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = attend(query, key, value, torch.ones_like(weights), form, scale=0.3, bias=bias)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=0.3)
    torch.testing.assert_close(found, expected)


def test_the_form_of_the_paper_with_its_rows_made_to_sum_to_one_is_the_sum_of_logits():
    query, key, value, weights = tensors()
    plain = attend(query, key, value, weights, "probs")
    sums = attend(query, key, torch.ones_like(value), weights, "probs")
    torch.testing.assert_close(plain / sums, attend(*tensors(), "logit_add"), rtol=1e-5, atol=1e-6)


def test_only_adding_logits_gives_every_weighted_token_more():
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([[[[-2.0], [0.0]]]])
    value = torch.tensor([[[[1.0], [0.0]]]])  # so the read-out is the share of the first token
    weights = torch.tensor([[[[1.5, 1.0]]]])
    plain = attend(query, key, value, torch.ones_like(weights))
    assert attend(query, key, value, weights, "logit_add") > plain
    assert attend(query, key, value, weights, "logit_mul") < plain


@pytest.mark.parametrize("form", FORMS)
def test_a_token_of_weight_zero_does_not_break_the_row(form):
    query, key, value, weights = tensors()
    assert attend(query, key, value, torch.zeros_like(weights), form).isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_without_weights_or_with_ones_the_network_predicts_what_it_always_did(network, form):
    noisy, context, weights = inputs()
    expected = predict(network, noisy, context)
    with reweighted(network, Emphasis(form, LEARNED)) as emphasis:
        assert torch.equal(predict(network, noisy, context), expected)
        emphasis.weights = torch.ones_like(weights)
        torch.testing.assert_close(predict(network, noisy, context), expected)
        emphasis.weights = weights
        changed = predict(network, noisy, context)
    assert not torch.allclose(changed, expected, rtol=1e-3, atol=1e-4)


def test_the_network_is_left_as_it_was_found_even_after_an_error(network):
    before = network.attn_processors
    noisy, context, weights = inputs()

    def fail() -> None:
        with reweighted(network, Emphasis("logit_add", LEARNED, weights)):
            assert network.attn_processors != before
            raise KeyError

    expected = predict(network, noisy, context)
    with pytest.raises(KeyError):
        fail()
    assert network.attn_processors == before
    assert torch.equal(predict(network, noisy, context), expected)


def test_every_layer_reads_the_weights_averaged_on_its_own_grid(network):
    noisy, context, weights = inputs()
    stock, own = Stock(weights), network.attn_processors
    network.set_attn_processor(stock)
    try:
        expected = predict(network, noisy, context)
    finally:
        network.set_attn_processor(dict(own))
    assert stock.sizes == {8, 4, 2}
    with reweighted(network, Emphasis("logit_add", LEARNED, weights)):
        torch.testing.assert_close(predict(network, noisy, context), expected)


def test_weights_on_the_grid_of_the_pixels_do_as_well(network):
    noisy, context, weights = inputs()
    with reweighted(network, Emphasis("logit_add", LEARNED, weights)) as emphasis:
        expected = predict(network, noisy, context)
        emphasis.weights = weights.repeat_interleave(4, 2).repeat_interleave(4, 3)
        torch.testing.assert_close(predict(network, noisy, context), expected)


def test_the_grids_of_a_network_that_halves_odd_sides_are_found():
    weights = inputs(6, 11)[2]
    for height, width in ((6, 11), (3, 6), (2, 3)):
        found = Emphasis.column(weights, height * width)
        expected = F.adaptive_avg_pool2d(weights, (height, width)).flatten(1)
        torch.testing.assert_close(found[:, 0, :, 0], expected)


def test_a_replaced_column_is_the_mask_and_the_others_stay():
    query, key, value, _ = tensors()
    mask = torch.tensor([1.0, 0, 0.5, 1, 0, 0], dtype=torch.float64).view(1, 1, 6, 1)
    value = torch.eye(5, dtype=torch.float64).expand(2, 3, 5, 5)  # the read-out is the map itself
    plain = F.scaled_dot_product_attention(query, key, value)
    found = replace(query, key, value, mask, LEARNED)
    torch.testing.assert_close(found[..., LEARNED], (mask / 3).expand(2, 3, 6, 3))
    torch.testing.assert_close(found[..., [0, 4]], plain[..., [0, 4]])


class Replacing:
    """Attention by diffusers' own scores, the learned columns overwritten: another way to the same."""

    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        if encoder_hidden_states is None:
            return AttnProcessor()(attn, hidden_states, None, attention_mask)
        rows = (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states))
        query, key = map(attn.head_to_batch_dim, rows)
        shares = attn.get_attention_scores(query, key)
        side = round(hidden_states.shape[1] ** 0.5)
        area = F.interpolate(self.mask, (side, side), mode="area").flatten(2).transpose(1, 2)
        shares[..., LEARNED] = area.repeat_interleave(attn.heads, 0) / 3
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        return attn.to_out[0](attn.batch_to_head_dim(shares @ value))


def test_every_layer_has_its_columns_replaced_by_the_mask_on_its_own_grid(network):
    noisy, context, _ = inputs()
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:7, 1:4], mask[1, :, 0, 5] = 1, 1
    own = network.attn_processors
    network.set_attn_processor(Replacing(mask))
    try:
        expected = predict(network, noisy, context)
    finally:
        network.set_attn_processor(dict(own))
    with reweighted(network, Emphasis("replace", LEARNED, mask)):
        torch.testing.assert_close(predict(network, noisy, context), expected)
    assert not torch.allclose(predict(network, noisy, context), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(network, form):
    noisy, context, weights = inputs(12, 8)
    weights[1] = 1
    plain = predict(network, noisy, context)
    with reweighted(network, Emphasis(form, LEARNED, weights)) as emphasis:
        together = predict(network, noisy, context)
        emphasis.weights = weights[:1]
        alone = predict(network, noisy[:1], context[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[1:], plain[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_token_that_the_context_masks_out_stays_out(network, form):
    noisy, context, weights = inputs()
    allowed = torch.ones(2, 5)
    allowed[:, 4] = 0
    other = context.clone()
    other[:, 4] = 9
    with reweighted(network, Emphasis(form, LEARNED, weights)):
        first = predict(network, noisy, context, encoder_attention_mask=allowed)
        second = predict(network, noisy, other, encoder_attention_mask=allowed)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_follows_the_network(network, form):
    noisy, context, weights = inputs()
    with reweighted(network, Emphasis(form, LEARNED, weights)):
        exact = predict(network, noisy, context)
        with torch.autocast("cpu", torch.bfloat16):
            found = predict(network, noisy, context)
    torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.05)


def test_a_network_without_cross_attention_is_refused():
    plain = UNet2DModel(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,),
        down_block_types=("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",),
        norm_num_groups=2,
    )
    with (
        pytest.raises(ConfigError, match="UNet2DModel has no cross-attention") as refused,
        reweighted(plain, Emphasis("logit_add", LEARNED)),
    ):
        pass
    assert refused.value.hint
