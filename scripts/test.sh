#!/usr/bin/env bash
# Lint, types and all tests, in the .venv that quickstart uses. Arguments go to pytest: scripts/test.sh tests/train -k resume
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh dev
scripts/fetch_bindings.sh
export PATH="$PWD/.venv/bin:$PATH"
export OMP_WAIT_POLICY=PASSIVE # torch's threads would spin while they wait, and other load makes that many times slower

ruff check .
ruff format --check .
mypy
pytest "$@"
