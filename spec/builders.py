"""What the backends' builders share: one function for each variant, and arguments in a framework's own words."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, TypedDict, TypeVar

from spec.errors import SpecError
from spec.network import Network
from spec.variants import variant

Arguments = ParamSpec("Arguments")
Model = TypeVar("Model")


class Fields(TypedDict, total=False):
    """Those of Overrides that no builder has under the same name."""

    in_channels: int
    num_classes: int
    input_size: int
    eps: float
    decay: float
    growth_rate: int
    block_config: Sequence[int]
    bn_size: int | None
    compression: float
    stem: Mapping[str, Any]
    dropout: float
    squeeze_excitation: Mapping[str, Any] | None
    conv_bias: bool
    norm: bool
    projection_norm: bool


class Overrides(Fields, total=False):
    """Fields of a variant's config, for type checkers and editors; what each means is in `densenet schema`."""

    classifier_activation: Literal["softmax", "sigmoid"] | None


def builder(get_model: Callable[Concatenate[str, Arguments], Model], name: str) -> Callable[Arguments, Model]:
    """`get_model` with its first argument, the variant's name, filled in."""

    def build(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Model:
        return get_model(name, *args, **kwargs)

    signature, described = inspect.signature(get_model), inspect.getdoc(get_model) or ""
    build.__name__ = build.__qualname__ = name
    build.__module__ = get_model.__module__
    build.__doc__ = f"The variant {name}.\n\n{described.partition(chr(10) * 2)[2]}"  # all but the first sentence
    build.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return build


def network(name: str, given: Mapping[str, Any], words: Mapping[str, str]) -> Network:
    """A variant with arguments in a framework's `words` for fields, {"drop_rate": "dropout"}, also for those inside.

    Errors name what was given: `drop_rate: ...`. Raises SpecError as spec.variant does, and for two words of one field.
    """
    fields: dict[str, Any] = {}
    said: dict[str, str] = {}
    for word, value in given.items():
        field = words.get(word, word)
        outer, _, inner = field.partition(".")
        for each in [f"{field}.{key}" for key in value] if isinstance(value, Mapping) else [field]:
            if each in said:
                raise SpecError(f"{name}: {said[each]} and {word} are the same, found both: give one of them")
            said[each] = word
        value, before = {inner: value} if inner else value, fields.get(outer)
        fields[outer] = {**before, **value} if isinstance(before, dict) and isinstance(value, Mapping) else value
    try:
        return variant(name, **fields)
    except SpecError as error:
        text = str(error)
        for word in words.keys() & given.keys():
            text = re.sub(rf"(?<![\w.]){re.escape(words[word])}(?=:)", word, text)
        raise SpecError(text) from None
