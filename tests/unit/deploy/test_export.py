from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from PIL import Image

from blemish.artifacts import CARD
from blemish.data import read_dataset, write_sample
from blemish.deploy.export import compared, export
from blemish.deploy.exported import ExportedDetector
from blemish.deploy.graph import Graph
from blemish.deploy.parity import Parity, Tolerance, compare
from blemish.deploy.timing import timed
from blemish.detection import TrainedDetector
from blemish.errors import ArtifactError, BlemishError, ConfigError
from blemish.records import Prediction
from blemish.synthesis import draw_defect, draw_good
from blemish.verdicts import Detector, image_score

ENGINES = ["onnx", "openvino"]
EDGE = Path(__file__).parents[3] / ".venv-edge" / "bin" / "blemish"
ANYTHING = Tolerance(map=1, score=1)


@pytest.fixture(scope="module")
def forms(run_folder, product, tmp_path_factory) -> dict[str, Path]:
    """The exported forms of the tiny detector: onnx and openvino, in float32 and in eight bits."""
    root, found = tmp_path_factory.mktemp("exported"), {}
    for engine in ENGINES:
        for precision in ("f32", "int8"):
            found[f"{engine} {precision}"] = out = root / f"{engine}_{precision}"
            allowed = ANYTHING if precision == "int8" else None
            export(run_folder / "detector", read_dataset(product), out, engine, precision, allowed)
    return found


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    drawn, _ = draw_defect("nut", "scratch", 64, np.random.default_rng(seed))
    return np.array(Image.fromarray(drawn).resize((width, height)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 97), (200, 120), (1, 1)])
def test_an_exported_detector_says_what_the_trained_one_says(forms, detector, engine, height, width):
    form = Detector.load(forms[f"{engine} f32"])
    expected, found = detector.predict(photo(height, width)), form.predict(photo(height, width))
    assert isinstance(form, ExportedDetector)
    np.testing.assert_allclose(found.map, expected.map, atol=1e-4)
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert (found.threshold, found.p_value) == (expected.threshold, expected.p_value)
    assert np.abs(found.reconstruction.astype(int) - expected.reconstruction).max() <= 1


@pytest.mark.parametrize("form", ["onnx f32", "openvino f32", "onnx int8", "openvino int8"])
def test_neither_order_nor_company_changes_what_an_exported_detector_says(forms, form):
    some = [photo(64, 64, seed) for seed in range(5)]
    loaded = Detector.load(forms[form])
    together = list(loaded.predict_many(some, batch_size=4))
    for one, verdict in zip(some, together, strict=True):
        alone = loaded.predict(one)
        np.testing.assert_allclose(verdict.map, alone.map, atol=1e-5)
        np.testing.assert_allclose(verdict.reconstruction, alone.reconstruction, atol=1)


def test_it_is_told_what_computes_what_eight_bits_leave(forms):
    told = Detector.load(forms["openvino int8"]).runs_on
    assert re.fullmatch(r"OpenVINO [\d.]+, CPU, (bf16|f32) beside int8", told)
    assert "int8" not in Detector.load(forms["openvino f32"]).runs_on


@pytest.mark.parametrize("framing", ["tiles", "strips"])
def test_tiles_are_looked_at_by_an_exported_detector_too(detector, product, tmp_path, framing):
    data = detector.config.data.model_copy(update={"framing": framing})
    config = detector.config.model_copy(update={"data": data})
    weights = detector.inspector.state_dict()
    tiled = TrainedDetector(config, weights, detector.calibration, device="cpu", precision="fp32")
    tiled.save(tmp_path / "tiled")
    export(tmp_path / "tiled", read_dataset(product), tmp_path / "form", "onnx")
    expected, found = (d.predict(photo(100, 150)) for d in (tiled, Detector.load(tmp_path / "form")))
    np.testing.assert_allclose(found.map, expected.map, atol=1e-4)
    assert found.score == pytest.approx(expected.score, abs=1e-4)


def test_the_graph_scores_the_photo_and_not_its_padding(forms, detector):
    session = onnxruntime.InferenceSession(str(forms["onnx f32"] / "model.onnx"))
    square, valid = photo(64, 64), np.zeros((64, 64), np.bool_)
    for rows in (1, 20, 64):  # 1: fewer pixels than make a score
        valid[:rows, : 2 if rows == 1 else 64] = True
        feed = {"photo": square[None], "valid": valid[None]}
        values, score, _ = session.run(["map", "score", "reconstruction"], feed)
        assert score[0] == pytest.approx(image_score(values[0], valid, len(valid)), abs=1e-6)
    assert score[0] == pytest.approx(detector.predict(square).score, abs=1e-4)


