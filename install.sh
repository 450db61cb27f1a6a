#!/bin/sh
# Creates the virtual environment $1 and installs this project with the extras $2 into it, pinned by constraints.txt.
# Uses $PYTHON where it is set, else the first Python on the path that all three frameworks run on.
set -eu

runs() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
    if runs "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "No Python that all three frameworks run on was found (${PYTHON:-looked for python3.11 and python3.12}):" \
        "install Python 3.11 with its venv module (Debian: apt-get install python3.11 python3.11-venv), then run make again." >&2
    exit 1
fi
if [ ! -x "$1/bin/python" ] && ! "$python" -m venv "$1"; then
    rm -rf "$1"
    echo "$python has no venv module: install it (Debian: apt-get install python3-venv), then run make again." >&2
    exit 1
fi
"$1/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$2]"
