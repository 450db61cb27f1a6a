"""Measures what networks cost, ours beside other people's, and makes docs/performance.md of it.

python -m benchmarks                        everything, twenty minutes on two cores
python -m benchmarks training --only torch  one part of it, of one framework
python -m benchmarks inference --quick      one image, two short rounds; printed, and written nowhere
python -m benchmarks page                   the page, from what was written
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import spec
from benchmarks import page, results
from benchmarks.engines import FRAMEWORKS
from benchmarks.parts import PARTS, Options
from benchmarks.rounds import Settings
from benchmarks.sections import SECTIONS

QUICK = Options(Settings(rounds=2), batches=(1,), skipped=("compiled",))


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 where `page --check` finds that the page is not current; 2 for what cannot be measured or read."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}, or page; without, all but that")
    parser.add_argument("--quick", action="store_true", help="one image, two short rounds, nothing that compiles long")
    parser.add_argument("--only", metavar="NAMES", help=f"engines of these frameworks: {','.join(FRAMEWORKS)}")
    parser.add_argument("--skip", metavar="WORDS", help="no engines with one of these in their name: compiled,predict")
    parser.add_argument("--batches", metavar="NUMBERS", help="how many images, in inference: 1,8,32")
    parser.add_argument("--rounds", type=int, help="in which all engines take turns")
    parser.add_argument("--threads", type=int, help="of each engine")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where they are written to, and read from")
    parser.add_argument("--check", action="store_true", help="page: whether it is current")
    given = parser.parse_args(arguments)
    try:
        if given.parts == ["page"]:
            return page.refresh(given.results or results.RESULTS, given.check)
        measure(
            chosen_parts(given.parts),
            chosen_options(given),
            given.results or (None if given.quick else results.RESULTS),
        )
    except spec.SpecError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure(parts: Sequence[str], options: Options, folder: Path | None) -> None:
    """Each part in its file, as soon as it is done; and printed as on the page."""
    for part in parts:
        content = results.content(options, PARTS[part](options))
        if folder:
            results.write(folder, part, content)
        print("\n".join(SECTIONS[part](content)), flush=True)


def chosen_parts(names: Sequence[str]) -> Sequence[str]:
    """Those that are named; raises SpecError for one that is none."""
    for name in names:
        if name not in PARTS:
            raise spec.SpecError(f"unknown part {name!r}: known: {', '.join(PARTS)}, and page by itself")
    return names or list(PARTS)


def chosen_options(given: argparse.Namespace) -> Options:
    """Raises SpecError for what is out of range."""
    base = QUICK if given.quick else Options()
    frameworks = tuple(given.only.split(",")) if given.only else base.frameworks
    for name in frameworks:
        if name not in FRAMEWORKS:
            raise spec.SpecError(f"--only: unknown framework {name!r}: known: {', '.join(FRAMEWORKS)}")
    settings = Settings(
        _positive("--rounds", given.rounds, base.settings.rounds),
        base.settings.burst,
        _positive("--threads", given.threads, base.settings.threads),
    )
    return Options(
        settings,
        frameworks,
        _numbers(given.batches) if given.batches else base.batches,
        tuple(given.skip.split(",")) if given.skip else base.skipped,
    )


def _numbers(text: str) -> tuple[int, ...]:
    """1,8,32 as numbers, the smallest first."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise spec.SpecError(f"--batches must be whole numbers above 0 with commas between, found {text!r}: say 1,8")
    return tuple(sorted(set(map(int, words))))


def _positive(option: str, given: int | None, default: int) -> int:
    if given is not None and given < 1:
        raise spec.SpecError(f"{option} must be at least 1, found {given}")
    return given or default


if __name__ == "__main__":
    sys.exit(main())
