"""Every dial of a generator: frozen, validated, readable from and written to YAML."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from blemish.config import Count, Positive, Section, Share, Turn


class ProductConfig(Section):
    """What is known about the product.

    kind: on an `object` defects lie on the product only, on a `texture` anywhere; `auto` looks at the
    photos. turns: mirror images and turns under which a good photo stays a good photo; `auto` finds
    them by comparing photos.
    """

    kind: Literal["auto", "object", "texture"] = "auto"
    turns: Literal["auto"] | tuple[Turn, ...] = "auto"


class MasksConfig(Section):
    """How far the mask of a generated defect may be from that of a real one.

    rotation: degrees to both sides. scale_low: smallest factor. scale_high: largest one; without these
    two, sizes scatter as those of the type's real defects do. bend: typical elastic displacement, as a
    share of the mask's reach. stray: how often a mask goes anywhere on the product, whatever places its
    type keeps to.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    scale_low: Positive | None = None
    scale_high: Positive | None = None
    bend: Annotated[float, Field(ge=0, lt=0.5)] = 0.06
    stray: Share = 0.5

    @model_validator(mode="after")
    def _scale_in_order(self) -> MasksConfig:
        low, high = self.scale_low, self.scale_high
        if (low is None) != (high is None):
            raise ValueError("expected both scale_low and scale_high, or neither")
        if low is not None and high is not None and low > high:
            raise ValueError("expected scale_low <= scale_high")
        return self

    def scale(self, spread: float) -> tuple[float, float]:
        """Return the limits of a factor that is uniform in logarithm.

        spread: the deviation of that logarithm, where no limits are set.
        """
        if self.scale_low is None or self.scale_high is None:
            return math.exp(-math.sqrt(3) * spread), math.exp(math.sqrt(3) * spread)
        return self.scale_low, self.scale_high


class LearningConfig(Section):
    """How the look and place of defects are learned (AnomalyDiffusion, section 3.2).

    backbone: `embedded`, a folder in diffusers' layout, or the name of one. anomaly_tokens: k, learned
    for each type. spatial_tokens: n, read off the mask. encoder: of masks, `small` or the `paper`'s.
    spatial: False leaves the tokens of the place out, the paper's ablation. masked: False counts the
    error everywhere, another. network: whether the backbone's network adapts too, which the embedded
    one can. batch: photos an update. embedding_lr: rate of the tokens. encoder_lr: of the encoder.
    network_lr: of the network. masks: whether the shapes of masks are learned too,
    in as much time again (Eq. 9). precision: arithmetic of the networks; `auto` takes bf16 where it is
    quick. seed: decides every draw.
    """

    backbone: str = "embedded"
    anomaly_tokens: Count = 8
    spatial_tokens: Count = 4
    encoder: Literal["small", "paper"] = "small"
    spatial: bool = True
    masked: bool = True
    network: bool = True
    batch: Count = 8
    embedding_lr: Positive = 5e-3
    encoder_lr: Positive = 1e-4
    network_lr: Positive = 1e-4
    masks: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 0


class PaintingConfig(Section):
    """How a defect is painted.

    painter: `patches` composes it of patches of the real defects, `network` asks the backbone alone,
    `mixed` lets the network decide what is coarse and the patches what is fine. handover: the noise, in
    deviations of the product's pixels, at which the patches of `mixed` take over. sources: real defects
    whose patches a painting is made of. loyalty: how often the first of them is the one whose mask is
    used. solver: `ddim`, or `multistep`, which is DPM-Solver++(2M). steps: of the solver. spacing: the
    power by which they lie closer where little noise is left, 1 for even ones, as in the paper. eta:
    fresh noise of DDIM, 1 in the paper. guidance: scale of classifier-free guidance, 1 for none.
    reweighting: which reading of Eq. 7; `auto` takes `tempered` for types whose painting leaves the
    mask unfilled, `prompt_to_prompt` puts the mask in the place of the attention (the paper's Table 9).
    form: how the weights enter the attention; `logit_add` weighs learned tokens against others, so on
    the embedded backbone, which has no others, only `probs` and `logit_mul` do anything. shrink: cells
    by which a mask starts larger. feather: pixels over which a painting fades in. lookalikes: of so
    many good photos the one is painted on that is lit most like the photo of the mask; with 1, defects
    are painted in every light that good photos have. transplants: how often the real defect is moved
    pixel by pixel, in the light that it was taken in, instead of painting one; never one at an object's
    edge.
    """

    painter: Literal["patches", "mixed", "network"] = "patches"
    handover: Positive = 1.5
    sources: Count = 1
    loyalty: Share = 0.5
    solver: Literal["ddim", "multistep"] = "ddim"
    steps: Count = 10
    spacing: Annotated[float, Field(ge=1)] = 2.0
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    guidance: Annotated[float, Field(ge=0)] = 1.0
    reweighting: Literal["off", "auto", "paper", "reference", "tempered", "prompt_to_prompt"] = "off"
    form: Literal["logit_add", "logit_mul", "probs"] = "logit_add"
    shrink: Annotated[int, Field(ge=0)] = 0
    feather: Annotated[int, Field(ge=0)] = 0
    lookalikes: Count = 1
    transplants: Share = 0.5

    @field_validator("reweighting", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        """Return `off` where YAML has made a boolean of it."""
        return "off" if value is False else value


class QualityConfig(Section):
    """What becomes of a pair that does not pass the gate.

    attempts: paintings that are tried for each pair before the best of them is kept and marked.
    """

    attempts: Count = 4


class GeneratorConfig(Section):
    """Everything that decides what a generator paints."""

    product: ProductConfig = ProductConfig()
    masks: MasksConfig = MasksConfig()
    learning: LearningConfig = LearningConfig()
    painting: PaintingConfig = PaintingConfig()
    quality: QualityConfig = QualityConfig()
