#!/usr/bin/env bash
# The one test command. First the code: linters, types, directions of import, tests, the program on the shipped scan.
# Then, where Docker or podman answers, the image that ./build.sh made, run as grand-challenge.org would.
#
#   ./test.sh                   both; the first part only where no engine answers and CONTAINER_ENGINE names none
#   ./test.sh --native          the first part only
#   ./test.sh --container       the second part only; fails without an engine
#   ./test.sh --no-faults       the second part without the images that break a check on purpose
#   ./test.sh --time-limit 600  seconds that the container may take for one case (default: 300)
#   ./test.sh --memory-gb 32    memory of the platform's instance (default: 16, or what this machine has less 1)
#   ./test.sh -k parity         other arguments go to pytest; the first part only, unless --container is given
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
# shellcheck source=.ci/environment.sh
source .ci/environment.sh
# shellcheck source=.ci/image.sh
source .ci/image.sh

step() { printf '\n== %s\n' "$1"; }

native() {
    local bin=$VENV/bin output=$scratch/output
    step "ruff: lint and format"
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    step "mypy: types"
    "$bin/mypy"
    step "import-linter: rooms"
    "$bin/lint-imports" --no-logo 2>/dev/null || "$bin/lint-imports"
    step "pytest"
    # Two processes with a thread each: most of the time goes into starting programs, one after the other.
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$PYTHON" -m pytest -n 2 --dist worksteal -m "not container" "$@"
    step "process.py on test/input against expected_output"
    # by PyTorch in float32: what others round differs from one version and processor to the next
    "$PYTHON" process.py --input test/input --output "$output" --engine torch --precision float32
    "$PYTHON" test/compare_masks.py expected_output "$output"
}

container() {
    describe_image "$here"
    require_image
    step "$IMAGE as the platform runs it ($ENGINE)"
    require_weights weights
    pack_model "$scratch/model.tar.gz"
    PYTHONPATH=test "$PYTHON" -m trial --engine "$ENGINE" --image "$IMAGE" "${limits[@]}" --model "$scratch/model.tar.gz"
    if [ "$faults" = no ]; then return; fi
    step "the checks themselves, on images that break them"
    TRIAL_ENGINE=$ENGINE TRIAL_IMAGE=$IMAGE "$PYTHON" -m pytest -m container "$@"
}

part=both limits=(--time-limit 300) faults=yes
while [ $# -gt 0 ]; do
    case $1 in
    --native) part=native ;;
    --container) part=container ;;
    --no-faults) faults=no ;;
    --time-limit | --memory-gb)
        [[ ${2:-} =~ ^[0-9]+([.][0-9]+)?$ && $2 =~ [1-9] ]] || { echo "$1 ${2:-}: expected a number above 0" >&2; exit 1; }
        limits+=("$1" "$2")
        shift
        ;;
    -h | --help) only_help "${BASH_SOURCE[0]}" "$1" ;;
    *) break ;;
    esac
    shift
done
if [ "$part" = both ] && [ $# -gt 0 ]; then part=native; fi
if [ "$part" = container ] || { [ "$part" = both ] && [ -n "${CONTAINER_ENGINE:-}" ]; }; then
    find_engine
elif [ "$part" = both ] && ! find_engine 2>/dev/null; then
    part=native
    left_out=1
fi
if [ "$part" != native ]; then (describe_image "$here" && require_image); fi # before the minutes of the first part
environment "$here" dev
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "$part" != container ]; then native "$@"; fi
if [ "$part" != native ]; then container "$@"; fi
if [ -n "${left_out:-}" ]; then printf '\nno container engine answers: the container was not tried\n'; fi
printf '\nall tests passed\n'
