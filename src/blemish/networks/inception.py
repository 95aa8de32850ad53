"""InceptionV3 as the metrics of generated pictures know it: of 2015, through torch-fidelity."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish.errors import ArtifactError, DependencyError
from blemish.networks.published import Published, find_weights, read_weights
from blemish.synthesis.arrays import Image

INCEPTION = Published(
    "InceptionV3",
    # one file of two names: pytorch-fid's and torch-fidelity's
    ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
)


class Seen(NamedTuple):
    """What Inception sees. features: float32 (n, 2048); classes: probabilities, float64 (n, 1008)."""

    features: npt.NDArray[np.float32]
    classes: npt.NDArray[np.float64]


class Inception:
    """InceptionV3 with TensorFlow's weights of 2015-12-05, frozen; `open_inception` opens it."""

    name = "InceptionV3"

    def __init__(
        self, extractor: Callable[[Tensor], tuple[Tensor, Tensor]], device: torch.device
    ) -> None:
        """`extractor`: from uint8 (B, 3, H, W) to features and logits, on the device."""
        self._extractor, self._device = extractor, device

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image]) -> Seen:
        """Return what it sees of pictures, uint8 (H, W, 3), of any sizes: each is resized to 299 x 299.

        The last layer's bias is left out of the classes, as torch-fidelity does for its score.
        """
        seen = Seen(np.zeros((len(pictures), 2048), np.float32), np.zeros((len(pictures), 1008)))
        for index, picture in enumerate(pictures):
            tensor = torch.from_numpy(np.array(picture)).to(self._device).permute(2, 0, 1)[None]
            features, logits = self._extractor(tensor)
            seen.features[index] = features[0].cpu().numpy()
            seen.classes[index] = logits[0].double().softmax(0).cpu().numpy()
        return seen


def open_inception(weights: Path | None = None, device: torch.device | None = None) -> Inception:
    """Return InceptionV3 with its weights from a file or folder, None = where they may lie.

    Raises:
        ArtifactError: there are none (see `find_weights`), or they are damaged.
        DependencyError: torch-fidelity is not installed.
    """
    file = find_weights(INCEPTION, weights)
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise DependencyError(
            "torch-fidelity, which brings InceptionV3, is not installed",
            hint="pip install 'blemish[metrics]'",
        ) from error
    # It would run what code a file holds: it is given a copy of the tensors alone.
    tensors = io.BytesIO()
    torch.save(read_weights(file), tensors)
    tensors.seek(0)
    try:
        extractor = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=tensors
        )
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{file} is not the weights of InceptionV3 as torch-fidelity knows it: {error}",
            hint=f"get it from {INCEPTION.source}",
        ) from error
    where = torch.device("cpu") if device is None else device
    return Inception(extractor.to(where), where)
