"""A backend's get_model, turned into one function for each variant."""

import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Model = TypeVar("Model")


def builder(get_model: Callable[Concatenate[str, Arguments], Model], name: str) -> Callable[Arguments, Model]:
    """`get_model` with its first argument, the variant's name, filled in."""

    def build(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Model:
        return get_model(name, *args, **kwargs)

    signature = inspect.signature(get_model)
    build.__name__ = build.__qualname__ = name
    build.__module__ = get_model.__module__
    build.__doc__ = f"The variant {name}; the arguments are those of get_model."
    build.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return build
