from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch

from blemish.data import read_dataset
from blemish.detection.examples import Examples
from blemish.detection.photos import Photos
from blemish.detection.samples import Batch, Samples
from blemish.errors import ConfigError

Maker = Callable[..., Samples]

# Later Pythons warn of forking a process with threads: a worker that only draws is safe.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def make(product, tiny) -> Maker:
    def samples(rank: int = 0, world: int = 1, light: float = 0.07, **training: object) -> Samples:
        config = tiny(training={"normals": 4, "defects": 4} | training, data={"light": light})
        photos = Photos(read_dataset(product).train, config)
        return Samples(photos, config, rank, world)

    return samples


def values(batch: Batch) -> list[torch.Tensor]:
    return [torch.as_tensor(getattr(batch, field.name)) for field in fields(batch)]


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(values(one), values(other), strict=True))


def row(batch: Batch, index: int) -> Batch:
    here = slice(index, index + 1)
    return Batch(**{field.name: getattr(batch, field.name)[here] for field in fields(batch)})


@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_slot_holds_the_same_sample_however_the_batch_is_shared(make, world, accumulation):
    whole = make().batch(7, range(8))
    seen = []
    for rank in range(world):
        samples = make(rank, world, accumulation=accumulation)
        for slots, batch in zip(samples.chunks, samples[7], strict=True):
            for index, slot in enumerate(slots):
                assert same(row(batch, index), row(whole, slot))
                seen.append(slot)
    assert sorted(seen) == list(range(8))


def test_each_share_of_a_batch_has_as_many_normal_images_as_defects(make):
    for rank in range(2):
        for batch in make(rank, 2, accumulation=2)[3]:
            assert batch.normal.tolist() == [True, False]


def test_an_iteration_does_not_depend_on_those_asked_for_before(make):
    used = make()
    for iteration in (0, 1, 5):
        used[iteration]
    assert same(used[2][0], make()[2][0])


def test_iterations_and_seeds_differ(make):
    first = make()[0][0]
    assert not same(first, make()[1][0])
    assert not same(first, make(seed=1)[0][0])


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(make, workers):
    alone, helped = make().stream(3, workers=0), make().stream(3, workers=workers)
    for _ in range(3):
        assert same(next(alone)[0], next(helped)[0])
    helped.close()


def test_samples_travel_to_worker_processes_that_are_not_forked(make):
    samples = make()
    copy = pickle.loads(pickle.dumps(samples))  # noqa: S301 - our own bytes
    assert same(copy[4][0], samples[4][0])


def test_the_stream_begins_where_it_is_asked_to(make):
    assert same(next(make().stream(5, workers=0))[0], make()[5][0])


def test_normal_images_are_the_photos_themselves_and_only_masks_differ_on_the_others(make):
    samples = make(light=0)
    batch = samples[0][0]
    squares = [samples.photos.view(i, np.random.default_rng()) for i in range(len(samples.photos))]
    for photo, mask, normal in zip(batch.photo, batch.mask[:, 0], batch.normal, strict=True):
        changed = [(torch.from_numpy(s.image) != photo).any(dim=2) for s in squares]
        if normal:
            assert not mask.any()
            assert any(not pixels.any() for pixels in changed)
        else:
            assert mask.any()
            assert any(not pixels[~mask].any() for pixels in changed)


def test_a_square_knows_the_family_of_its_photo_also_in_another_process(product, tiny):
    config = tiny(training={"normals": 4, "defects": 4}, data={"light": 0})
    records = read_dataset(product).train
    numbers = [10 + index // 2 for index in range(len(records))]
    photos = copy.copy(Photos(records, config, numbers))
    batch = Samples(photos, config)[0][0]
    squares = [photos.view(i, np.random.default_rng()).image for i in range(len(records))]
    for photo, family in zip(batch.photo[:4].numpy(), batch.family, strict=False):
        shown = [i for i, square in enumerate(squares) if np.array_equal(square, photo)]
        assert [numbers[i] for i in shown] == [int(family)] * len(shown)
        assert shown


def test_steps_lie_on_their_sides_of_the_split(make):
    samples = make()
    batches = [samples[i][0] for i in range(8)]
    fine, anchor = (torch.cat([getattr(b, name) for b in batches]) for name in ("fine", "anchor"))
    assert 0 <= int(fine.min()) < 100 < 200 < int(fine.max()) < 300
    assert 300 <= int(anchor.min()) < 450 < 850 < int(anchor.max()) < 1000


def test_each_image_has_private_noise_for_each_scale(make):
    batch = make()[0][0]
    noise = batch.noise()
    assert noise.shape == (8, 2, 3, 64, 64)
    assert torch.equal(noise, batch.noise())
    assert noise.flatten(2).flatten(0, 1).unique(dim=0).shape[0] == 16


@pytest.mark.parametrize(
    "undecided", [{"data": {"turns": "auto"}}, {"synthesis": {"kind": "auto"}}], ids=["turns", "kind"]
)
def test_samples_are_drawn_only_once_everything_is_decided(product, tiny, undecided):
    config = tiny(**undecided)
    with pytest.raises(ConfigError, match="is not decided"):
        Samples(Photos(read_dataset(product).train, config), config)


def test_allowed_turns_are_drawn_as_often_as_none(product, tiny):
    config = tiny(data={"turns": ["mirror"], "light": 0}, training={"normals": 8, "defects": 1})
    photos = Photos(read_dataset(product).train, config)
    plain = {photos.view(i, np.random.default_rng()).image.tobytes() for i in range(len(photos))}
    samples = Samples(photos, config)
    seen = [image for i in range(25) for image in samples[i][0].photo[:8].numpy()]
    as_they_are = sum(image.tobytes() in plain for image in seen)
    mirrored = sum(image[:, ::-1].tobytes() in plain for image in seen)
    assert as_they_are + mirrored == 200
    assert 70 < mirrored < 130


@pytest.mark.parametrize(("world", "accumulation"), [(3, 1), (4, 2)])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(make, world, accumulation):
    with pytest.raises(ConfigError, match="cannot be shared evenly"):
        make(0, world, accumulation=accumulation)


def test_photos_come_in_other_light_before_a_defect_is_drawn_on_them(make):
    plain, lit = make(light=0)[0][0], make(light=0.05)[0][0]
    assert torch.equal(plain.family, lit.family)
    for before, after in zip(plain.photo[:4].float(), lit.photo[:4].float(), strict=True):
        ratio = (after / before)[before > 60]
        assert 0.7 < float(ratio.min()) < float(ratio.max()) < 1.4
        assert float((ratio - 1).abs().mean()) > 0.005
    assert lit.mask[4:].flatten(1).any(dim=1).all()
    assert not lit.mask[:4].any()


def test_examples_come_in_other_light_too(product, tiny):
    config = tiny(
        training={"normals": 1, "defects": 3}, data={"light": 0.05}, synthesis={"examples_share": 1}
    )
    dataset = read_dataset(product)
    examples = Examples([(record, 0) for record in dataset.defects], config)
    squares = [examples.view(n, np.random.default_rng())[0] for n in range(len(examples))]
    batch = Samples(Photos(dataset.train, config), config, examples=examples)[0][0]
    for photo, mask in zip(batch.photo[1:].numpy(), batch.mask[1:, 0].numpy(), strict=True):
        shown = [square for square in squares if np.array_equal(square.allowed, mask)]
        assert shown
        gaps = [np.abs(photo.astype(float) - square.image).mean() for square in shown]
        assert 0.5 < min(gaps) < 20