def test_the_card_takes_threshold_and_facts_along_and_says_what_was_compared(forms, detector):
    card = json.loads((forms["onnx int8"] / CARD).read_text(encoding="utf-8"))
    assert card["calibration"]["scores"] == list(detector.calibration.scores)
    assert card["facts"] == detector.facts
    assert card["view"] == {"size": 64, "framing": "letterbox", "overlap": 0.25}
    parity = card["parity"]
    assert parity["photos"] == 6  # the whole test split
    assert set(parity["reference"]) == set(parity["exported"]) == {"image_auroc", "pixel_ap"}
    assert parity["tolerance"] == {"map": 1, "score": 1}


def test_eight_bits_are_for_what_learned_and_not_for_what_measures(forms):
    graph = onnx.load(str(forms["onnx int8"] / "model.onnx")).graph
    producers = {name: node for node in graph.node for name in node.output}
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for node in graph.node:
        if node.op_type == "Conv":
            scopes = "".join(p.value for p in node.metadata_props)
            kinds["inspector.encoder" in scopes].add(producers[node.input[0]].op_type)
    assert kinds[False] == {"DequantizeLinear"}
    assert "DequantizeLinear" not in kinds[True]
    model = openvino.Core().read_model(str(forms["openvino int8"] / "model.xml"))
    convolutions = [op for op in model.get_ops() if "Convolution" in op.get_type_name()]
    whole = [op.input_value(0).get_node().get_type_name() == "FakeQuantize" for op in convolutions]
    measuring = [node for node in graph.node if node.op_type == "Conv" and "encoder" in str(node)]
    assert len(whole) - sum(whole) == len(measuring)


def test_no_folder_of_this_machine_is_told_in_an_export(forms):
    here = str(Path(__file__).parents[3]).encode()
    for folder in forms.values():
        for file in folder.iterdir():
            assert here not in file.read_bytes(), file


def test_a_form_beyond_the_tolerance_is_not_written(run_folder, product, tmp_path):
    with pytest.raises(ArtifactError, match="differs by"):
        export(
            run_folder / "detector",
            read_dataset(product),
            tmp_path / "form",
            "onnx",
            tolerance=Tolerance(map=0, score=0),
        )
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_is_beyond_every_tolerance():
    with pytest.raises(ArtifactError, match="map differs by nan"):
        Parity(1, float("nan"), 0.0, 0.0, None, None).check(ANYTHING)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_is_said_how_far_scores_are_from_those_that_set_the_threshold(
    detector, product, tmp_path, precision, restored_logger, caplog
):
    restored_logger.propagate = True
    settings, weights = detector.config, detector.inspector.state_dict()
    calibrated = TrainedDetector(
        settings, weights, detector.calibration, device="cpu", precision=precision
    )
    calibrated.save(tmp_path / "detector")
    data, form = read_dataset(product), tmp_path / "form"
    parity = export(
        tmp_path / "detector", data, form, "onnx", tolerance=Tolerance(map=1e-4, score=1e-5)
    )
    told = json.loads((form / CARD).read_text(encoding="utf-8"))["parity"]
    assert told["calibrated_score"] == parity.calibrated_score
    assert parity.score <= 1e-5
    said = "the threshold was set in bf16, and in one of 20 photos this form's score" in caplog.text
    if precision == "fp32":
        assert parity.calibrated_score is None
        assert not said
    else:
        expected = compare(calibrated, Detector.load(form), data.test).score
        assert parity.calibrated_score == pytest.approx(expected, abs=1e-6)
        assert parity.calibrated_score > 1e-5
        assert said
        assert f"blemish calibrate {form}" in caplog.text


