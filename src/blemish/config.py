"""Every dial of an inspector: frozen, validated, readable from and written to YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from blemish.errors import ConfigError
from blemish.presets import PRESETS
from blemish.runtime import atomic_write

Turn = Literal[
    "mirror", "flip", "half_turn", "quarter_turn", "three_quarter_turn", "transpose", "anti_transpose"
]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of dials: it cannot change, and an unknown name in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """How photos become network input, and which good photos are held out for validation.

    size: side of the network's square in pixels. framing: `letterbox` shrinks a photo to fit, keeping
    its aspect; `strips` shrinks its shorter side to fit and looks at windows along the longer one;
    `tiles` looks at windows of the photo's own resolution; `auto` takes strips where they show most
    good photos more than twice as large as letterbox would. overlap: share of a tile that its neighbour
    sees too. turns: mirror images and turns under which a good photo stays a good photo,
    used to vary the training photos; `auto` finds them by comparing photos. light: how much the light
    of training photos is varied, as the deviation of its logarithm; 0 = not at all. holdout: share of
    the good training photos kept for validation and calibration. holdout_at_least: the fewest parts
    that are kept (5 % takes 19), or a quarter of the photos if that is less.
    """

    size: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    framing: Literal["auto", "letterbox", "strips", "tiles"] = "letterbox"
    overlap: Annotated[float, Field(ge=0, le=0.98)] = 0.25
    turns: Literal["auto"] | tuple[Turn, ...] = ()
    light: Annotated[float, Field(ge=0, le=1)] = 0.0
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.15
    holdout_at_least: Count = 19


class SynthesisConfig(Section):
    """What the drawn training defects look like (DiffusionAD, section 4.4, and our additions).

    kind: `object` draws on the product only, `texture` anywhere; `auto` looks at the photos.
    monochrome: draw grey defects only; `auto` does so where all photos are grey, since colour would
    give the drawn defects away. textures: a folder of pictures such as DTD; None takes the procedural
    bank. stroke_share: share of masks drawn as cracks and scratches. shading_share: share of
    appearances that are a local change of the photo itself. missing_share: share of the defects where a
    piece is gone and an object's background shows, or the dark. examples_share: share of the defects
    shown that are examples, real or generated, where there are any. opacity: range of beta in Eq. 12.
    """

    kind: Literal["auto", "object", "texture"] = "auto"
    monochrome: Literal["auto"] | bool = False
    textures: Path | None = None
    stroke_share: Share = 0.0
    shading_share: Share = 0.0
    missing_share: Share = 0.0
    examples_share: Share = 0.75
    opacity: tuple[Share, Share] = (0.2, 0.8)

    @model_validator(mode="after")
    def _opacity_ascends(self) -> SynthesisConfig:
        if self.opacity[0] > self.opacity[1]:
            raise ValueError(f"expected opacity as low, high, got {self.opacity}")
        return self


class DiffusionConfig(Section):
    """The noise and the way back; fine_step < split <= anchor_step < steps.

    steps: length of the noise schedule. beta_start: the first beta of 1000 steps; another length scales
    it. beta_end: the last one; in between they lie on a line. prediction: what the network's output
    means, the `noise` (the paper) or the `clean` image, as it always does for an autoencoder. split:
    the step that parts small from large noise in training. fine_step: the small step at inference.
    anchor_step: the large step at inference, whose reconstruction is the guide. guidance: the weight w
    of Eq. 7. reconstruction: how the normal look is found; the other three are the rows of the paper's
    Table 3.
    """

    steps: Annotated[int, Field(ge=2)] = 1000
    beta_start: Positive = 1e-4
    beta_end: Positive = 2e-2
    prediction: Literal["noise", "clean"] = "noise"
    split: Count = 300
    fine_step: Annotated[int, Field(ge=0)] = 200
    anchor_step: Annotated[int, Field(ge=0)] = 400
    guidance: Annotated[float, Field(ge=0)] = 1.0
    reconstruction: Literal["norm_guided", "one_step", "iterative", "autoencoder"] = "norm_guided"

    @model_validator(mode="after")
    def _schedule_keeps_signal(self) -> DiffusionConfig:
        if max(self.beta_start, self.beta_end) * 1000 / self.steps >= 1:
            raise ValueError(
                "expected beta_start and beta_end below steps / 1000, got "
                f"{self.beta_start}, {self.beta_end} with {self.steps} steps"
            )
        return self

    @model_validator(mode="after")
    def _steps_in_order(self) -> DiffusionConfig:
        if not self.fine_step < self.split <= self.anchor_step < self.steps:
            raise ValueError(
                "expected fine_step < split <= anchor_step < steps, got "
                f"{self.fine_step}, {self.split}, {self.anchor_step}, {self.steps}"
            )
        return self


class DenoiserConfig(Section):
    """The reconstruction U-Net.

    width: channels of the first level. multipliers: channels of each level, in widths; each level
    halves the grid. blocks: residual blocks a level on the way down, one more on the way up. attention:
    sides of the grids that get self-attention; the middle always has it. heads: attention heads.
    groups: groups of the normalisation. patch: pixels of one side folded into one cell before the first
    convolution. resampling_blocks: change the grid inside residual blocks (the paper) or without
    weights.
    """

    width: Annotated[int, Field(ge=2, multiple_of=2)] = 128
    multipliers: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 1, 2, 2, 4, 4)
    blocks: Count = 2
    attention: tuple[Count, ...] = (32, 16, 8)
    heads: Count = 4
    groups: Count = 32
    patch: Count = 1
    resampling_blocks: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> DenoiserConfig:
        if any(self.width * multiplier % self.heads for multiplier in self.multipliers):
            raise ValueError(
                f"heads must divide the width of every level, got {self.heads} heads for width "
                f"{self.width} times {self.multipliers}"
            )
        return self


class SegmenterConfig(Section):
    """The network that compares a photo with its reconstruction.

    kind: `unet`, the paper's, on the two pictures; `features`, ours, also on ImageNet features of
    both. width: channels of the finest level.
    """

    kind: Literal["unet", "features"] = "unet"
    width: Count = 64


class TrainingConfig(Section):
    """How the networks learn.

    seed: decides weights, split, drawn defects and noise. normals: good photos in a global batch.
    defects: photos with a drawn defect in a global batch. denoiser_lr: learning rate of the denoiser.
    segmenter_lr: learning rate of the segmenter. weight_decay: weight decay of AdamW. warmup:
    iterations over which the learning rate rises, a tenth of the run at most. lr_iterations: how long
    a run the learning rates are meant for; a shorter one takes larger steps, up to twice as large.
    decay: share of the run over which the learning rate falls linearly to zero. clip: largest norm of
    the gradient. ema: decay of the averaged weights, which are the ones that are validated and kept.
    detach: the segmentation loss does not reach the denoiser (the paper lets it). precision: number
    format of the networks' arithmetic; `auto` takes `bf16` where it is fast. compile: compile the
    networks first; for long runs. workers: processes that draw the samples. validations: into how many
    parts they cut a run, fewer where they would take more than a quarter of a `--budget`; before the
    rate falls, every third is made. patience: validations without progress before the run stops; 0 =
    never. accumulation: micro-batches that a global batch is cut into evenly, to save memory.
    checkpoint_seconds: the least time between two checkpoints: what a killed run can lose.
    """

    seed: int = 0
    normals: Count = 8
    defects: Count = 8
    denoiser_lr: Positive = 1e-4
    segmenter_lr: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    lr_iterations: Annotated[int, Field(ge=0)] = 0
    decay: Share = 0.0
    clip: Positive = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    detach: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    workers: Annotated[int, Field(ge=0)] = 1
    validations: Count = 10
    patience: Annotated[int, Field(ge=0)] = 0
    accumulation: Count = 1
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0

    @model_validator(mode="after")
    def _micro_batches_are_alike(self) -> TrainingConfig:
        if self.normals % self.accumulation or self.defects % self.accumulation:
            raise ValueError("normals and defects must be multiples of accumulation")
        return self


class CalibrationConfig(Section):
    """The decision. false_alarm_rate: share of good photos that may be rejected."""

    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05


class InspectorConfig(Section):
    """Everything that decides what a trained inspector is."""

    preset: str = "paper"
    data: DataConfig = DataConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    segmenter: SegmenterConfig = SegmenterConfig()
    training: TrainingConfig = TrainingConfig()
    calibration: CalibrationConfig = CalibrationConfig()

    @model_validator(mode="after")
    def _grids_divide(self) -> InspectorConfig:
        cell = self.denoiser.patch * 2 ** (len(self.denoiser.multipliers) - 1)
        if self.data.size % cell:
            raise ValueError(
                f"data.size must be a multiple of {cell} for this denoiser, got {self.data.size}"
            )
        return self

    @model_validator(mode="after")
    def _features_fit_patches(self) -> InspectorConfig:
        patch = self.denoiser.patch
        if self.segmenter.kind == "features" and patch & (patch - 1):
            raise ValueError(
                "denoiser.patch must be a power of two with segmenter.kind features, whose grids "
                f"halve, got {patch}"
            )
        return self


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `overrides` laid over it, section by section."""
    result = dict(base)
    for name, value in overrides.items():
        old = result.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


