"""One model, many threads: what reads or writes a model's state runs one at a time."""

from collections.abc import Callable
from functools import wraps
from threading import Lock, RLock
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Arguments = ParamSpec("Arguments")
Model = TypeVar("Model")
Result = TypeVar("Result")

_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # beside the models, which are copied and saved without them
_adding = Lock()


def one_at_a_time(
    function: Callable[Concatenate[Model, Arguments], Result],
) -> Callable[Concatenate[Model, Arguments], Result]:
    """Of all functions with this decorator, one at a time runs on a model, which is their first argument.

    Other models, and what is called on the framework's own model, `model(x)`, are not waited for.
    """

    @wraps(function)
    def alone(model: Model, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with lock_of(model):
            return function(model, *args, **kwargs)

    return alone


def lock_of(model: Any) -> Any:
    """The model's lock, which the thread that holds it may take again."""
    with _adding:
        return _locks.setdefault(model, RLock())
