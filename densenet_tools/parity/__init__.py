"""Backends held against the NumPy reference: the same weights, the same images, the same numbers out."""

from densenet_tools.parity.verdict import (
    Check,
    Comparison,
    Departure,
    compare,
    difference,
    first_departure,
    gradient_differences,
    layer_differences,
)

__all__ = [
    "Check",
    "Comparison",
    "Departure",
    "compare",
    "difference",
    "first_departure",
    "gradient_differences",
    "layer_differences",
]