Config = TypeVar("Config", bound=Section)


def parse(values: Mapping[str, Any]) -> InspectorConfig:
    """Return the configuration of an inspector that plain values describe.

    Raises:
        ConfigError: a name is unknown or a value is out of range; the message gives the dotted name.
    """
    return validated(InspectorConfig, values)


def validated(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Return the settings of this kind that plain values describe.

    Raises:
        ConfigError: a name is unknown or a value is out of range; the message gives the dotted name.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise ConfigError(
            f"{name}: {first['msg']}, got {first['input']!r}"
            if first["type"] != "extra_forbidden"
            else f"{name}: there is no such setting",
            hint="docs/configuration.md lists every setting with its range",
        ) from error


def preset(name: str, overrides: Mapping[str, Any] | None = None) -> InspectorConfig:
    """Return a named preset with `overrides` laid over it.

    Raises:
        ConfigError: no such preset, an override that does not fit, or one that names another preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"there is no preset {name!r}", hint=f"choose one of: {', '.join(sorted(PRESETS))}"
        )
    overrides = overrides or {}
    other = overrides.get("preset", name)
    if other != name:
        raise ConfigError(
            f"the settings over the preset {name!r} name another one: {other!r}",
            hint="choose one of the two",
        )
    return parse(merged(PRESETS[name], overrides))


def dotted(assignments: list[str]) -> dict[str, Any]:
    """Return nested values from `section.name=value` words; values are read as YAML.

    >>> dotted(["training.seed=3", "data.framing=tiles"])
    {'training': {'seed': 3}, 'data': {'framing': 'tiles'}}

    Raises:
        ConfigError: a word has no equals sign, or its value is not YAML.
    """
    result: dict[str, Any] = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"expected section.name=value, got {word!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}: {text!r} is not a value") from error
        for part in reversed(name.split(".")):
            value = {part: value}
        result = merged(result, value)
    return result


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file.

    Raises:
        ConfigError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected sections of settings")
    return values


def write_yaml(path: Path, config: Section) -> None:
    """Write the whole configuration as YAML, atomically."""
    with atomic_write(path, "w") as file:
        yaml.safe_dump(config.model_dump(mode="json"), file, sort_keys=False)
