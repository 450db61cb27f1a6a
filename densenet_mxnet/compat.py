"""Imports MXNet 1.9.1 under the NumPy that is installed. Must come before `import mxnet`."""

import numpy

if int(numpy.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"MXNet 1.9.1 needs NumPy 1, found NumPy {numpy.__version__}: pip install 'numpy<2' (1.26.4 works)"
    )

# MXNet reads the alias that NumPy 1.24 removed, at import and again when called.
if "bool" not in vars(numpy):
    numpy.bool = numpy.bool_  # type: ignore[attr-defined]

try:
    import mxnet  # noqa: F401
except ImportError as error:
    if error.name == "distutils":
        raise ImportError("MXNet 1.9.1 needs distutils, which Python 3.12 removed: pip install setuptools") from error
    raise ImportError(
        "densenet_mxnet needs MXNet, which is not installed: pip install 'densenet-reference[mxnet]'"
    ) from error
