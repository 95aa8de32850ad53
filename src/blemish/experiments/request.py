"""What somebody asks of an experiment: data, scale, seeds, and whose work joins in."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from blemish import hardware
from blemish.config import InspectorConfig, merged, preset, validated
from blemish.data import Dataset, read_dataset
from blemish.data.benchmarks import find_benchmark
from blemish.data.layouts import MANIFEST
from blemish.errors import DatasetError
from blemish.experiments.grid import Cell, fingerprint, other_versions
from blemish.experiments.protocol import Scale
from blemish.experiments.variants import GENERATION
from blemish.generator_config import GeneratorConfig
from blemish.runtime import logger
from blemish.training import Plan
from blemish.version import __version__


@dataclass(frozen=True)
class Request:
    """What is asked for.

    data: a benchmark's tree, or one product. out: the experiment's folder; what is in it is not done
    again. methods: for localisers; None takes all. categories: only these products. generated, maps:
    name and folder of other people's pairs and score maps, which holds one for each product unless
    there is only one. variant: of an ablation. inspector, generator: settings laid over those of the
    scale; plan: of the generator's network. lpips, inception: where weights lie of which further
    figures are made.
    """

    data: Path
    out: Path
    scale: Scale
    seeds: Sequence[int] = (0,)
    methods: Sequence[str] | None = None
    categories: Sequence[str] = ()
    generated: Mapping[str, Path] = field(default_factory=dict)
    maps: Mapping[str, Path] = field(default_factory=dict)
    variant: str = "parts"
    paper_protocol: bool = False
    inspector: Mapping[str, object] = field(default_factory=dict)
    generator: Mapping[str, object] = field(default_factory=dict)
    plan: Plan | None = None
    lpips: Path | None = None
    inception: Path | None = None
    devices: Sequence[str] = ("auto",)
    command: str = ""

    def products(self) -> dict[str, Dataset]:
        """Return the datasets that are asked for, by name.

        Raises:
            DatasetError: there is no dataset, or no such category.
        """
        single = (self.data / MANIFEST).is_file()  # it knows more than the folders that it lies beside
        found = {} if single else find_benchmark(self.data)
        if not found:
            found = {self.data.resolve().name: read_dataset(self.data)}
        unknown = sorted(set(self.categories) - set(found))
        if unknown:
            raise DatasetError(
                f"{self.data} has no {', '.join(unknown)}", hint=f"it has: {', '.join(found)}"
            )
        return {n: d for n, d in found.items() if not self.categories or n in self.categories}

    def settings(self, seed: int, overrides: Mapping[str, object] | None = None) -> InspectorConfig:
        """Return a detector's settings."""
        values = merged(self.inspector, overrides or {})
        return preset(self.scale.preset, merged(values, {"training": {"seed": seed}}))

    def generator_settings(self, overrides: Mapping[str, object] | None = None) -> GeneratorConfig:
        """Return the generator's settings."""
        asked = merged(self.scale.generator, self.generator)
        return validated(GeneratorConfig, merged(asked, overrides or {}))

    def generators(self) -> dict[str, GeneratorConfig]:
        """Return the settings of each row of a generator's ablation, no two rows alike.

        Where the scale or what is asked for makes a row equal to one before it, it is left out; rows of
        `shares` differ in what is learned from.
        """
        found: dict[str, GeneratorConfig] = {}
        for row, overrides in GENERATION[self.variant].items():
            config = self.generator_settings(overrides)
            same = [name for name, other in found.items() if other == config]
            if same and self.variant != "shares":
                logger.warning("%r is left out: here it is the same as %r", row, same[0])
            else:
                found[row] = config
        return found

    def notes(self, cells: Sequence[Cell], done: int, asked: int) -> list[str]:
        """Return what must be known before figures are believed. done, asked: numbers of products."""
        left = f"Not finished: {done} of {asked} products so far. The same command goes on."
        single = "One seed: another may move a figure by more than its interval says."
        return [
            *([left] if done < asked else []),
            *([single] if len(self.seeds) == 1 else []),
            *other_versions(cells, self.out),
        ]

    def facts(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Return what it takes to repeat the experiment, in words."""
        return {
            "scale": self.scale.name,
            "seeds": ", ".join(map(str, self.seeds)),
            "data": self.data.resolve().name,
            "settings, seeds and contents of photos and masks": fingerprint(cells, self.out),
            "blemish": __version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {hardware.model(hardware.device(self.devices[0]))}",
        }
