"""Which mutants there are: those of Cosmic Ray, without the ones that are no program or the same program.

A mutant is one change of an operator, a number, a constant, a keyword, a loop or a decorator. Left out are:

- what Python does not compile (the star of `f(*, x)` made a plus) or warns of (`is` before a literal);
- what compiles to the tree that it was before;
- the bar of `int | None` in an annotation made another operator, which no class or function survives being defined;
- a second mutant with the text of a first.
"""

import ast
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import product
from pathlib import Path

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_item import MutationSpec

FOLDERS = ("spec", "densenet_torch", "densenet_mxnet", "densenet_keras", "densenet_onnx", "densenet_tools/parity")


@dataclass(frozen=True)
class Mutant:
    """A file with one change: `line` is where, `was` and `becomes` are the lines that differ."""

    folder: str
    file: str
    line: int
    operator: str
    source: str
    mutated: str

    @property
    def diff(self) -> str:
        """The change, with a line of context before and after it."""
        lines = unified_diff(self.source.splitlines(), self.mutated.splitlines(), n=1, lineterm="")
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))

    @property
    def was(self) -> str:
        return self._side("-")

    @property
    def becomes(self) -> str:
        return self._side("+")

    def _side(self, sign: str) -> str:
        return squeezed("".join(line[1:] + "\n" for line in self.diff.splitlines() if line.startswith(sign)))


def squeezed(code: str) -> str:
    """Lines of code with single blanks and no indentation, which is how two of them are compared."""
    return "\n".join(" ".join(line.split()) for line in code.strip().splitlines())


def population(tree: Path, folder: str) -> list[Mutant]:
    """All mutants of a folder, in the order of file, line, operator and occurrence."""
    found = []
    for path in sorted((tree / folder).rglob("*.py")):
        found += _of_file(path.read_text(encoding="utf-8"), folder, path.relative_to(tree).as_posix(), path)
    return found


def _of_file(source: str, folder: str, file: str, path: Path) -> list[Mutant]:
    before, annotated = ast.dump(ast.parse(source)), set(_annotated(source))
    changes = [mutation for item in _all_work_items([path], {}) for mutation in item.mutations]
    changes.sort(key=lambda change: (change.start_pos[0], change.operator_name, change.occurrence))
    mutants, seen = [], set()
    for change in changes:
        if "_BitOr_" in change.operator_name and change.start_pos in annotated:
            continue
        mutated = _mutated(source, change)
        if mutated and mutated not in seen and _differs(mutated, before):
            seen.add(mutated)
            mutants.append(Mutant(folder, file, change.start_pos[0], _operator(change), source, mutated))
    return mutants


def _operator(change: MutationSpec) -> str:
    """The name of the operator, with which of its changes in the file it is."""
    return f"{change.operator_name.removeprefix('core/')} #{change.occurrence}"


def _mutated(source: str, change: MutationSpec) -> str | None:
    """The source with the change; None where Cosmic Ray cannot make it, as of `except module.Error`."""
    try:
        return mutate_code(source, get_operator(change.operator_name)(), change.occurrence)
    except AttributeError:
        return None


def _differs(mutated: str, before: str) -> bool:
    """Whether it is a program, and another one than before."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        try:
            tree = ast.parse(mutated)
            compile(tree, "mutant", "exec")
        except (SyntaxError, ValueError):
            return False
    return ast.dump(tree) != before


def _annotated(source: str) -> Iterator[tuple[int, int]]:
    """(line, column) of every character of every annotation that is a union."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for part in _unions(annotation):
                for row in range(part.lineno, part.end_lineno + 1):
                    yield from product([row], range(len(lines[row - 1])))


def _unions(annotation: ast.expr | None) -> Iterable[ast.BinOp]:
    nodes = ast.walk(annotation) if annotation else ()
    return [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]


def draw(populations: Mapping[str, Sequence[Mutant]], count: int, seed: int) -> list[Mutant]:
    """At least `count` mutants, of each folder in proportion to how many it has; the same for the same seed."""
    total = sum(map(len, populations.values()))
    generator = random.Random(seed)
    drawn: list[Mutant] = []
    for mutants in populations.values():
        share = min(len(mutants), -(-count * len(mutants) // total))  # rounded up
        chosen = generator.sample(range(len(mutants)), share)
        drawn += [mutants[index] for index in sorted(chosen)]
    return drawn
