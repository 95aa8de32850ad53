from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.errors import DatasetError
from blemish.experiments.generation_quality import LITE, judge
from blemish.metrics import inception_score, intra_cluster_distance, kernel_distance
from blemish.networks import Inception, Perceptual, distances_to
from blemish.randomness import numpy_generator
from blemish.records import Record, Sample

TYPES = ("dark", "light")


def pair(label: str, rng: np.random.Generator, lift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A grey photo with grain and a defect, darker or lighter than it."""
    image = rng.normal(128, 8, (150, 140, 1)).repeat(3, 2)
    mask = np.zeros((150, 140), np.bool_)
    top, left = rng.integers(10, 100, 2)
    mask[top : top + 20, left : left + 30] = True
    image[mask] += (60 if label == "light" else -60) + lift + rng.normal(0, 5)
    return image.clip(0, 255).astype(np.uint8), mask


def pairs(name: str, count: int, lift: int = 0) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {
        label: [pair(label, numpy_generator(0, name, label, i), lift) for i in range(count)]
        for label in TYPES
    }


def samples(name: str, count: int) -> list[Sample]:
    return [
        Sample(image, mask, Record(Path(f"{label}_{i}.png"), label, "test"))
        for label, found in pairs(name, count).items()
        for i, (image, mask) in enumerate(found)
    ]


class Squared(Perceptual):
    """A stand-in for LPIPS: the squared distance of mean colours."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.register_buffer("shift", torch.zeros(1))

    def look(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        self.side = pictures.shape[-1]
        return [pictures.mean((2, 3))]

    def apart(self, some: list[torch.Tensor], others: list[torch.Tensor]) -> torch.Tensor:
        return (some[0] - others[0]).square().sum(1)


def colours(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A stand-in for Inception's network: mean and deviation of each channel, and classes of these."""
    values = pictures.float() / 255
    found = torch.zeros(len(values), 2048)
    found[:, :6] = torch.cat([values.mean((2, 3)), values.std((2, 3))], 1)
    return found, 20 * found[:, :1008]


@pytest.fixture(scope="module")
def report() -> dict:
    sets = {"alike": pairs("alike", 6), "pale": pairs("pale", 6, lift=40)}
    return judge(samples("real", 6), samples("read", 4), sets, perceptual=Squared(), repeats=20)


def test_pairs_like_the_real_ones_are_closer_to_them_than_others_by_every_figure(report):
    for figures in (*report["types"].values(), report["mean"]):
        assert figures["alike"]["kid"] < figures["pale"]["kid"]
        assert figures["alike"]["nearest_read_median"] < figures["pale"]["nearest_read_median"]
    assert report["mean"]["alike"]["separability"] < report["mean"]["pale"]["separability"]
    assert report["features"] == LITE


def test_the_mean_is_over_types_and_each_figure_lies_in_its_interval(report):
    for name, mean in report["mean"].items():
        of_types = [found[name] for found in report["types"].values()]
        for figure in ("kid", "separability"):
            assert mean[figure] == pytest.approx(np.mean([found[figure] for found in of_types]))
            for found in (mean, *of_types):
                low, high = found[f"{figure}_interval"]
                assert low <= found[figure] <= high
                assert figure == "kid" or 0 <= low <= high <= 1
    alike = [report["types"][label]["alike"]["kid_interval"] for label in TYPES]
    low, high = report["mean"]["alike"]["kid_interval"]
    assert high - low < max(high - low for low, high in alike)


def test_read_defects_are_judged_beside_the_sets_but_not_by_their_distance_to_themselves(report):
    assert set(report["mean"]) == {"alike", "pale", "read_real"}
    assert "ic_lpips" not in report["types"]["dark"]["read_real"]


def test_distances_are_those_inside_the_masks_box(report):
    def inside(found):
        return [image[np.ix_(mask.any(1), mask.any(0))] for image, mask in found]

    made, read = (inside(pairs(name, count)["dark"]) for name, count in (("alike", 6), ("read", 4)))
    to_real = distances_to(Squared(), made, read, side=64)
    figures = report["types"]["dark"]["alike"]
    assert figures["nearest_read_least"] == pytest.approx(to_real.min(), rel=1e-5)
    assert report["pictures"] == {
        "alike": {"dark": 6, "light": 6},
        "pale": {"dark": 6, "light": 6},
        "read_real": {"dark": 4, "light": 4},
    }
    expected = intra_cluster_distance(distances_to(Squared(), made, made, side=64), to_real)
    assert figures["ic_lpips"] == pytest.approx(expected, rel=1e-5)


def test_whole_pictures_are_compared_when_asked_for():
    network = Squared()
    sets = {"made": pairs("alike", 5)}
    found = judge(
        samples("real", 2), samples("read", 1), sets, perceptual=network, whole=True, repeats=0
    )
    images = [image for image, _ in sets["made"]["dark"]]
    every = distances_to(Squared(), images, images)
    figures = found["types"]["dark"]["made"]
    assert network.side == 256
    assert figures["ic_lpips_whole"] == pytest.approx(every.sum() / 20, rel=1e-5)
    assert "kid_interval" not in figures


def test_inception_looks_at_whole_pictures_and_its_score_is_of_its_classes():
    inception = Inception(colours, torch.device("cpu"))
    made, real = pairs("alike", 12)["dark"], [s for s in samples("real", 5) if s.record.label == "dark"]
    found = judge(real, samples("read", 2), {"made": {"dark": made}}, inception=inception, repeats=0)
    figures = found["types"]["dark"]["made"]
    assert found["features"] == "InceptionV3"
    seen = inception([image for image, _ in made])
    target = inception([sample.image for sample in real]).features
    assert figures["kid"] == pytest.approx(kernel_distance(seen.features, target))
    rng = numpy_generator(0, "inception score", "dark", "made")
    score = inception_score(seen.classes, rng)
    assert (figures["inception_score"], figures["inception_deviation"]) == pytest.approx(score)


def test_what_is_undefined_is_null_and_the_same_seed_gives_the_same_bytes():
    one, read = samples("real", 1), samples("read", 2)
    sets = {"made": {"dark": pairs("alike", 3)["dark"]}}
    found = [judge(one, read, sets, perceptual=Squared(), repeats=3) for _ in range(2)]
    text = [json.dumps(report, allow_nan=False) for report in found]
    assert text[0] == text[1]
    assert found[0]["types"]["dark"]["made"]["kid"] is None
    assert found[0]["types"]["dark"]["made"]["kid_interval"] is None
    assert found[0]["types"]["light"]["made"]["separability"] is None
    assert found[0]["mean"]["made"]["ic_lpips"] is None
    assert found[0]["pictures"]["made"] == {"dark": 3, "light": 0}


def test_read_defects_without_masks_leave_nothing_to_judge_by():
    bare = [Sample(s.image, None, s.record) for s in samples("read", 1)]
    with pytest.raises(DatasetError, match="no read defect has a mask"):
        judge(samples("real", 2), bare, {})
