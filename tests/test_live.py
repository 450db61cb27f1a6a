"""Every field of every config, and every number of every node, is live: a changed one is followed by every backend.

The changed values follow from the types: a field that is added later is tested without a line written for it.
"""

import dataclasses
from collections.abc import Iterator
from functools import cache, lru_cache
from math import inf
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
from pydantic import Field

import spec
from densenet_tools.parity.differences import difference
from spec import reference
from spec.config import Config, NetworkConfig
from spec.families import CONFIGS, FAMILIES
from spec.families.lenet import LeNetConfig
from spec.layers import AvgPool, Dropout, Linear
from spec.tree import Composite, Leaf, Node
from tests.cases import CASES, CONV, pooled
from tests.support import kinds, loaded, require, verdict
from tests.test_dropout import DEVIATIONS, deviation, masks

GATES = {"ratio": 2, "placement": ["block", "final"], "bias": True}
# Small, and with everything that may be left out.
BASES: dict[str, dict[str, Any]] = {
    "densenet": {
        "growth_rate": 4,
        "block_config": [1, 2],
        "bn_size": 2,
        "compression": 0.5,
        "stem": {"channels": 6, "kernel_size": 3, "padding": 1},
        "dropout": 0.3,
        "squeeze_excitation": GATES | {"placement": ["layer", "block", "transition", "final"]},
        "input_size": 24,
    },
    "lenet": {"input_size": 20},
    "alexnet": {"input_size": 67},
    "vgg": {"input_size": 32, "block_config": [1, 1, 1, 1, 1]},
    "nin": {"input_size": 67},
    "googlenet": {"input_size": 32, "squeeze_excitation": GATES | {"ratio": 16}},
    "resnet": {"input_size": 24, "block_config": [1, 1], "squeeze_excitation": GATES | {"ratio": 16}},
}
ONE_VALUE = "family"  # tells the configs apart: within one of them it has no other value
FAR = 1e-7  # apart, relative: a hundred thousand times what a backend may depart from the reference in a layer
LARGE = 1_000_000  # parameters from which on a network is trained only where inference does not show the change


def others(kind: Any, value: Any) -> Iterator[Any]:
    """Other values of a field's type than its own; which of them its constraints allow is seen by trying."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from others(arguments[0], value)
    elif origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        yield from (other for argument in inner for other in others(argument, value))
    elif origin is Literal:
        yield from (argument for argument in arguments if argument != value)
    elif origin is tuple:
        entries = zip(arguments if arguments[-1] is not ... else arguments[:1] * len(value), value)
        yield from ((*value[:i], other, *value[i + 1 :]) for i, each in enumerate(entries) for other in others(*each))
    elif kind is bool:
        yield not value
    elif kind is int:
        yield from (2 * (value or 1), (value or 0) + 1, (value or 0) - 1)
    elif kind is float:
        yield from ((value or 1.0) / 2, ((value or 0.0) + 1) / 2)


def fields(config: Config, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, type, value) of every field, those of the configs inside it included."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        yield spec.join(path, name), field.annotation, value
        if isinstance(value, Config):
            yield from fields(value, spec.join(path, name))


def with_value(config: NetworkConfig, path: str, value: Any) -> NetworkConfig:
    """The config with one field, or one of a config inside it, replaced."""
    table = inner = config.model_dump()
    *parents, last = path.split(".")
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return type(config)(**table)


def built(config: NetworkConfig) -> spec.Network:
    """Its network, with 64 values where AlexNet and VGG have 4096: most of their weights, which no field changes."""

    def narrowed(node: Node) -> Node:
        if not isinstance(node, Linear):
            return node
        widths = {name: 64 for name in ("in_features", "out_features") if getattr(node, name) == 4096}
        return dataclasses.replace(node, **widths)

    network = spec.build(config)
    return dataclasses.replace(network, root=spec.rewrite(network.root, narrowed))


def changes(config: NetworkConfig) -> dict[str, spec.Network | None]:
    """{what is changed: the changed network} for every field; None where no other value can be built.

    A field that may be left out is changed twice: to another value, and to none.
    """
    found: dict[str, spec.Network | None] = {}
    for path, kind, value in fields(config):
        values = list(others(kind, value))
        if path != ONE_VALUE and not holds_config(kind):
            found[path] = first_built(config, path, values)
        if NoneType in get_args(kind) and value is not None:
            found[f"{path} = none"] = first_built(config, path, [None])
    return found


def holds_config(kind: Any) -> bool:
    """Whether a field holds a config, whose own fields are changed in its place."""
    return any(isinstance(each, type) and issubclass(each, Config) for each in (kind, *get_args(kind)))


def first_built(config: NetworkConfig, path: str, values: list[Any]) -> spec.Network | None:
    for value in values:
        try:
            return built(with_value(config, path, value))
        except spec.SpecError:
            continue
    return None


@cache
def base(family: str) -> NetworkConfig:
    return FAMILIES[family](family=family, **{"in_channels": 2, "num_classes": 5} | BASES[family])


CHANGES = {
    f"{family}.{path}": (built(base(family)), network)
    for family in BASES
    for path, network in changes(base(family)).items()
}


def images(network: spec.Network, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *network.input_shape))


def oracle(network: spec.Network) -> reference.Reference:
    return loaded(reference, network, spec.randomize(spec.initialize(network, 0, np.float64), 0))


@lru_cache(maxsize=4)
def in_inference(network: spec.Network) -> dict[str, np.ndarray]:
    """Every layer's output, as the reference has it."""
    return reference.trace(oracle(network), images(network))


