from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from blemish.backbones import open_backbone
from blemish.backbones.embedded import Embedded, Shape
from blemish.generation.prior import READERS, DrawnPairs, Pairs, PriorTask
from blemish.randomness import generator
from blemish.training import Plan, Run

SIZE, STEPS = 32, 1000


@pytest.fixture(scope="module")
def task() -> PriorTask:
    shape = Shape(size=SIZE, patch=2, widths=(16, 32), token_width=8, head_width=8)
    backbone = Embedded.fresh(shape, 0)
    return PriorTask(backbone, DrawnPairs(SIZE, 4, STEPS, seed=0), workers=0)


def same(one: Pairs, other: Pairs) -> bool:
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Pairs))
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def test_an_iteration_draws_the_same_pairs_whenever_it_is_asked_for():
    pairs = DrawnPairs(SIZE, 3, STEPS, seed=0)
    first = pairs[7][0]
    assert same(first, DrawnPairs(SIZE, 3, STEPS, seed=0)[7][0])
    assert not same(first, pairs[8][0])
    assert not same(first, DrawnPairs(SIZE, 3, STEPS, seed=1)[7][0])
    assert same(next(pairs.stream(7, workers=0))[0], first)


def test_every_picture_has_a_defect_and_a_description_is_left_out_now_and_then():
    batches = [DrawnPairs(SIZE, 16, STEPS, seed=0)[i][0] for i in range(8)]
    assert all(batch.mask.flatten(1).any(1).all() for batch in batches)
    assert all(batch.exemplar_mask.flatten(1).any(1).all() for batch in batches)
    told = torch.cat([batch.told for batch in batches]).float().mean()
    assert 0.8 < told < 0.98


def test_a_painting_that_is_not_told_does_not_depend_on_the_exemplar(task):
    batch = task.pairs[0][0]
    batch.told[:] = False
    with torch.no_grad():
        loss = task.objective(batch)["loss"]
        batch.exemplar[:] = 255 - batch.exemplar
        assert torch.equal(task.objective(batch)["loss"], loss)
        batch.told[:] = True
        assert not torch.equal(task.objective(batch)["loss"], loss)


def test_the_gradient_reaches_painter_describer_and_spatial_encoder_and_not_imagenet(task):
    task.objective(task.pairs[1][0])["loss"].backward()
    for part in (task.objective.backbone.network, task.objective.describer, task.objective.spatial):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    assert all(p.grad is None for p in task.objective.encoder.parameters())
    task.objective.zero_grad()


def test_a_run_leaves_a_backbone_that_opens_and_the_networks_that_speak_its_language(task, tmp_path):
    plan = Plan(iterations=2, validations=1)
    (tmp_path / "run").mkdir()
    outcome = Run(task, plan, tmp_path / "run", cpu=True).fit()
    task.settle(outcome.weights, tmp_path / "prior")
    opened = open_backbone(str(tmp_path / "prior"), device=torch.device("cpu"), dtype=torch.float32)
    noisy = torch.randn(1, opened.channels, 16, 16, generator=generator(0, "noisy"))
    context = opened.context(torch.ones(1, 2, 8), 1)
    step = torch.tensor([500])
    task.objective.backbone.network.half().float()  # as it is kept
    mine = task.objective.backbone.predict_noise(noisy, step, context)
    torch.testing.assert_close(opened.predict_noise(noisy, step, context), mine)
    names = {name.split(".")[0] for name in load_file(tmp_path / "prior" / READERS)}
    assert names == {"describer", "spatial", "encoder"}
    with Image.open(next((tmp_path / "run" / "sheets").glob("*.png"))) as sheet:
        assert sheet.width > 4 * SIZE
