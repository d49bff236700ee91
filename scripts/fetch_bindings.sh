#!/usr/bin/env bash
# Usage: scripts/fetch_bindings.sh [DIR]      (default: .venv/tensorrt-bindings)
# Fetches the Python bindings, without their libraries, of the TensorRT versions that tests/export/tensorrt drives: 3 MB.
# A version that has no wheel for this Python is named and left out; its tests skip.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.venv/tensorrt-bindings}
python=${PYTHON:-.venv/bin/python}

fetch() { # VERSION REQUIREMENT
    [ -d "$folder/$1/tensorrt_bindings" ] && return
    local wheels
    wheels=$(mktemp -d "$folder/.$1.XXXXXX")
    if "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheels" "$2"; then
        "$python" -m zipfile -e "$wheels"/*.whl "$wheels/unpacked"
        rm -rf "${folder:?}/$1"
        mv "$wheels/unpacked" "$folder/$1"
    else
        echo "$2 could not be had for $("$python" --version 2>&1) on $(uname -m): its tests will skip." >&2
    fi
    rm -rf "$wheels"
}

mkdir -p "$folder"
fetch 8.6.1 'tensorrt-bindings==8.6.1'
fetch 10.3.0 'tensorrt-cu12-bindings==10.3.0'
fetch 11.4.0 'tensorrt-cu13-bindings==11.4.0.*'
