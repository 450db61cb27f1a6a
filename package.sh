#!/bin/sh
# Builds the sdist, and of that the wheel, into dist/; then tries the wheel with each framework alone, in an environment
# of its own. $1 is the environment with the tools to build.
set -eu

rm -rf dist .package
"$1/bin/python" -m hatchling build -t sdist -d dist
"$1/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist dist/*.tar.gz
for framework in torch mxnet keras onnx; do
    "$1/bin/python" -m venv ".package/$framework"
    ".package/$framework/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        "$(echo dist/*.whl)[$framework]"
    cp tests/installed.py ".package/$framework/installed.py" # away from the packages' sources
    ".package/$framework/bin/python" ".package/$framework/installed.py" "$framework"
done
rm -rf .package
