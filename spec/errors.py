"""The one exception for everything that cannot be built, loaded or computed."""

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """One clear sentence: which field or file, what was found, what was expected, what to do."""


class SpecWarning(UserWarning):
    """One clear sentence about what was done to make something fit."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x' or 'y'?`, or `known: ...` when nothing is near."""
    known = list(known)
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "known: " + ", ".join(known)
