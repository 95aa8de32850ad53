"""An exported detector: a graph and its card, run by ONNX Runtime or OpenVINO, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np

from blemish.artifacts import check_kind, read_card
from blemish.errors import ArtifactError, ConfigError
from blemish.runtime import file_sha256, logger, required
from blemish.verdicts import EXPORTED, Calibration, Detector
from blemish.verdicts.detector import Planes, Squares

Engine = Literal["onnx", "openvino"]
Precision = Literal["f32", "bf16", "int8"]
GRAPH: Mapping[Engine, str] = {"onnx": "model.onnx", "openvino": "model.xml"}


class Runner(Protocol):
    """A graph at work."""

    def __call__(self, squares: Squares) -> list[tuple[Planes, Planes]]:
        """Return map (S, S) and reconstruction (S, S, 3) of each square, uint8 (B, S, S, 3)."""


@dataclass(frozen=True, slots=True)
class ExportedView:
    """How photos become squares; see `verdicts.Viewing`."""

    size: int
    framing: str
    overlap: float


class ExportedDetector(Detector):
    """A calibrated inspector whose networks are one exported graph.

    card: all that is known about it, with the parity that was measured when it was exported.
    """

    def __init__(self, card: Mapping[str, Any], runner: Runner, runs_on: str) -> None:
        self.card, self.runner, self.runs_on = dict(card), runner, runs_on
        self.calibration = Calibration.read(card["calibration"])
        self.view = ExportedView(**card["view"])
        self.precision = str(card["precision"])
        self.facts = dict(card["facts"])
        self.known = frozenset(card.get("known", ()))

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> Self:
        """Return the detector that `export` wrote; see `Detector.load`.

        device: `cpu`, or `cuda` or `cuda:1` for a graph that ONNX Runtime runs; `auto` takes a graphics
        card where one works. precision: its own (`fp32` is `f32`), or `auto`.

        Raises:
            ArtifactError: the folder is no exported detector, or a file is missing or has changed.
            ConfigError: the runtime has no such device, or the precision is another.
            DependencyError: the runtime is not installed.
        """
        folder = Path(folder)
        card = read_card(folder)
        check_kind(folder, card, EXPORTED, "an", "give the folder that `blemish export` wrote")
        try:
            engine, own, files = card["engine"], card["precision"], card["files"]
            start = _STARTERS[engine]
            _check_files(folder, files)
            if precision not in ("auto", own) and (precision, own) != ("fp32", "f32"):
                raise ConfigError(
                    f"{folder} computes in {own}, not in {precision}",
                    hint=f"export again with --precision, where the engine has it; this one is {own}",
                )
            runner, runs_on = start(folder / GRAPH[engine], own, device)
            return cls(card, runner, runs_on)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder} does not fit its own card: {error}") from error

    def look(self, squares: Squares, *, reconstruct: bool = True) -> tuple[Planes, Planes | None]:
        """Return maps and reconstructions of squares; see `Detector.look`."""
        found = self.runner(squares)
        maps = np.stack([values for values, _ in found])
        return maps, np.stack([picture for _, picture in found]) if reconstruct else None


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, sha256 in files.items():
        path = folder / Path(name).name
        if not path.is_file() or file_sha256(path) != sha256:
            raise ArtifactError(
                f"{path} is missing or is not the file that the card was written for",
                hint="copy the whole folder again, or export again",
            )


def _onnx(path: Path, precision: str, device: str) -> tuple[Runner, str]:
    """Return a graph in ONNX Runtime, on a graphics card where it has one."""
    del precision  # in the graph itself
    onnxruntime = required("onnxruntime", "edge")
    session = _session(onnxruntime, path, device)
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    runs_on = f"ONNX Runtime {onnxruntime.__version__}, {provider}"

    def run(squares: Squares) -> list[tuple[Planes, Planes]]:
        valid = np.ones((1, *squares.shape[1:3]), np.bool_)
        wanted = ["map", "reconstruction"]
        answers = [session.run(wanted, {"photo": one[None], "valid": valid}) for one in squares]
        return [(values[0], picture[0]) for values, picture in answers]

    return run, runs_on


def _session(onnxruntime: Any, path: Path, device: str) -> Any:
    """Return a session that runs where it was asked to; `auto`: on CUDA if that works, else here.

    Raises:
        ConfigError: ONNX Runtime has no such device, or does not get it to run.
        ArtifactError: the processor cannot run the graph.
    """
    offered = onnxruntime.get_available_providers()
    name, _, number = device.partition(":")
    kinds = ["CUDA", "CPU"] if device == "auto" else [name.upper()]
    wanted = [kind for kind in kinds if f"{kind}ExecutionProvider" in offered]
    if not wanted or not (number or "0").isdecimal():
        raise ConfigError(
            f"ONNX Runtime has no {device!r} here: it has {', '.join(offered)}",
            hint="leave the device at auto, or install onnxruntime-gpu",
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for kind in wanted:
        provider, why = f"{kind}ExecutionProvider", "it was left out"
        settings = {"device_id": number} if number else {}
        if kind == "CUDA":
            settings["use_tf32"] = "0"  # never the default: it rounds what is multiplied to ten bits
        try:
            # Its own fallback talks on stdout, and takes the processor whatever was asked for.
            session = onnxruntime.InferenceSession(
                str(path), options, providers=[(provider, settings)], enable_fallback=False
            )
            if session.get_providers()[0] == provider:
                return session
        except Exception as error:  # noqa: BLE001 - its errors have no class in common
            why = str(error)
        if kind != wanted[-1]:
            logger.warning("ONNX Runtime does not run on %s: %s", kind, why)
    if wanted[-1] == "CPU":  # which every installation has: what it cannot read is the graph
        raise _unreadable(path, f"ONNX Runtime {onnxruntime.__version__}", why)
    raise ConfigError(
        f"ONNX Runtime does not run on {device!r}: {why}",
        hint="leave the device at auto, or install the CUDA libraries that onnxruntime-gpu needs",
    )


def _openvino(path: Path, precision: str, device: str) -> tuple[Runner, str]:
    """Return a graph in OpenVINO: all cores on one square, or one square for each core."""
    openvino = required("openvino", "openvino")
    core, runtime = openvino.Core(), f"OpenVINO {openvino.__version__.partition('-')[0]}"
    where = "CPU" if device == "auto" else device.upper()
    if where not in core.available_devices:
        raise ConfigError(
            f"OpenVINO has no {device!r} here: it has {', '.join(core.available_devices)}",
            hint="leave the device at auto",
        )
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise _unreadable(path, runtime, str(error)) from error
    # What int8 leaves in floating point is measured in features, for which bf16 is enough.
    native = "BF16" in core.get_property(where, "OPTIMIZATION_CAPABILITIES")
    inside = "bf16" if precision == "bf16" or (precision == "int8" and native) else "f32"

    def compiled(hint: str) -> Any:
        # Never the default: where the processor can, OpenVINO computes in bf16 without being asked.
        settings = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": inside}
        return core.compile_model(model, where, settings)

    one_by_one = compiled("LATENCY")
    side_by_side: list[Any] = []  # compiled when first several squares come at once

    def run(squares: Squares) -> list[tuple[Planes, Planes]]:
        valid = np.ones((1, *squares.shape[1:3]), np.bool_)
        if len(squares) == 1:
            answer = one_by_one({"photo": squares, "valid": valid})
            return [(answer["map"][0].copy(), answer["reconstruction"][0].copy())]
        if not side_by_side:
            side_by_side.append(openvino.AsyncInferQueue(compiled("THROUGHPUT")))
        queue, found = side_by_side[0], [None] * len(squares)
        queue.set_callback(_collect(found))
        for index, square in enumerate(squares):
            queue.start_async({"photo": square[None], "valid": valid}, index)
        queue.wait_all()
        return found  # type: ignore[return-value]

    beside = f", {inside} beside int8" if precision == "int8" else ""
    return run, f"{runtime}, {where}{beside}"


def _unreadable(path: Path, runtime: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"{runtime} cannot read {path}: {why}",
        hint="install the version that the card names or a newer one, or export again",
    )


def _collect(found: list[Any]) -> Callable[[Any, int], None]:
    def take(request: Any, index: int) -> None:
        values, picture = (request.get_tensor(name).data for name in ("map", "reconstruction"))
        found[index] = (values[0].copy(), picture[0].copy())

    return take


_STARTERS: Mapping[Engine, Callable[[Path, str, str], tuple[Runner, str]]] = {
    "onnx": _onnx,
    "openvino": _openvino,
}
