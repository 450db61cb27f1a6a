"""The spec, executed by NumPy: the oracle, with no framework under it."""

from spec.reference.forward import *  # noqa: F403
