# Sourced by the scripts beside it: makes the environment in .venv, and names it $python.
#
# Made once with python3 (or $PYTHON), and renewed when the part of pyproject.toml that says what to
# install has changed, or the checkout has moved.  Otherwise nothing is installed and no network is needed.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python=$root/.venv/bin/python

wanted_environment() {
    echo "$root"
    awk '/^\[/ { wanted = /^\[(build-system|project|tool\.setuptools)/ } wanted' pyproject.toml | sha256sum
}

make_environment() {
    local stamp=.venv/.taskd-environment base=${PYTHON:-python3}
    if [ -x "$python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_environment)" ]; then
        return
    fi
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "$base is $("$base" --version 2>&1); taskd needs Python 3.10 or later: set PYTHON to one" >&2
        exit 1
    }
    echo "making the environment in .venv (needed once) ..." >&2
    "$base" -m venv .venv
    # compat: a plain path file; setuptools' default import hook costs every start of Python some 10 ms.
    "$python" -m pip install --quiet --disable-pip-version-check \
        --config-settings editable_mode=compat --editable '.[dev,gevent]'
    wanted_environment >"$stamp"
}

make_environment
export PATH=$root/.venv/bin:$PATH
