# Sourced by the scripts beside it: makes the environment in .venv, and names its interpreter $python.
#
# Made once with python3 (or $PYTHON) from the releases in requirements/dev.lock, and renewed when that file, or
# the part of pyproject.toml that says what to install, has changed, or the checkout has moved.  Otherwise
# nothing is installed and no network is needed.
#
# A script may set $environment (a directory), $lock and $base (an interpreter) before, for another one.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
environment=${environment:-.venv}
lock=${lock:-requirements/dev.lock}
base=${base:-${PYTHON:-python3}}
python=$root/$environment/bin/python

# Celery's own integration suite, which its wheel does not have: in the environment, never in the repository.
celery_suite() {
    local tests=$environment/celery-suite archives
    archives=$(mktemp -d)
    # The lock names the hashes of all files of a release, its source among them.
    awk '/^[a-z]/ { wanted = /^celery==/ } wanted' "$lock" >"$archives/celery.txt"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --no-binary celery --require-hashes -r "$archives/celery.txt" --dest "$archives"
    rm -rf "$tests"
    mkdir -p "$tests"
    tar -xzf "$archives"/celery-*.tar.gz -C "$tests" --strip-components 1 --wildcards '*/t' '*/pyproject.toml'
    rm -rf "$archives"
}

wanted_environment() {
    echo "$root"
    declare -f celery_suite
    awk '/^\[/ { wanted = /^\[(build-system|project|tool\.setuptools)/ } wanted' pyproject.toml | sha256sum
    sha256sum <"$lock"
}

install() {
    # Nothing but what the lock names, not even to build what comes as source; always by way of a wheel, whose
    # list of files is true.
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --use-pep517 "$@"
}

make_environment() {
    local stamp=$environment/.taskd-environment
    if [ -x "$python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_environment)" ]; then
        return
    fi
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "$base is $("$base" --version 2>&1); taskd needs Python 3.10 or later: set PYTHON to one" >&2
        exit 1
    }
    echo "making the environment in $environment (needed once) ..." >&2
    "$base" -m venv "$environment"
    # What builds the others comes first.
    awk '/^[a-z]/ { wanted = /^setuptools==/ } wanted' "$lock" | install --require-hashes -r /dev/stdin
    install --require-hashes -r "$lock"
    # compat: a plain path file; setuptools' default import hook costs every start of Python some 10 ms.
    install --config-settings editable_mode=compat --editable .
    [ "$lock" != requirements/dev.lock ] || celery_suite
    wanted_environment >"$stamp"
}

make_environment
# Containers often set it; the tests start thousands of interpreters, and each would compile taskd anew.
unset PYTHONDONTWRITEBYTECODE
export PATH=$root/$environment/bin:$PATH
