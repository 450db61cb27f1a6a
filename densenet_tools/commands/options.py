"""The settings of a run as options of a command: each may be left out, and then a file or the default says it."""

from dataclasses import asdict, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

from cyclopts import Parameter

from densenet_tools.training import Settings

ELSEWHERE = ("network", "overrides")  # given by its place, and by --set
KINDS = get_type_hints(Settings)  # without what Settings checks besides, and says in its own words


def _option(name: str) -> tuple[str, Any, Any]:
    setting, kind = Settings.model_fields[name], KINDS[name]
    many, default = isinstance(setting.default, tuple), setting.default
    shown = " ".join(map(str, default)) if many else str(default).lower()
    text = f"{str(setting.description)[0].upper()}{str(setting.description)[1:]}; default: {shown}."
    parameter = Parameter(help=text, negative=None if kind is bool else "", consume_multiple=many)
    kind = list[float] if many else kind
    return name, Annotated[kind | None, parameter], field(default=None)


if TYPE_CHECKING:
    Options: TypeAlias = Any
else:
    Options = make_dataclass("Options", [_option(name) for name in Settings.model_fields if name not in ELSEWHERE])
    Options.__module__ = __name__  # else cyclopts takes it for one of Python's own types
    Options.__doc__ = None  # dataclasses write one, which the help would show

NOTHING = Options()


def given(options: Options) -> dict[str, Any]:
    """The settings that the command line names."""
    return {name: value for name, value in asdict(options).items() if value is not None}
