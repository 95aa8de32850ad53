from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.backbones import TEMPLATES
from blemish.errors import DatasetError
from blemish.generation.augmentation import Augmentation
from blemish.generation.views import Batch, Views
from blemish.records import Record, Sample

COUNTS = {"hole": 1, "scratch": 3, "stain": 4}
STEPS = 100


def sample(label: str, number: int, *, empty: bool = False) -> Sample:
    """A photo of one brightness, with a defect in the upper half."""
    image = np.full((24, 40, 3), 20 * number + 10, np.uint8)
    mask = np.zeros((24, 40), bool)
    mask[2:7, 3 + number : 30] = not empty
    return Sample(image, mask, Record(Path(f"{label}/{number}.png"), label))


def views(subject: str = "defects", seed: int = 0) -> Views:
    samples = [sample(label, number) for label, count in COUNTS.items() for number in range(count)]
    return Views(samples, 16, subject, Augmentation(), seed)


def equal(one: Batch, other: Batch) -> bool:
    told = [(batch.types, batch.streams, batch.prompt) for batch in (one, other)]
    tensors = ("image", "mask", "step")
    same = (torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)
    return told[0] == told[1] and all(same)


def first(stream, count: int) -> list[list[Batch]]:
    return list(itertools.islice(stream, count))


def test_all_types_come_up_equally_often_and_all_photos_of_a_type_too():
    seen = Counter(views().turn(position).record.image for position in range(3 * 12))
    for label, count in COUNTS.items():
        assert {seen[Path(f"{label}/{n}.png")] for n in range(count)} == {12 // count}


def test_the_order_of_types_changes_from_round_to_round():
    source = views()
    rounds = {tuple(source.turn(3 * r + i).record.label for i in range(3)) for r in range(20)}
    assert len(rounds) > 1


def test_an_iteration_is_the_same_whatever_ran_before():
    whole = first(views().stream(0, 4, [range(4)], STEPS), 4)
    late = first(views().stream(3, 4, [range(4)], STEPS), 1)
    assert equal(whole[3][0], late[0][0])
    assert not torch.equal(whole[2][0].step, whole[3][0].step)


def test_a_picture_does_not_depend_on_how_the_batch_is_shared():
    whole = first(views().stream(0, 4, [range(4)], STEPS), 3)
    parts = [first(views().stream(0, 4, [range(part, 4, 2)], STEPS), 3) for part in (0, 1)]
    for iteration, (batch,) in enumerate(whole):
        for part, of_rank in enumerate(parts):
            (share,) = of_rank[iteration]
            assert torch.equal(share.image, batch.image[part::2])
            assert torch.equal(share.mask, batch.mask[part::2])
            assert torch.equal(share.step, batch.step[part::2])
            assert torch.equal(share.noise((2, 3)), batch.noise((2, 3))[part::2])
            assert share.prompt == batch.prompt


def test_another_seed_sees_other_views():
    one, other = (first(views(seed=seed).stream(0, 4, [range(4)], STEPS), 1)[0][0] for seed in (0, 1))
    assert not torch.equal(one.step, other.step)
    assert not torch.equal(one.noise((4,)), other.noise((4,)))


def test_the_learned_tokens_are_read_in_all_prompts():
    batches = first(views().stream(0, 1, [range(1)], STEPS), 60)
    assert {batch.prompt for (batch,) in batches} == set(TEMPLATES)


def test_steps_are_spread_over_the_whole_schedule():
    steps = torch.cat([batch.step for (batch,) in first(views().stream(0, 8, [range(8)], 4), 12)])
    assert steps.unique().tolist() == [0, 1, 2, 3]


def test_each_view_of_a_defect_holds_a_defect():
    (batch,) = first(views().stream(0, 24, [range(24)], STEPS), 1)[0]
    assert batch.image.shape == (24, 16, 16, 3)
    assert batch.mask.shape == (24, 1, 16, 16)
    assert batch.mask.flatten(1).any(1).all()


def test_masks_are_learned_as_white_on_black_pictures_of_the_whole_frame():
    (batch,) = first(views("masks").stream(0, 6, [range(6)], STEPS), 1)[0]
    assert torch.equal(batch.image, batch.mask[:, 0, :, :, None].expand(-1, -1, -1, 3) * 255)
    for mask in batch.mask[:, 0]:
        rows = mask.any(1).nonzero()
        assert 3 <= rows.min() <= rows.max() <= 7  # the upper half of a photo that is 40 wide, 24 high


def test_the_fixed_views_are_always_the_same_with_steps_from_all_noise_levels():
    one, other = views().fixed(4, STEPS), views().fixed(4, STEPS)
    assert all(equal(a, b) for a, b in zip(one, other, strict=True))
    assert [int(batch.step) for batch in one] == [12, 37, 62, 87]
    shown = views().fixed(1, STEPS)[0]
    (trained,) = first(views().stream(0, 1, [range(1)], STEPS), 1)[0]
    assert shown.streams != trained.streams


def test_a_photo_without_a_mask_of_its_defect_is_named():
    empty = sample("hole", 1, empty=True)
    for bad in (empty, replace(empty, mask=None)):
        with pytest.raises(DatasetError, match=r"hole/1\.png has no mask"):
            Views([sample("hole", 0), bad], 16, "defects", Augmentation(), 0)


def test_no_photos_are_an_error():
    with pytest.raises(DatasetError, match="no photo of a defect"):
        Views([], 16, "defects", Augmentation(), 0)
