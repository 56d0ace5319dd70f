#!/usr/bin/env bash
# The one test command: linters, types, directions of import, tests, and the program on the shipped scan.
# Arguments go to pytest: ./test.sh -k parity
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
# shellcheck source=.ci/environment.sh
source .ci/environment.sh
environment "$here" dev
bin=$VENV/bin

step() { printf '\n== %s\n' "$1"; }

step "ruff: lint and format"
"$bin/ruff" check .
"$bin/ruff" format --check .
step "mypy: types"
"$bin/mypy"
step "import-linter: rooms"
"$bin/lint-imports" --no-logo 2>/dev/null || "$bin/lint-imports"
step "pytest"
"$PYTHON" -m pytest "$@"
step "process.py on test/input against expected_output"
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
# in float32: processors round bfloat16 differently
"$PYTHON" process.py --input test/input --output "$output" --precision float32
"$PYTHON" test/compare_masks.py expected_output "$output"
printf '\nall tests passed\n'
