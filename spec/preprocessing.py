"""What is done to a photograph before a network sees it: it belongs to the weights, not to the network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spec.config import Config, PositiveInt
from spec.errors import SpecError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class Preprocessing(Config):
    """From 8-bit pixels to the input of a network; the defaults are what the published DenseNets were trained with.

    A photograph is resized, its central square of `size` pixels cut out, its channels put in order, its
    values multiplied by `scale`; then `mean` is subtracted and the rest divided by `std`, channel by channel.
    """

    size: PositiveInt = Field(224, description="height and width of the network's input")
    resize: PositiveInt | None = Field(
        256, description="what the shorter side is resized to before the crop; none: both sides are resized to size"
    )
    interpolation: Interpolation = Field("bilinear", description="how it is resized")
    channel_order: Literal["RGB", "BGR"] = Field("RGB", description="which channel comes first")
    scale: float = Field(1 / 255, gt=0, allow_inf_nan=False, description="what 8-bit values are multiplied by")
    mean: Numbers = Field((0.485, 0.456, 0.406), description="subtracted from each channel, after the scale")
    std: Numbers = Field((0.229, 0.224, 0.225), description="what each channel is divided by, after that")

    @model_validator(mode="after")
    def _check(self) -> "Preprocessing":
        if len(self.mean) != len(self.std):
            raise SpecError(f"std should have {len(self.mean)} entries, one for each of mean, found {len(self.std)}")
        if not all(abs(value) < float("inf") for value in self.mean):
            raise SpecError(f"mean should be finite numbers, found {list(self.mean)}")
        if not all(0 < value < float("inf") for value in self.std):
            raise SpecError(f"std should be finite numbers above 0, found {list(self.std)}")
        if self.resize is not None and self.resize < self.size:
            raise SpecError(f"resize should be at least size ({self.size}), found {self.resize}")
        return self