class Told(Detector):
    """A detector that gives the photos these scores, one after the other."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = iter(scores)

    def look(self, squares, *, reconstruct=True):
        raise NotImplementedError

    def predict_many(self, images, **how):
        assert how == {"reconstruct": False}
        for image in images:
            score = next(self.scores)
            yield Prediction(score, 0.5, 1.0, np.full(image.shape[:2], score, np.float32))


def test_one_photo_of_a_hundred_may_differ_and_ten_may_not(tmp_path):
    for index in range(100):
        write_sample(tmp_path, "good", f"{index}", np.full((8, 8, 3), index, np.uint8))
    records = read_dataset(tmp_path).test
    for outliers, beyond in ((1, False), (10, True)):
        scores = [0.9 if index < outliers else 0.1 for index in range(100)]
        found = compare(Told([0.0] * 100), Told(scores), records)
        assert (found.photos, found.worst_score) == (100, pytest.approx(0.9))
        expected = 0.9 if beyond else 0.1
        assert (found.score, found.map) == pytest.approx((expected, expected))


def test_a_folder_that_is_there_is_left_alone(run_folder, product, tmp_path):
    with pytest.raises(ArtifactError, match="exists"):
        export(run_folder / "detector", read_dataset(product), tmp_path, "onnx")


def test_what_an_engine_cannot_do_is_refused_before_any_work(run_folder, product, tmp_path):
    with pytest.raises(ConfigError, match="no bfloat16"):
        export(run_folder / "detector", read_dataset(product), tmp_path / "f", "onnx", "bf16")


def test_hundreds_of_passes_are_not_exported(detector):
    diffusion = detector.config.diffusion.model_copy(update={"reconstruction": "iterative"})
    config = detector.config.model_copy(update={"diffusion": diffusion})
    weights = detector.inspector.state_dict()
    slow = TrainedDetector(config, weights, detector.calibration, device="cpu")
    with pytest.raises(ConfigError, match="iterative reconstruction cannot be exported"):
        Graph(slow)


@pytest.fixture
def spoilt(forms, tmp_path) -> Path:
    """A copy of an exported detector."""
    return Path(shutil.copytree(forms["onnx f32"], tmp_path / "form"))


def test_a_changed_graph_is_refused(spoilt):
    with (spoilt / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="is not the file that the card was written for"):
        Detector.load(spoilt)


@pytest.mark.parametrize("missing", ["view", "files", "engine", "calibration"])
def test_a_card_with_a_part_missing_is_refused(spoilt, missing):
    card = json.loads((spoilt / CARD).read_text(encoding="utf-8"))
    del card[missing]
    (spoilt / CARD).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ArtifactError, match=missing):
        Detector.load(spoilt)


def test_another_precision_or_device_than_it_has_is_refused(spoilt):
    with pytest.raises(ConfigError, match="computes in f32, not in bf16"):
        Detector.load(spoilt, precision="bf16")
    with pytest.raises(ConfigError, match="has no 'toaster' here"):
        Detector.load(spoilt, device="toaster")


def test_photos_to_compare_on_are_of_every_label(product):
    dataset = read_dataset(product)
    assert [record.label for record in compared(dataset, 2)] == ["good", "scratch"]
    assert len(compared(dataset, None)) == len(dataset.test)


def test_the_time_of_every_form_is_told(forms, run_folder):
    for folder in (run_folder / "detector", forms["openvino f32"]):
        found = timed(folder, None, batch=2, seconds=0.05)
        assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
        assert found["images_per_second"] > 0
        assert found["memory_mib"] > 10
    with pytest.raises(BlemishError, match="is not a saved model"):
        timed(run_folder, None, seconds=0.05)


@pytest.mark.skipif(not EDGE.exists(), reason="`make test` makes an environment without PyTorch")
def test_where_there_is_no_pytorch_the_same_lines_are_printed(forms, blemish, product, tmp_path):
    photos = sorted((product / "test").rglob("*.png"))
    words = ["inspect", forms["onnx f32"], *photos, "--overlays"]
    here = blemish(*words, tmp_path / "here")
    there = subprocess.run(
        [EDGE, *map(str, words), str(tmp_path / "here")], capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in there.stdout.splitlines()] == here.lines
    torch_there = [EDGE.with_name("python"), "-c", "import torch"]
    assert subprocess.run(torch_there, capture_output=True, check=False).returncode != 0
    training = subprocess.run(
        [EDGE, "train", "x", "--out", "y"], capture_output=True, text=True, check=False
    )
    assert training.returncode == 2
    assert "blemish[train]" in training.stderr


def test_export_and_bench_print_what_they_found(blemish, run_folder, product, tmp_path):
    out = tmp_path / "form"
    said = blemish("export", run_folder / "detector", "--data", product, "--to", "onnx", "--out", out)
    assert said.code == 0
    assert said.lines[0]["out"] == str(out)
    assert said.lines[0]["photos"] == 6
    timing = blemish("bench", out, "--photos", product / "test", "--budget", "0.05s", "--batch", 2)
    assert timing.code == 0
    assert timing.lines[0]["detector"] == str(out)


def test_a_graph_is_the_inspector_with_its_own_noise(detector):
    square = torch.from_numpy(photo(64, 64)[None])
    with torch.inference_mode():
        values, score, picture = Graph(detector)(square, torch.ones(1, 64, 64, dtype=torch.bool))
    verdict = detector.predict(photo(64, 64))
    np.testing.assert_allclose(values[0].numpy(), verdict.map, atol=1e-6)
    assert float(score[0]) == pytest.approx(verdict.score, abs=1e-6)
    shown = np.rint(picture[0].numpy() * 255).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(shown, verdict.reconstruction)


def test_a_good_photo_is_enough_to_compare_on(run_folder, tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    Image.fromarray(draw_good("nut", 64, np.random.default_rng(0))).save(folder / "a.png")
    parity = export(run_folder / "detector", read_dataset(folder), tmp_path / "form", "onnx")
    assert parity.photos == 1
    assert parity.reference is None
