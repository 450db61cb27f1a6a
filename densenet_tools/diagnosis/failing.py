"""A part of a model that nothing explains, by itself: what it is given, holds and puts out, and a script to see it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spec.files import replacing

INPUTS, WEIGHTS, FOUND = "input/", "weight/", "found"
SCRIPT = '''"""{layer}: what the model makes of its input, and what the network would."""

import numpy as np
from spec.blocks import *
from spec.layers import *
from spec.reference.forward import Pass, apply

case = np.load({file!r})
values = {{name[6:]: case[name].astype("float64") for name in case if name.startswith("input/")}}
run = Pass({{name[7:]: case[name].astype("float64") for name in case if name.startswith("weight/")}})
for path, node, sources in [
{steps}
]:
    values[path] = expected = apply(node, *(values[source] for source in sources), run=run, path=path)
print("found", case["found"].shape, "expected", expected.shape)
if case["found"].size == expected.size:
    print("largest difference", np.abs(case["found"].reshape(expected.shape) - expected).max())
'''


@dataclass(frozen=True, eq=False)
class Case:
    """`steps` are (path, node, paths of its sources); `found` is what the model has where the last one's output is."""

    inputs: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    steps: tuple[tuple[str, object, tuple[str, ...]], ...]
    found: np.ndarray

    @property
    def layer(self) -> str:
        """The network's name of what the model has something else for."""
        return self.steps[-1][0]

    @property
    def size(self) -> int:
        """How many values it has."""
        return sum(array.size for array in (*self.inputs.values(), *self.weights.values(), self.found))


def write(path: Path, case: Case) -> Path:
    """Writes the arrays to `path`, an .npz, and a script of that name beside it, which is returned."""
    arrays = {INPUTS + name: array for name, array in case.inputs.items()}
    arrays |= {WEIGHTS + name: array for name, array in case.weights.items()}
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez_compressed(file, **arrays, **{FOUND: case.found})
    script = path.with_suffix(".py")
    steps = "\n".join(f"    ({name!r}, {node!r}, {sources!r})," for name, node, sources in case.steps)
    with replacing(script) as beside:
        beside.write_text(SCRIPT.format(layer=case.layer, file=path.name, steps=steps), encoding="utf-8")
    return script
