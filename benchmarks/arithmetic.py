"""What is made of measured times: medians and quartiles, ratios round by round, and how a cost grows."""

import statistics
from collections.abc import Sequence

import numpy as np


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third."""
    first, median, third = np.percentile(values, [25, 50, 75])
    return float(first), float(median), float(third)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of one time divided by another of the same round."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def exponent(at: Sequence[float], costs: Sequence[float]) -> float:
    """p of cost = c * at**p: the slope of a straight line through the logarithms, by least squares."""
    return slope(np.log(at).tolist(), np.log(costs).tolist())


def slope(at: Sequence[float], costs: Sequence[float]) -> float:
    """What one more of `at` costs: the slope of a straight line, by least squares."""
    x, y = np.asarray(at, float), np.asarray(costs, float)
    x = x - x.mean()
    return float(x @ y / (x @ x))
