"""What all configs share: frozen, strict, and refused in one sentence."""

from abc import abstractmethod
from math import prod
from reprlib import Repr
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from spec.errors import SpecError, nearest
from spec.layers import BatchNorm
from spec.tree import LIMIT, Chain, Node, output_shape

SHORT = Repr()  # of what a message repeats: a value may have thousands of digits
SHORT.maxlong = SHORT.maxstring = SHORT.maxother = 60

DEEPEST = 10**4  # more layers than any network has
PositiveInt = Annotated[int, Field(gt=0, le=LIMIT)]


def _not_too_deep(block_config: tuple[int, ...]) -> tuple[int, ...]:
    if sum(block_config) > DEEPEST:
        raise ValueError(f"should have at most {DEEPEST} layers in all")
    return block_config


BlockConfig = Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1), AfterValidator(_not_too_deep)]
FAMILY = "which kind of network the fields describe"


class Config(BaseModel):
    """A validated, immutable set of fields; a wrong one raises SpecError that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise SpecError(_sentence(type(self), error)) from None


class NetworkConfig(Config):
    """What all networks have: the images they take and the classes they tell apart."""

    family: str
    in_channels: PositiveInt = Field(3, description="channels of the input images")
    num_classes: PositiveInt = Field(1000, description="outputs of the classifier")
    classifier_activation: Literal["softmax", "sigmoid"] | None = Field(
        None, description="none: the outputs are logits"
    )
    input_size: PositiveInt = Field(224, description="published height and width")

    @abstractmethod
    def nodes(self) -> Chain:
        """The root's children; raises SpecError where no such network exists."""

    def flattened(self, features: Node) -> int:
        """How many features the maps of `features` flatten to at input_size; raises TooSmall where none are left."""
        return prod(output_shape(features, (self.in_channels, self.input_size, self.input_size)))


class NormedConfig(NetworkConfig):
    """What networks with batch norms have besides."""

    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance in batch norm")
    decay: float = Field(0.9, ge=0, lt=1, description="share of the old running statistic that an update keeps")

    def batch_norm(self, channels: int) -> BatchNorm:
        """A batch norm with these numbers."""
        return BatchNorm(channels, eps=self.eps, decay=self.decay)


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    """The first of pydantic's complaints, as `field: what was expected, found what`."""
    complaint = error.errors(include_url=False)[0]
    kind, found = complaint["type"], complaint["input"]
    field = ".".join(str(part) for part in complaint["loc"])
    cause = complaint.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):  # raised by a validator, or by a config inside this one
        return f"{field}.{cause}" if field else str(cause)
    if kind == "extra_forbidden":
        return f"{field}: unknown field, {nearest(field, model.model_fields)}"
    if kind == "missing":
        return f"{field}: missing, expected the {model.model_fields[field].description}"
    if kind in ("too_short", "too_long"):
        limits = complaint["ctx"]
        limit = f"{limits['min_length']} or more" if kind == "too_short" else f"{limits['max_length']} or fewer"
        return f"{field}: the list should have {limit} entries, found {SHORT.repr(found)}"
    if kind in ("tuple_type", "model_type"):
        expected = f"should be a {'list' if kind == 'tuple_type' else 'table of fields'}"
    else:
        expected = complaint["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{field}: {expected}, found {SHORT.repr(found)}"
