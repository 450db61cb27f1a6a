"""Backends held against the NumPy reference: the same weights, the same images, the same numbers out."""

from densenet_tools.parity.checks import Comparison, verify
from densenet_tools.parity.verdict import Check, Departure, Verdict

__all__ = ["Check", "Comparison", "Departure", "Verdict", "verify"]
