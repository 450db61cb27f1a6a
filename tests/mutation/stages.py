"""What is run to kill a mutant: stages of tests, each in a process of its own, until the first that fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Topics in the order in which they kill most in least time; a file that does not exist is left out.
SPEC = (
    "config shapes tree builders reference parity variants tables counts controls steps step_options live dropout "
    "interop porting hostile hostile_arrays tolerance random backends side_by_side images threads survivors gradients "
    "rewrites"
)
COMPARISON = "tree parity tolerance controls steps tables reference cli gradients hostile images backends"
BACKEND = (
    "side_by_side shapes parity steps step_options graphs controls interop counts gradients dropout live builders "
    "threads backends porting hostile_arrays random"
)
# Variants of the published size, and the reference's gradients by finite differences, which take seconds each.
LARGE = (
    "vgg or densenet1 or densenet2 or densenet40 or densenet_d2l or alexnet or -nin] or googlenet or resnet or peers"
)
FINITE = "eps or five_channels or normed_stem or deep or compressed or biased or se_layer or se_everywhere or dropout"
# Whatever network they are of.
QUICK = "test_config or test_tables or test_counts or test_variants or test_shapes or test_inference"
SLOW = f"{LARGE} or resnet18 or peers or isolation or cli or (test_the_reference_has_the_gradients and ({FINITE}))"
NO_TESTS = 5  # pytest's exit status where it ran none
MEMORY = 24 * 2**20  # KiB of address space: what a mutant that asks for all of it may have


@dataclass(frozen=True)
class Stage:
    """Tests of some backends, by topic; `names` is what pytest's -k selects of them."""

    backends: str
    topics: str
    names: str

    def command(self, tree: Path) -> list[str]:
        paths = [path for topic in self.topics.split() for path in (f"tests/test_{topic}.py", f"tests/{topic}")]
        files = [path for path in paths if (tree / path).exists()]
        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={tree}.temporary"]
        limited = ["sh", "-c", f'ulimit -v {MEMORY}; exec "$@"', "sh"]
        return [*limited, sys.executable, "-m", "pytest", *options, "-k", self.names, *files]


def _backend(name: str, *own: str) -> tuple[Stage, ...]:
    """`own` are topics that no other backend has."""
    named = " or ".join((name, "side_by_side", *own))
    kept = f"({named}) and not ({SLOW}) or (isolation and (missing_framework or numpy_2))"
    return (Stage(f"numpy,{name}", " ".join((BACKEND, name, *own, "isolation")), kept),)


STAGES = {
    "spec": (
        Stage("numpy", SPEC, f"{QUICK} or not ({SLOW})"),
        Stage("numpy,torch", f"{BACKEND} torch", f"torch and not ({SLOW} or compile or export)"),
        Stage("numpy", "cli isolation", "cli or isolation"),
    ),
    "densenet_torch": _backend("torch", "fused", "memory_efficient"),
    "densenet_mxnet": _backend("mxnet"),
    "densenet_keras": _backend("keras"),
    "densenet_onnx": _backend("onnx"),
    "densenet_tools/parity": (
        Stage("numpy", COMPARISON, f"not ({SLOW})"),
        Stage("numpy,torch", f"{COMPARISON} parity_processes", f"(torch or parity_processes) and not ({SLOW})"),
        Stage("numpy,torch", "cli", "cli"),
    ),
}


def run(stage: Stage, tree: Path, limit: float | None = None) -> tuple[int | None, float, str]:
    """(exit status, seconds, output) of one stage; the status is None where it ran past its limit."""
    shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
    own = {"DENSENET_BACKENDS": stage.backends, "PYTHONPATH": str(tree), "TMPDIR": str(tree.parent)}
    environment = os.environ | own | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        stage.command(tree),
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, status = process.communicate()[0], None
    return status, time.perf_counter() - start, output


def measured(folder: str, tree: Path) -> list[float]:
    """How long each stage of a folder takes on the tree as it is; one that fails there ends the program."""
    seconds = []
    for stage in STAGES[folder]:
        status, took, output = run(stage, tree)
        if status != 0:
            raise SystemExit(f"{output}\nthe tests of {folder} with {stage.backends} fail without any mutant")
        seconds.append(took)
    return seconds


def limit(seconds: float) -> float:
    """What a stage that takes `seconds` may take with a mutant in it."""
    return 5 * seconds + 30
