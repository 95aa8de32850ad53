"""The trained inspector: its networks, and how it is saved and loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish import artifacts, config, hardware, runtime
from blemish.config import InspectorConfig
from blemish.detection.evidence import Usual
from blemish.detection.inspector import USUAL, Inspector
from blemish.detection.noise import NoiseField
from blemish.errors import ArtifactError
from blemish.verdicts import TRAINED, Calibration, Detector
from blemish.verdicts.detector import Photo

_FORMER = "memory.memories."


class TrainedDetector(Detector):
    """A calibrated inspector on PyTorch.

    config: all its settings; inspector: both networks; field: the noise that they are given.
    """

    def __init__(
        self,
        settings: InspectorConfig,
        weights: Mapping[str, Tensor],
        calibration: Calibration,
        facts: Mapping[str, Any] | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.config, self.view = settings, settings.data
        self.calibration = calibration
        self.facts = dict(facts or {})
        self.device = hardware.device(device)
        self.runs_on = str(self.device)
        self.dtype = hardware.precision(precision, self.device)
        self.precision = "bf16" if self.dtype == torch.bfloat16 else "fp32"
        self.inspector = Inspector(settings)
        try:
            self.inspector.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        self.inspector.to(self.device).to(memory_format=torch.channels_last).eval()
        self._prepared = hardware.prepared(self.inspector, self.dtype)
        self.field = NoiseField(settings.data.size).to(self.device)
        self._own: int | None = None

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> Self:
        """Return the detector that `train` saved; see `Detector.load`."""
        folder = Path(folder)
        hint = "give the detector folder that `blemish train` wrote"
        tensors, card = artifacts.load_kind(folder, TRAINED, "an", hint)
        if any(name.startswith(_FORMER) for name in tensors):
            raise ArtifactError(
                f"{folder} was trained by an earlier version, which remembered good photos otherwise",
                hint="train it again",
            )
        # Saved before there was a trust: what was learned counted once.
        tensors.setdefault("trust", torch.ones(()))
        try:
            # Saved before a colour could be a stain: none is.
            for name, value in zip(USUAL, Usual(tensors["ceiling"]), strict=True):
                tensors.setdefault(name, value)
            told, facts, settings = card["calibration"], card["facts"], config.parse(card["config"])
            calibration = Calibration.read(told)
            calibrated = told["precision"]
            chosen = calibrated if precision == "auto" else precision
            if chosen != calibrated:
                runtime.logger.warning(
                    "the threshold was set in %s, scores in %s differ a little", calibrated, chosen
                )
            found = cls(settings, tensors, calibration, facts, device=device, precision=chosen)
            found.known = frozenset(card.get("known", ()))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder} does not fit its own card: {error}") from error
        return found

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the detector to a folder, atomically: weights, settings, calibration and facts."""
        card = {
            "kind": TRAINED,
            "config": self.config.model_dump(mode="json"),
            "calibration": self.calibration.summary() | {"precision": self.precision},
            "facts": self.facts,
            "known": sorted(self.known),
        }
        artifacts.save_artifact(Path(folder), self.inspector.state_dict(), card)

    def scores_as_new(self, photos: Sequence[Photo], families: Sequence[int]) -> list[float]:
        """Return the scores that remembered photos would get, had the memory none of their families."""
        scores = []
        for photo, family in zip(photos, families, strict=True):
            self._own = family
            try:
                scores += [found.score for found in self.predict_many([photo], reconstruct=False)]
            finally:
                self._own = None
        return scores

    def look(
        self, squares: npt.NDArray[np.uint8], *, reconstruct: bool = True
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Return maps and reconstructions of squares; see `Detector.look`."""
        photo = torch.from_numpy(squares).to(self.device)
        own = None if self._own is None else torch.full((len(squares),), self._own, device=self.device)
        with torch.inference_mode(), hardware.autocast(self.device, self.dtype):
            logits, picture = self._prepared(photo, self.field(photo), own)
        maps = logits.float().sigmoid()[:, 0].cpu().numpy()
        if not reconstruct:
            return maps, None
        return maps, picture.float().permute(0, 2, 3, 1).cpu().numpy()
