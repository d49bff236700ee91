#!/usr/bin/env bash
# Usage: scripts/install.sh EXTRAS      (say: export,report)
# Creates .venv where there is none and installs this checkout into it, in the tested versions; does nothing when that is done.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || {
    echo "vlm-edge needs Python 3.10 to 3.13, and $python is $("$python" --version 2>&1). Try: PYTHON=python3.11 $0 $extras" >&2
    exit 2
}
[ -x .venv/bin/python ] || "$python" -m venv .venv

stamp=.venv/installed-$extras
wanted=$(cat pyproject.toml constraints.txt | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing vlm-edge[$extras] into .venv: about 6 GB with torch, a few minutes."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$extras]"
    echo "$wanted" >"$stamp"
fi
