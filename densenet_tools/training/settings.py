"""All that a run depends on: what `densenet train` takes, and what the run's folder keeps a copy of."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

import spec
from densenet_tools import backends
from densenet_tools.data import Augmentation
from spec.config import Config, PositiveInt
from spec.files import check_readable, replacing
from spec.training import check_sgd
from spec.tree import LIMIT
from spec.variants import merged

NONE = "none"  # how overrides spell None, on the command line and in TOML, which has no word for it


def _replaced(value: Any, old: object, new: object) -> Any:
    """A value, or what the tables in it hold, with `new` in the place of `old`."""
    if isinstance(value, dict):
        return {name: _replaced(each, old, new) for name, each in value.items()}
    return new if value == old else value


def _unicode(name: str) -> str:
    """A file's name may have any bytes, but for a TOML file they must be UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("should be a name in UTF-8") from None
    return name


Name = Annotated[str, AfterValidator(_unicode)]
Overrides = Annotated[dict[str, Any], BeforeValidator(lambda table: _replaced(table, NONE, None))]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Shares = Annotated[tuple[float, ...], Field(strict=False)]


class Settings(Config):
    """The defaults of the optimizer and of the schedule are the paper's for CIFAR (Huang et al. 2017, section 4.2)."""

    network: Name = Field("densenet40_k12_bc", description="variant, config file, or .safetensors to go on from")
    overrides: Overrides = Field({}, description="fields of the network's config that are set otherwise")
    backend: Literal["torch", "mxnet", "keras", "numpy"] = Field("torch", description="what trains")
    data: Name = Field("fashion-mnist", description="what to train on: fashion-mnist, or a folder of images")
    data_dir: Name | None = Field(
        None, description="folder of Fashion-MNIST's four files, where they are not installed"
    )
    epochs: PositiveInt = Field(10, description="how often each image is seen")
    batch_size: PositiveInt = Field(64, description="images in a step; what is left over of an epoch is left out")
    learning_rate: float = Field(0.1, le=LIMIT, description="largest learning rate")
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = Field("step", description="how the rate changes")
    milestones: Shares = Field((0.5, 0.75), description="shares of the run after which schedule step divides it by 10")
    warmup: NotNegative = Field(0.0, description="epochs in which the rate rises from zero")
    momentum: float = Field(0.9, description="share of the velocity that a step keeps")
    nesterov: bool = Field(True, description="whether a step looks ahead by the momentum")
    weight_decay: float = Field(1e-4, description="share of each parameter that is added to its gradient")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label that goes to all classes")
    padding: int = Field(0, ge=0, description="pixels of black around each image, before a crop at a random place")
    flip: bool = Field(False, description="whether every second image is mirrored")
    image_size: PositiveInt | None = Field(None, description="height and width; none: the network's input_size")
    resize: PositiveInt | None = Field(
        None, description="what the shorter side is resized to before the crop; none: as is usual for the data"
    )
    validation: float = Field(0.0, ge=0, lt=1, description="share of each class to validate on; 0: on the test images")
    skip_unreadable: bool = Field(False, description="whether images that cannot be read are left out")
    freeze_epochs: int = Field(0, ge=0, description="epochs in which only the classifier is trained")
    freeze_statistics: bool = Field(
        False, description="whether batch norms keep their running statistics, and use them"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the weights, the order of images, and all that is random")
    dtype: Literal["float32", "float64"] = Field("float32", description="what the backend computes in")
    device: str = Field("cpu", description="where it runs: cpu, gpu or gpu:N")
    workers: int = Field(2, ge=0, description="threads that read images ahead")
    checkpoint_seconds: NotNegative = Field(60.0, description="seconds of work that may be lost; 0: save every step")

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(padding=self.padding, flip=self.flip)

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        check_sgd(self.learning_rate, self.momentum, self.nesterov, self.weight_decay)
        spec.device_of(self.device)
        if list(self.milestones) != sorted(self.milestones) or not all(0 < share < 1 for share in self.milestones):
            raise spec.SpecError(f"milestones should rise between 0 and 1, found {list(self.milestones)}")
        if self.warmup > self.epochs:
            raise spec.SpecError(f"warmup should be at most epochs ({self.epochs}), found {self.warmup}")
        return self

    def check(self) -> None:
        """Raises SpecError unless the backend is installed."""
        backends.parse(self.backend).check()


def read(path: Path, given: Mapping[str, Any] | None = None) -> Settings:
    """The settings in a TOML file, with those that are given besides in their place, field by field of `overrides`.

    Raises SpecError that names the field, and the file where the fault is the file's own.
    """
    check_readable(path)
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise spec.SpecError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise spec.SpecError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return Settings(**merged(fields, given or {}))
    except spec.SpecError:
        _check_file(path, fields)
        raise


def write(path: Path, settings: Settings) -> None:
    """All settings as a TOML file that `read` reads; but for those that are None, which all are by default."""
    fields = {name: value for name, value in settings.model_dump(mode="json").items() if value is not None}
    with replacing(path) as beside:
        beside.write_text(tomli_w.dumps(_replaced(fields, None, NONE)), encoding="utf-8")


def _check_file(path: Path, fields: Mapping[str, Any]) -> None:
    """Raises SpecError that names the file where its fields are wrong by themselves."""
    try:
        Settings(**fields)
    except spec.SpecError as error:
        raise spec.SpecError(f"{path}: {error}") from None
