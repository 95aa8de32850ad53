from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from blemish.artifacts import write_card
from blemish.deploy.exported import GRAPH, ExportedDetector
from blemish.errors import ArtifactError, ConfigError
from blemish.runtime import file_sha256
from blemish.verdicts import EXPORTED

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
EXACT = {"use_tf32": "0"}


CARD = {
    "kind": EXPORTED,
    "engine": "onnx",
    "precision": "f32",
    "view": {"size": 64, "framing": "letterbox", "overlap": 0.25},
    "calibration": {"scores": [0.5], "false_alarm_rate": 0.5},
    "facts": {},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported detector whose graph is nothing."""
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"nothing")
    write_card(tmp_path, {**CARD, "files": {graph.name: file_sha256(graph)}})
    return tmp_path


class Machine:
    """An ONNX Runtime that offers CUDA. works: what becomes of a session that asks for it."""

    def __init__(self, works: bool | Exception) -> None:
        self.works, self.asked = works, []

    def session(
        self, *_: object, providers: list[tuple[str, dict[str, str]]], enable_fallback: bool
    ) -> Machine:
        assert not enable_fallback
        self.asked.append(providers[0])
        name = providers[0][0]
        if name == CUDA and isinstance(self.works, Exception):
            raise self.works
        self.running = [CUDA, CPU] if name == CUDA and self.works else [CPU]
        return self

    def get_providers(self) -> list[str]:
        return self.running


@pytest.fixture
def machine(monkeypatch):
    def made(works: bool | Exception) -> Machine:
        found = Machine(works)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", found.session)
        return found

    return made


@pytest.mark.parametrize(
    ("device", "asked", "runs_on"),
    [
        ("auto", (CUDA, EXACT), "CUDA"),
        ("cuda", (CUDA, EXACT), "CUDA"),
        ("cuda:1", (CUDA, {"device_id": "1", **EXACT}), "CUDA"),
        ("cpu", (CPU, {}), "CPU"),
    ],
)
def test_the_device_that_is_asked_for_runs(folder, machine, device, asked, runs_on):
    here = machine(works=True)
    found = ExportedDetector.load(folder, device=device)
    assert here.asked == [asked]
    assert found.runs_on == f"ONNX Runtime {onnxruntime.__version__}, {runs_on}"


BROKEN = [False, RuntimeError("invalid device ordinal"), Exception("out of memory")]


@pytest.mark.parametrize("works", BROKEN)
@pytest.mark.parametrize("device", ["cuda", "cuda:9"])
def test_a_graphics_card_asked_for_by_name_is_never_another_device(folder, machine, device, works):
    machine(works)
    with pytest.raises(ConfigError, match=f"does not run on '{device}'") as caught:
        ExportedDetector.load(folder, device=device)
    assert str(works or "left out") in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("works", BROKEN)
def test_auto_takes_the_processor_where_cuda_does_not_work_and_says_so(
    folder, machine, works, restored_logger, caplog
):
    restored_logger.propagate = True
    machine(works)
    assert ExportedDetector.load(folder).runs_on.endswith(", CPU")
    assert "does not run on CUDA" in caplog.text


@pytest.mark.parametrize(("engine", "graph"), GRAPH.items())
def test_a_graph_that_the_runtime_cannot_read_is_told_as_such(tmp_path, engine, graph):
    (tmp_path / graph).write_bytes(b"of a version to come")
    card = {**CARD, "engine": engine, "files": {graph: file_sha256(tmp_path / graph)}}
    write_card(tmp_path, card)
    with pytest.raises(ArtifactError, match=rf"cannot read .*{graph}") as caught:
        ExportedDetector.load(tmp_path, device="cpu")
    assert "export again" in caught.value.hint


def test_a_card_without_a_number_is_refused(folder, machine):
    machine(works=True)
    with pytest.raises(ConfigError, match="has no 'cuda:x' here"):
        ExportedDetector.load(folder, device="cuda:x")


def test_the_precision_of_its_own_is_known_by_either_name(folder, machine):
    machine(works=True)
    for name in ("auto", "fp32", "f32"):
        assert ExportedDetector.load(folder, precision=name).precision == "f32"
    with pytest.raises(ConfigError, match="computes in f32, not in bf16"):
        ExportedDetector.load(folder, precision="bf16")
