"""Networks that nobody thought of: random configs, compared in every backend, layer by layer and gradient by gradient.

A failure shrinks to the smallest config that still fails. It is written to a file, and the message has the
`densenet parity` command that shows the same failure.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings, strategies as st

import spec
from densenet_tools.parity import verify
from spec.layers import Conv
from tests.support import Runner, chosen, photographs, require

FAILED = Path("random-network.json")


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of DenseNetConfig, as a config file has them; not all of them can be built."""
    fields: dict[str, Any] = {
        "growth_rate": draw(st.integers(1, 9)),
        "block_config": draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)),
        "bn_size": draw(st.sampled_from([None, 1, 2, 4])),
        "compression": draw(st.sampled_from([1.0, 0.5, 0.7, 0.29])),
        "conv_bias": draw(st.booleans()),
        "in_channels": draw(st.integers(1, 4)),
        "num_classes": draw(st.integers(2, 7)),
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
        "input_size": draw(st.integers(9, 40)),
    }
    kernel_size = draw(st.integers(1, 7))
    fields["stem"] = {
        "channels": draw(st.one_of(st.none(), st.integers(1, 12))),
        "kernel_size": kernel_size,
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, kernel_size // 2)),
        "norm": draw(st.booleans()),
        "pool": draw(st.booleans()),
    }
    if draw(st.booleans()):
        placements = st.sets(st.sampled_from(["layer", "block", "transition", "final"]), min_size=1)
        fields["squeeze_excitation"] = {
            "ratio": draw(st.integers(1, 6)),
            "placement": sorted(draw(placements)),
            "bias": draw(st.booleans()),
        }
    return fields


def built(fields: dict[str, Any], batch: int) -> spec.Network | None:
    """The network, where there is one, and every batch norm has eight values: over two it leaves but signs.

    Without those that Keras on PyTorch cannot differentiate, where that is what is tested: see test_keras.
    """
    try:
        network = spec.build(spec.DenseNetConfig(**fields), FAILED.stem)
    except spec.SpecError:
        return None
    fewest = min(network.values_per_channel((batch, *network.input_shape)).values())
    narrow = any(isinstance(node, Conv) and node.out_channels == 1 for _, node in spec.walk(network.root))
    if narrow and os.environ.get("KERAS_BACKEND") == "torch":
        return None
    return network if fewest >= 8 else None


def check(fields: dict[str, Any], network: spec.Network, dtype: str, batch: int) -> None:
    """All tested backends agree with the reference on this config."""
    runners = map(Runner, chosen())
    results = verify(network, runners, photographs(network.input_shape, batch), dtype, checks=["layers", "gradients"])
    problems = [result.problem for result in results if result.problem]
    if problems:
        FAILED.write_text(json.dumps(fields, indent=2))
        command = f"densenet parity {FAILED} --dtype {dtype} --batch {batch} --layers --gradients"
        pytest.fail(f"{'; '.join(problems)}\nthe config is in {FAILED}, and shown again by: {command}")


def compare_random_networks(examples: int, start: int) -> None:
    """Checks as many networks as `examples` says, drawn from the seed `start`."""
    networks = 0

    @seed(start)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(fields=configs(), dtype=st.sampled_from(["float64", "float32"]), batch=st.integers(2, 3))
    def agree(fields, dtype, batch):
        network = built(fields, batch)
        assume(network is not None)
        check(fields, network, dtype, batch)
        nonlocal networks
        networks += 1

    agree()
    assert networks >= examples


def test_random_networks_agree():
    compare_random_networks(25, 1608)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_random_networks_agree():
    compare_random_networks(300, 6993)


def test_a_failure_is_a_config_file_that_parity_fails_on(monkeypatch, tmp_path, capsys):
    """The control: with an epsilon of PyTorch's own, random networks fail, and the file shows it again."""
    require("torch")
    import densenet_torch
    from densenet_tools.commands.app import main

    build = densenet_torch.build

    def other_epsilon(network, dtype):
        model = build(network, dtype)
        model.features.norm5.eps = 2e-3
        return model

    monkeypatch.setattr(densenet_torch, "build", other_epsilon)
    monkeypatch.chdir(tmp_path)
    fields = {"growth_rate": 2, "block_config": [1], "input_size": 32}
    with pytest.raises(pytest.fail.Exception, match=r"first at layer features\.norm5") as failure:
        check(fields, built(fields, 2), "float64", 2)
    command = str(failure.value).split("shown again by: densenet ")[1].split()
    assert main([*command, "--backends", "torch"]) == 1
    assert "first at layer features.norm5" in capsys.readouterr().err
    monkeypatch.setattr(densenet_torch, "build", build)
    assert main([*command, "--backends", "torch"]) == 0
