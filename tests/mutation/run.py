"""Plants a seeded sample of small faults, one at a time, and counts which of them the tests catch.

`make mutation` runs it: see CONTRIBUTING.md. Nothing is changed but copies of the tree, one for each worker.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from tests.mutation import page, stages
from tests.mutation.mutants import FOLDERS, Mutant, draw, population
from tests.mutation.page import Result

ROOT = Path(__file__).parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same mutants")
    parser.add_argument("--count", type=int, default=420, help="how many at least, of all folders together")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--folder", choices=FOLDERS, help="one folder instead of all")
    parser.add_argument("--output", type=Path, default=ROOT / "mutation.md", help="where the page goes")
    return parser.parse_args()


def copied(target: Path) -> Path:
    """A copy of what git tracks, and of new files that it does not ignore."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def tried(mutant: Mutant, tree: Path, seconds: Sequence[float]) -> Result:
    """What becomes of one mutant in a copy of the tree, which is left as it was."""
    path, start = tree / mutant.file, time.perf_counter()
    path.write_text(mutant.mutated, encoding="utf-8")
    outcome = page.SURVIVED
    try:
        for stage, took in zip(stages.STAGES[mutant.folder], seconds):
            status, _, output = stages.run(stage, tree, stages.limit(took))
            if status == stages.NO_TESTS:  # no kill, but a mistake in the stage
                raise SystemExit(f"{output}\nno test was selected with {mutant.file}:{mutant.line} changed")
            if status != 0:
                outcome = page.TIMED_OUT if status is None else page.CRASHED if status < 0 else page.KILLED
                break
    finally:
        path.write_text(mutant.source, encoding="utf-8")
    return Result(mutant, outcome, time.perf_counter() - start)


def results(sample: Sequence[Mutant], trees: Sequence[Path], times: Mapping[str, list[float]]) -> Iterator[Result]:
    """The results as they come, as many at a time as there are trees."""
    free: SimpleQueue[Path] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def work(mutant: Mutant) -> Result:
        tree = free.get()
        try:
            return tried(mutant, tree, times[mutant.folder])
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            for future in as_completed([pool.submit(work, mutant) for mutant in sample]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # where one cannot be tried, the others are not waited for


def announced(sample: Sequence[Mutant], times: Mapping[str, list[float]], jobs: int) -> None:
    """How long it will take: half of a folder's stages for each of its mutants, as most die early."""
    for folder, seconds in times.items():
        print(f"{folder}: {' + '.join(f'{took:.0f}' for took in seconds)} s without a mutant")
    expected = sum(sum(times[mutant.folder]) / 2 for mutant in sample) / jobs
    print(f"{len(sample)} mutants, {jobs} at a time: about {expected / 60:.0f} minutes", flush=True)


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        trees = [copied(Path(folder) / f"tree{i}") for i in range(options.jobs)]
        reasons = page.listed(trees[0])
        folders = [options.folder] if options.folder else FOLDERS
        sample = draw({name: population(trees[0], name) for name in folders}, options.count, options.seed)
        times = {name: stages.measured(name, trees[0]) for name in folders}
        announced(sample, times, options.jobs)
        done: list[Result] = []
        for result in results(sample, trees, times):
            if result.outcome == page.SURVIVED and page.key(result.mutant) in reasons:
                result = Result(result.mutant, page.EXCUSED, result.seconds)
            done.append(result)
            mutant = result.mutant
            print(
                f"{len(done)}/{len(sample)} {result.outcome} {result.seconds:.0f} s {mutant.file}:{mutant.line} "
                f"{mutant.operator}",
                flush=True,
            )
            ordered = [result for mutant in sample for result in done if result.mutant is mutant]
            options.output.write_text(page.to_markdown(ordered, len(sample), options.seed, reasons), encoding="utf-8")
    print(page.table(done))
    sys.exit(f"{page.score(done):.1%} is below {page.BAR:.0%}" if page.score(done) < page.BAR else 0)


if __name__ == "__main__":
    main()
