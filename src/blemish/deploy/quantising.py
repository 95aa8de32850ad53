"""Eight-bit graphs by NNCF: convolutions in whole numbers, every distance between features in float."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from blemish.deploy.exported import Engine
from blemish.deploy.graph import SCOPES, read_graph
from blemish.runtime import required
from blemish.verdicts.detector import Squares

_CONVOLUTIONS = {"Conv", "Convolution", "GroupConvolution"}
_WITHOUT_BIAS = "/WithoutBiases"  # what OpenVINO adds to the name where it takes the bias apart

SHOWN = 128
"""Good squares that set the ranges."""


def quantised(source: Path, model: Any, engine: Engine, squares: Iterable[Squares]) -> Any:
    """Return a float model with eight-bit convolutions.

    What is measured stays in float: the photo's features, whose distances tell a defect, and all that
    is done with them. The networks that learned, which are most of the work, go to eight bits. source:
    the ONNX file that the model was read from; squares: good ones, uint8 (S, S, 3).

    Raises:
        DependencyError: NNCF is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # or it tells its makers of its use
    nncf = required("nncf", "export")
    nodes = (model if engine == "onnx" else read_graph(source, "onnx")).graph.node
    exact = {node.name for node in nodes if _measures(node)}
    if engine == "onnx":
        kinds = {node.op_type for node in nodes}
    else:
        kinds = {op.get_type_name() for op in model.get_ops()} - {"Constant", "Parameter"}
        names = [op.get_friendly_name() for op in model.get_ops()]
        exact = {name for name in names if name.removesuffix(_WITHOUT_BIAS) in exact}
    return nncf.quantize(
        model,
        nncf.Dataset(list(_inputs(squares))),
        subset_size=SHOWN,
        # NNCF 3.4 stops at convolutions of ours in ONNX where it would correct their biases.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            disable_bias_correction=engine == "onnx"
        ),
        ignored_scope=nncf.IgnoredScope(names=sorted(exact), types=sorted(kinds - _CONVOLUTIONS)),
    )


def _measures(node: Any) -> bool:
    """Return whether a convolution belongs to the encoder that looks at the photo."""
    scopes = [p.value for p in node.metadata_props if p.key == SCOPES]
    return node.op_type == "Conv" and any("inspector.encoder" in scope for scope in scopes)


def _inputs(squares: Iterable[Squares]) -> Iterator[dict[str, Any]]:
    for square in squares:
        yield {"photo": square[None], "valid": np.ones((1, *square.shape[:2]), np.bool_)}