@lru_cache(maxsize=4)
def in_training(network: spec.Network) -> dict[str, np.ndarray]:
    """Gradients and running statistics after a training pass, as the reference has them."""
    if not network.gives_logits:
        return {}
    batch = images(network)
    _, gradients, statistics = reference.loss_and_gradients(oracle(network), batch, np.arange(len(batch)))
    return gradients | statistics


def apart(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest relative difference; infinite where names or shapes differ."""
    if {name: a.shape for name, a in found.items()} != {name: a.shape for name, a in expected.items()}:
        return inf
    return max((difference(found[name], array)[1] for name, array in expected.items()), default=0.0)


@cache
def shows_in_inference(network: spec.Network, changed: spec.Network) -> bool:
    return apart(in_inference(changed), in_inference(network)) > FAR


@cache
def shows_in_training(network: spec.Network, changed: spec.Network) -> bool:
    return apart(in_training(changed), in_training(network)) > FAR


def rates(network: spec.Network) -> dict[str, float]:
    """{path: rate} of every dropout, which comparisons leave out: no two frameworks draw the same masks."""
    return {path: node.rate for path, node in spec.walk(network.root) if isinstance(node, Dropout)}


def drops_otherwise(network: spec.Network, changed: spec.Network | None) -> bool:
    """Whether the change is one of the rates of dropout alone."""
    if changed is None or changed == network:
        return False
    return spec.without_dropout(changed) == spec.without_dropout(network)


def agrees(network: spec.Network, changed: spec.Network, backend_name: str) -> None:
    """Holds the backend's changed network against the reference's: layers, gradients and running statistics."""
    large = spec.total(changed).parameters > LARGE and shows_in_inference(network, changed)
    checks = ["layers"] if large or not changed.gives_logits else ["layers", "gradients"]
    result = verdict(changed, backend_name, images(changed), "float64", checks=checks)
    assert result.agrees, result.problem


def test_every_family_has_a_base_with_all_that_may_be_left_out():
    assert list(BASES) == [config.model_fields["family"].default for config in CONFIGS]
    for family in BASES:
        left_out = [path for path, kind, value in fields(base(family)) if value is None and holds_config(kind)]
        assert not left_out, family


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_field_changes_what_the_reference_computes(change):
    """By far more than a backend may depart from it: one that left the field aside would not agree below."""
    network, changed = CHANGES[change]
    assert changed is not None, f"{change}: none of the other values can be built"
    if not drops_otherwise(network, changed):
        assert shows_in_inference(network, changed) or shows_in_training(network, changed), "the field is not live"


@pytest.mark.parametrize("change", [change for change in CHANGES if not drops_otherwise(*CHANGES[change])])
def test_every_backend_follows_a_changed_field(change, backend_name):
    require(backend_name)
    agrees(*CHANGES[change], backend_name)


@pytest.mark.parametrize("change", [change for change in CHANGES if drops_otherwise(*CHANGES[change])])
def test_every_backend_follows_a_changed_rate_of_dropout(change, backend_name):
    """In training, at each place where the network has a dropout: those of what arrives that become zero."""
    network, changed = CHANGES[change]
    model = loaded(require(backend_name), changed, spec.randomize(spec.initialize(changed, 0), 0))
    found = masks(backend_name, model, images(changed, 16).astype(np.float32), list(rates(changed)))
    for path, dropped in found.items():
        allowed = DEVIATIONS * deviation(rates(changed)[path], dropped.size)
        assert dropped.mean() == pytest.approx(rates(changed)[path], abs=allowed), path
        assert abs(rates(changed)[path] - rates(network)[path]) > allowed, "too few values to tell the rates apart"


def test_a_field_that_nothing_reads_is_found():
    """The control of all above, and of the rule: a number with one value leaves no other to try."""

    class Idle(LeNetConfig):
        unread: bool = Field(False, description="read by nothing")
        fixed: int = Field(3, ge=3, le=3, description="no other is valid")

    config = Idle(**base("lenet").model_dump())
    found = changes(config)
    assert found["unread"] == built(config)
    assert found["fixed"] is None
    assert not shows_in_inference(built(config), found["unread"])
    assert not shows_in_training(built(config), found["unread"])


# Fields of nodes that must fit those of their neighbours: the configs' fields change them together.
WIDTHS = ("in_channels", "out_channels", "channels", "growth_rate", "in_features", "out_features", "branch1", "branch4")
RATES = ("rate", "dropout")  # not to be seen in a comparison: tests/test_dropout.py
NETWORKS = [
    *(case.network for case in CASES.values() if case.network.gives_logits),
    pooled(4, CONV, ("average", AvgPool(kernel_size=3, stride=2))),
]
NUMBERS = {
    f"{kind.__name__}.{field.name}": (kind, field)
    for kind in [*kinds(Leaf), *kinds(Composite)]
    for field in dataclasses.fields(kind)
    if field.name not in WIDTHS + RATES
}


def held(node: Node, kind: type[Node]) -> list[Node]:
    """The nodes of a kind that `rewrite` changes: those that are in a field of another."""
    found = []
    spec.rewrite(node, lambda each: found.append(each) or each)
    return [each for each in found if type(each) is kind]


def changed_node(kind: type[Node], field: dataclasses.Field) -> tuple[spec.Network, spec.Network] | None:
    """The first network in which a node of the kind takes another value that reaches a leaf; None where none does."""
    for network in NETWORKS:
        for node in held(network.root, kind):
            values = [*others(field.type, getattr(node, field.name))]
            for value in [*values, None] if NoneType in get_args(field.type) else values:
                try:
                    changed = with_node(network, node, dataclasses.replace(node, **{field.name: value}))
                except spec.SpecError:
                    continue
                if leaves(changed) != leaves(network):
                    return network, changed
    return None


def with_node(network: spec.Network, node: Node, other: Node) -> spec.Network:
    root = spec.rewrite(network.root, lambda each: other if each == node else each)
    return dataclasses.replace(network, root=root)


def leaves(network: spec.Network) -> list[tuple[str, Node]]:
    return [(path, node) for path, node in spec.walk(network.root) if isinstance(node, Leaf)]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_backend_follows_a_changed_number_of_a_node(number, backend_name):
    """In networks small enough to change it in one kind of node alone, as no config does."""
    require(backend_name)
    found = changed_node(*NUMBERS[number])
    assert found is not None, f"{number}: no network takes another value"
    network, changed = found
    assert shows_in_inference(network, changed) or shows_in_training(network, changed), "the number is not live"
    agrees(network, changed, backend_name)
