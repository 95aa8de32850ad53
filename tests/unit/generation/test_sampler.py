from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blemish.backbones import Context, Scene
from blemish.backbones.embedded import Embedded, Shape
from blemish.diffusion import implied_noise, kept_at, spaced_steps
from blemish.generation.sampler import Sampling, paint
from blemish.randomness import generator

SIZE, WIDTH = 32, 8
HOW = [
    Sampling(steps=4),
    Sampling(solver="ddim", steps=4),
    Sampling(steps=3, guidance=2.0, shrink=2),
    Sampling(steps=3, reweighting="tempered"),
    Sampling(steps=3, reweighting="reference", form="logit_mul"),
    Sampling(steps=3, reweighting="paper", form="probs", guidance=2.0),
    Sampling(steps=3, reweighting="prompt_to_prompt", guidance=2.0),
]


@pytest.fixture(scope="module")
def backbone() -> Embedded:
    shape = Shape(size=SIZE, patch=2, widths=(16, 32), token_width=WIDTH, head_width=8)
    return Embedded.fresh(shape, 0)


@pytest.fixture
def photo() -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=generator(0, "photo"))


@pytest.fixture
def mask() -> Tensor:
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[0, :, 5:17, 9:23] = 1
    mask[1, :, 3:30, 12] = 1
    return mask


def tokens(count: int = 2) -> Tensor:
    return torch.randn(count, 3, WIDTH, generator=generator(0, "tokens"))


@pytest.mark.parametrize("how", HOW)
def test_only_the_mask_is_painted_and_all_of_it_is(backbone, photo, mask, how):
    made = paint(backbone, tokens(), photo, mask, [1, 2], how)
    assert made.shape == photo.shape
    outside = mask.expand_as(photo) == 0
    torch.testing.assert_close(made[outside], photo[outside])
    assert ((made - photo).abs().amax(1, keepdim=True)[mask > 0] > 1e-3).float().mean() > 0.95


@pytest.mark.parametrize("solver", ["ddim", "multistep"])
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_the_network_is_asked_at_the_steps_that_the_spacing_gives(
    backbone, photo, mask, monkeypatch, solver, spacing
):
    asked = []

    def predict(noisy: Tensor, step: Tensor, *_: object) -> Tensor:
        asked.append(int(step[0]))
        return torch.zeros_like(noisy)

    monkeypatch.setattr(backbone, "predict_noise", predict)
    paint(backbone, tokens(), photo, mask, [1, 2], Sampling(solver, steps=6, spacing=spacing))
    assert asked == spaced_steps(len(backbone.kept), 6, spacing)


def test_an_empty_mask_leaves_the_photo(backbone, photo):
    made = paint(backbone, tokens(), photo, torch.zeros(2, 1, SIZE, SIZE), [1, 2], HOW[0])
    torch.testing.assert_close(made, photo)


@pytest.mark.parametrize("how", HOW)
def test_a_painting_depends_on_its_own_stream_and_not_on_its_neighbours(backbone, photo, mask, how):
    both = paint(backbone, tokens(), photo, mask, [1, 2], how)
    alone = paint(backbone, tokens()[1:], photo[1:], mask[1:], [2], how)
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-3)
    other = paint(backbone, tokens()[1:], photo[1:], mask[1:], [3], how)
    assert not torch.allclose(alone, other, atol=1e-5)


class Oracle:
    """A backbone that knows the picture that it shall paint."""

    def __init__(self, backbone: Embedded, picture: Tensor) -> None:
        self.own, self.picture = backbone, picture

    def __getattr__(self, name: str) -> object:
        return getattr(self.own, name)

    def predict_noise(self, noisy: Tensor, step: Tensor, _: Context, __: Scene) -> Tensor:
        return implied_noise(noisy, self.own.encode(self.picture), kept_at(self.own.kept, step))


@pytest.mark.parametrize("how", [HOW[0], HOW[1], Sampling(solver="ddim", steps=5, eta=0.0)])
def test_who_knows_the_defect_paints_it(backbone, photo, mask, how):
    picture = torch.rand(2, 3, SIZE, SIZE, generator=generator(1, "defect"))
    made = paint(Oracle(backbone, picture), tokens(), photo, mask, [1, 2], how)
    torch.testing.assert_close(made, torch.where(mask > 0, picture, photo), rtol=1e-3, atol=1e-3)
