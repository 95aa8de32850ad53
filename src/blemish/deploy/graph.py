"""A trained detector as one ONNX graph: raw bytes of a square in, map, score and normal look out."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blemish.deploy.exported import GRAPH, Engine
from blemish.detection import TrainedDetector
from blemish.errors import ConfigError
from blemish.runtime import required
from blemish.verdicts import top_count

INPUTS = ("photo", "valid")
OUTPUTS = ("map", "score", "reconstruction")
SCOPES = "pkg.torch.onnx.name_scopes"
"""What a node's metadata calls the modules that it comes from."""


class Graph(nn.Module):
    """Everything between a square's bytes and its score: noise, both networks, evidence, map."""

    def __init__(self, detector: TrainedDetector) -> None:
        """`detector`: in float32, on the CPU.

        Raises:
            ConfigError: it denoises in hundreds of passes, which would be hundreds of copies.
        """
        super().__init__()
        if detector.config.diffusion.reconstruction == "iterative":
            raise ConfigError(
                "iterative reconstruction cannot be exported: each of its steps is a pass of its own",
                hint="train with diffusion.reconstruction=norm_guided or one_step",
            )
        self.inspector, self.field = detector.inspector, detector.field
        self.count = top_count(detector.view.size**2)

    def forward(self, photo: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the map (1, S, S), the score (1,) and the reconstruction (1, S, S, 3).

        photo: uint8 (1, S, S, 3); valid: bool (1, S, S), False on padding, which has no say in the
        score: the mean of the K largest valid pixels (`verdicts.image_score`). All are float32, maps
        and reconstruction in [0, 1].
        """
        logits, picture = self.inspector(photo, self.field(photo))
        values = logits[:, 0].sigmoid()
        inside = (values * valid).flatten(1)  # maps are never below 0: padding comes last
        count = valid.flatten(1).sum(1).clamp(1, self.count)
        score = inside.topk(self.count).values.sum(1) / count
        return values, score, picture.permute(0, 2, 3, 1)


def write_onnx(detector: TrainedDetector, path: Path) -> None:
    """Write the detector's graph as an ONNX file.

    One square at a time: so no result can depend on a batch.

    Raises:
        ConfigError: the detector denoises in hundreds of passes.
        DependencyError: the exporter is not installed.
    """
    size = detector.view.size
    example = (
        torch.zeros(1, size, size, 3, dtype=torch.uint8),
        torch.ones(1, size, size, dtype=torch.bool),
    )
    required("onnxscript", "export")  # what the exporter is written in
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            Graph(detector).eval(),
            example,
            dynamo=True,
            verbose=False,
            input_names=INPUTS,
            output_names=OUTPUTS,
        )
    assert program is not None  # noqa: S101 - only where a file was named to the exporter
    model = program.model_proto
    for node in model.graph.node:  # the exporter notes the whole call stack, with this machine's paths
        scopes = [p for p in node.metadata_props if p.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(scopes)
    path.write_bytes(model.SerializeToString())


def read_graph(source: Path, engine: Engine) -> Any:
    """Return an ONNX file as the engine's own kind of model.

    Raises:
        DependencyError: the engine is not installed.
    """
    if engine == "onnx":
        return required("onnx", "export").load(str(source))
    return required("openvino", "export").Core().read_model(str(source))


def save_graph(model: Any, folder: Path, engine: Engine) -> None:
    """Write a model, or what was made of it, into a folder where a detector looks for its graph."""
    path = str(folder / GRAPH[engine])
    if engine == "onnx":
        required("onnx", "export").save(model, path)
    else:
        required("openvino", "export").save_model(model, path, compress_to_fp16=False)
