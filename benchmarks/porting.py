"""What opening a neutral file costs, and what porting densenet121 between any two kinds of files does.

Opening is compared with what it cannot do without, in turns in one process: safetensors' own load_file, and SHA-256 of
the same values. Porting is timed without the comparison that follows it, after the frameworks that it needs were
imported; each pair of files has a process of its own. Its memory is how far the process's resident memory rises in
the first port above what it was before.

Run with `python -m benchmarks.porting [--repeats 3] [--files neutral.safetensors,torch.pth]`.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import spec
from benchmarks import memory
from densenet_tools import backends, porting
from densenet_tools.porting import Format

NETWORK = "densenet121"
FILES = {
    "neutral.safetensors": Format.NEUTRAL,
    "torch.pth": Format.TORCH,
    "keras.keras": Format.KERAS,
    "keras.weights.h5": Format.KERAS,
    "applications.weights.h5": Format.APPLICATIONS,
    "gluon.params": Format.GLUON,
    "zoo.params": Format.ZOO,
}
FIRST = "neutral.safetensors"  # of which the others are made
NEEDED = {".pth": "torch", ".keras": "keras"}  # the backend without which such a file is not written, or read
WRITTEN = "written."  # before the name of what is written
MOST_OVER_LOADING = 1.3  # the goals: opening, over loading and digesting the same bytes
MOST_SECONDS = 2.0  # a port
MOST_MEMORY = 2.0  # times the size of the file that is read
OPENINGS = 25
MIB = 2**20


def made(path: Path) -> None:
    """A neutral file with weights of no one."""
    network = spec.variant(NETWORK)
    spec.save(path, network, spec.randomize(spec.initialize(network, 0), 0))


def opening(path: Path) -> dict[str, list[float]]:
    """Seconds of each of several rounds, in which all take turns."""
    from safetensors.numpy import load_file

    def load_and_digest() -> None:
        digest = hashlib.sha256()
        for array in load_file(path).values():
            digest.update(array.data)

    ways = {
        "spec.open": lambda: spec.open(path),
        "load_file and SHA-256": load_and_digest,
        "load_file": lambda: load_file(path),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(OPENINGS):
        for name, way in ways.items():
            found[name].append(_seconds(way))
    return found


def port(source: Path, dest: Path, repeats: int) -> dict[str, float]:
    """Medians of several ports, the memory of the first, and the seconds that imports took before."""
    imports = _seconds(lambda: _import(source, dest))
    before = memory.resident()
    memory.forget_peak()
    wall, cpu = [], []
    for number in range(repeats):
        busy = time.process_time()
        wall.append(_seconds(lambda: _port(source, dest)))
        cpu.append(time.process_time() - busy)
        if number == 0:
            risen = memory.peak() - before
    return {
        "seconds": statistics.median(wall),
        "cpu": statistics.median(cpu),
        "memory": risen,
        "size": source.stat().st_size,
        "imports": imports,
    }


def _port(source: Path, dest: Path) -> None:
    format, to = FILES[source.name], FILES[dest.name.removeprefix(WRITTEN)]
    ported = porting.convert(source, format, to)
    porting.check_writable(dest, to, ported.result.network)
    porting.write(dest, to, ported.result)


def _import(source: Path, dest: Path) -> None:
    """The frameworks that are needed: files of Keras are read without it."""
    for path in (source, dest):
        if path.suffix in NEEDED and (path is dest or path.suffix != ".keras"):
            backends.parse(NEEDED[path.suffix]).load()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def child(*arguments: str) -> dict:
    """What this script prints in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.porting", "--child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def in_child(arguments: list[str]) -> object:
    """What one process is for: to make the first file, to open it, or to port."""
    match arguments:
        case ["made", path]:
            return made(Path(path))
        case ["opening", path]:
            return opening(Path(path))
        case ["port", source, dest, repeats]:
            return port(Path(source), Path(dest), int(repeats))
    raise ValueError(arguments)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, its figures to the right."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column.removesuffix(":"), justify="right" if column.endswith(":") else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120, markup=False).print(table)


def show_opening(path: Path) -> None:
    """Medians, and the median of each round's ratio."""
    found = child("opening", str(path))
    base = found["load_file and SHA-256"]
    ratios = {name: statistics.median(a / b for a, b in zip(times, base)) for name, times in found.items()}
    rows = [
        [name, f"{statistics.median(times) * 1e3:.1f}", f"{min(times) * 1e3:.1f}", f"{ratios[name]:.2f}"]
        for name, times in found.items()
    ]
    title = f"opening {NETWORK}, {path.stat().st_size / MIB:.1f} MiB, {OPENINGS} rounds; goal {MOST_OVER_LOADING}"
    show(title, ["", "ms:", "fastest:", "over load_file and SHA-256:"], rows)


def show_porting(folder: Path, files: Sequence[str], repeats: int) -> None:
    """A row for each pair of files; those that are read are ported from the neutral one first."""
    for name in files:
        if name != FIRST:
            child("port", str(folder / FIRST), str(folder / name), "1")
    rows, imports = [], {}
    for name in files:
        for to in files:
            dest = folder / f"{WRITTEN}{to}"
            found = child("port", str(folder / name), str(dest), str(repeats))
            over = found["memory"] / found["size"]
            within = found["seconds"] <= MOST_SECONDS, over <= MOST_MEMORY
            rows.append(
                [
                    name,
                    to,
                    f"{found['seconds']:.2f}",
                    f"{found['cpu']:.2f}",
                    f"{found['memory'] / MIB:.0f}",
                    f"{over:.1f}",
                    *("yes" if each else "NO" for each in within),
                ]
            )
            if name == FIRST and dest.suffix in NEEDED:
                imports[to] = found["imports"]
            dest.unlink()
    columns = ["from", "to", "seconds:", "CPU:", "MiB:", "over the file:", f"{MOST_SECONDS} s", f"{MOST_MEMORY} x"]
    show(f"porting {NETWORK}, median of {repeats}; memory of the first", columns, rows)
    show("imports before, once", ["to", "seconds:"], [[to, f"{seconds:.1f}"] for to, seconds in imports.items()])


def main() -> None:
    """Makes the files in a temporary folder, then both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", default=",".join(FILES))
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(in_child(arguments.child)))
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        child("made", str(folder / FIRST))
        show_opening(folder / FIRST)
        show_porting(folder, arguments.files.split(","), arguments.repeats)


if __name__ == "__main__":
    main()
