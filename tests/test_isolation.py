"""Importing one backend loads no other framework, and a missing one is named with what installs it."""

import json
import subprocess
import sys

import pytest

from densenet_tools import backends
from tests.support import FRAMEWORKS, require

NAMES = [*FRAMEWORKS, "onnx"]
MODULES = {*NAMES, *backends.FRAMEWORKS_OF_KERAS, "onnxruntime", "openvino"}
NEEDS = {backends.BACKENDS[name].package: name for name in NAMES}
OWN: dict[str, set[str]] = {
    **{
        package: set() for package in ("spec", "spec.reference", "densenet_tools.commands.app", "densenet_tools.parity")
    },
    **{package: set(backends.Runner(name).frameworks) for package, name in NEEDS.items()},
}

# MXNet's contrib.onnx imports it where it is installed.
BY_THE_FRAMEWORK = {"densenet_mxnet": {"onnx"}}


def loaded(done: subprocess.CompletedProcess, package: str) -> set[str]:
    """The frameworks among the modules that a process prints, but for what another framework looks for itself."""
    assert done.returncode == 0, done.stderr
    return MODULES & set(json.loads(done.stdout)) - BY_THE_FRAMEWORK.get(package, set())


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("package", OWN)
def test_an_import_loads_no_other_framework(package):
    if package in NEEDS:
        require(NEEDS[package])
    done = python(f"import json, sys, {package}; print(json.dumps(list(sys.modules)))")
    assert loaded(done, package) == OWN[package]


@pytest.mark.parametrize("package", NEEDS)
def test_building_and_running_one_loads_no_other(package):
    require(NEEDS[package])
    done = python(
        f"import json, sys, numpy, spec, {package} as backend\n"
        "model = backend.build(spec.variant('densenet40_k12_bc'))\n"
        "backend.load_weights(model, spec.initialize(model.network, 0))\n"
        "backend.predict(model, numpy.zeros((1, 3, 32, 32)))\n"
        "print(json.dumps(list(sys.modules)))"
    )
    assert loaded(done, package) == OWN[package]


@pytest.mark.parametrize("package", NEEDS)
def test_a_missing_framework_is_named_with_its_extra(package):
    """A None in sys.modules makes an import fail as if nothing were installed."""
    done = python(f"import sys; sys.modules[{NEEDS[package]!r}] = None; import {package}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {package} needs ")
    assert f"pip install 'densenet-reference[{NEEDS[package]}]'" in last


@pytest.mark.parametrize("missing", FRAMEWORKS)
def test_without_one_framework_the_others_work(missing):
    others = [name for name in FRAMEWORKS if name != missing]
    for name in others:
        require(name)
    packages = [backends.BACKENDS[name].package for name in others]
    done = python(f"import sys; sys.modules[{missing!r}] = None; import {', '.join(packages)}")
    assert done.returncode == 0, done.stderr


def test_numpy_2_is_refused_for_mxnet():
    require("mxnet")
    done = python("import numpy; numpy.__version__ = '2.1.0'; import densenet_mxnet")
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("ImportError: MXNet 1.9.1 needs NumPy 1, found NumPy 2.1.0: pip install 'numpy<2'")
    )


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1], [*NAMES[1:], NAMES[0]]])
def test_all_live_in_one_process_in_any_order(order):
    for name in order:
        require(name)
    packages = [backends.BACKENDS[name].package for name in order]
    code = "import numpy, spec\n" + "".join(
        f"import {package}\n"
        f"model = {package}.build(spec.variant('densenet40_k12_bc'))\n"
        f"{package}.load_weights(model, spec.initialize(model.network, 0))\n"
        f"print({package}.predict(model, numpy.ones((1, 3, 32, 32))).round(4).tolist())\n"
        for package in packages
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == 1
