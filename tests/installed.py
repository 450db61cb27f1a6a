"""What `make package` runs where nothing but the wheel and one framework is installed: the README's first lines."""

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MODULES = {"torch": "torch", "mxnet": "mxnet", "keras": "tensorflow", "onnx": "onnx"}
PACKAGES = ("spec", "densenet_torch", "densenet_mxnet", "densenet_keras", "densenet_onnx", "densenet_tools")


def main(framework: str) -> None:
    """Builds a model, compares it, and finds what an editor looks for."""
    others = [name for name, module in MODULES.items() if name != framework and find_spec(module)]
    assert not others, f"installed, too: {others}"
    backend = importlib.import_module(f"densenet_{framework}")
    builder = getattr(backend, "DenseNet121" if framework == "keras" else "densenet121")
    builder(**{"classes" if framework in ("mxnet", "keras") else "num_classes": 10})
    command = Path(sys.executable).with_name("densenet")
    subprocess.run([command, "parity", "densenet_d2l", "--backends", "numpy", framework], check=True)
    for package in PACKAGES:
        places = find_spec(package).submodule_search_locations  # type: ignore[union-attr]
        assert "site-packages" in places[0], f"{package} is not the wheel's: {places}"  # type: ignore[index]
        assert (Path(places[0]) / "py.typed").exists(), f"{package} has no py.typed"  # type: ignore[index]


if __name__ == "__main__":
    main(*sys.argv[1:])
