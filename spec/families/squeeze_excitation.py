"""Where a network has squeeze-and-excitation, and how narrow its gates are.

Hu, Shen & Sun: Squeeze-and-Excitation Networks. CVPR 2018.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from spec.blocks import SqueezeExcitation
from spec.config import Config, PositiveInt
from spec.errors import SpecError
from spec.tree import Chain

Placement = Literal["layer", "block", "transition", "final"]


def _listed(value: object) -> object:
    """One word stands for a list of it."""
    return [value] if isinstance(value, str) else value


class SqueezeExcitationConfig(Config):
    """Where squeeze-and-excitation goes, and how narrow its gates are (Hu et al. 2018, section 3)."""

    ratio: PositiveInt = Field(16, description="reduction: the gate of C channels has C // ratio hidden ones")
    placement: Annotated[tuple[Placement, ...], Field(strict=False, min_length=1), BeforeValidator(_listed)] = Field(
        ("final",),
        description=(
            "any of layer (on each dense layer's new channels), block (after each dense block), "
            "transition (after each transition), final (once, before the last norm)"
        ),
    )
    bias: bool = Field(True, description="whether its two linear layers have a bias")


def gate(config: SqueezeExcitationConfig | None, placement: Placement, channels: int) -> SqueezeExcitation | None:
    """The gate of `channels` channels, or None where the config places none."""
    if config is None or placement not in config.placement:
        return None
    if channels < config.ratio:
        raise SpecError(
            f"squeeze_excitation.ratio {config.ratio} leaves no hidden channel at placement {placement!r}, "
            f"where there are {channels}: use a ratio of at most {channels}"
        )
    return SqueezeExcitation(channels, channels // config.ratio, bias=config.bias)


def placed(config: SqueezeExcitationConfig | None, placement: Placement, name: str, channels: int) -> Chain:
    """The gate under its name; empty where the config places none."""
    node = gate(config, placement, channels)
    return () if node is None else ((name, node),)


def _at_block_or_final(config: SqueezeExcitationConfig | None) -> SqueezeExcitationConfig | None:
    for placement in config.placement if config else ():
        if placement not in ("block", "final"):
            raise SpecError(f"placement {placement!r} does not exist here: use 'block' or 'final'")
    return config


AtBlockOrFinal = Annotated[SqueezeExcitationConfig | None, AfterValidator(_at_block_or_final)]
