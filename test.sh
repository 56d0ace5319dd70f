#!/usr/bin/env bash
# Runs all tests. The native part checks the code (linters, types, imports, tests) and runs the program on the shipped
# scan. The container part runs the image that ./build.sh made, as grand-challenge.org does.
#
#   ./test.sh                   both parts; only the native part if neither Docker nor podman runs
#                               (if CONTAINER_ENGINE is set, this engine must run)
#   ./test.sh --native          the native part
#   ./test.sh --container       the container part; fails if neither Docker nor podman runs
#   ./test.sh --no-faults       the container part, without the modified images that must fail a check
#   ./test.sh --long            the tests marked long, which take minutes
#   ./test.sh --real            the tests marked real, long ones too; skipped if ../shared/data has no scans
#   ./test.sh --time-limit 600  seconds that the container may take for one case (default: 300)
#   ./test.sh --memory-gb 32    memory of the platform's instance (default: 16, or this machine's memory minus 1 GB
#                               if that is smaller)
#   ./test.sh -k parity         other arguments go to pytest; without --container, --long or --real only the native part
#                               runs
#
# SWFASTEDIT_VENV names a folder for the environment (default: .venv), PYTHON an interpreter.
set -euo pipefail
pwd -P >/dev/null 2>&1 ||
    { echo "the working directory cannot be used; was it deleted? change to another folder" >&2; exit 1; }
self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do # older versions of macOS have no readlink -f
    target=$(readlink "$self")
    case $target in /*) self=$target ;; *) self=$(dirname -- "$self")/$target ;; esac
done
here=$(CDPATH='' cd -P -- "$(dirname -- "$self")" && pwd)
# shellcheck source=.ci/environment.sh
source "$here/.ci/environment.sh"
# shellcheck source=.ci/image.sh
source "$here/.ci/image.sh"
cd "$here"

step() { printf '\n== %s\n' "$1"; }

native() {
    local bin=$VENV/bin output=$scratch/output
    step "ruff: lint and format"
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    step "mypy: types"
    "$bin/mypy"
    step "import-linter: layers"
    "$bin/lint-imports"
    step "pytest"
    run_tests "not container and not long" "$@"
    step "process.py on test/input against expected_output"
    # PyTorch in float32, because the rounding of other engines depends on their version and on the processor
    "$PYTHON" process.py --input test/input --output "$output" --engine torch --precision float32
    "$PYTHON" test/compare_masks.py expected_output "$output"
}

# Runs the tests that a marker expression selects, in two processes with one thread each.
run_tests() {
    local marked=$1
    shift
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$PYTHON" -m pytest -n 2 --dist worksteal --durations=15 -m "$marked" "$@"
}

# Passes without long tests (pytest's exit code 5). With arguments that select no test, it fails.
long() {
    local code=0
    run_tests "long and not container" "$@" || code=$?
    if [ "$code" = 5 ] && [ $# = 0 ]; then return; fi
    return "$code"
}

container() {
    describe_image "$here"
    require_image
    step "$IMAGE as the platform runs it ($ENGINE)"
    require_weights weights
    pack_model "$scratch/model.tar.gz"
    PYTHONPATH=$here/test "$PYTHON" -m trial --engine "$ENGINE" --image "$IMAGE" "${limits[@]}" \
        --model "$scratch/model.tar.gz"
    if [ "$faults" = no ]; then return; fi
    step "tests of the checks: modified images must fail"
    TRIAL_ENGINE=$ENGINE TRIAL_IMAGE=$IMAGE "$PYTHON" -m pytest -m container "$@"
}

part=both limits=(--time-limit 300) faults=yes
while [ $# -gt 0 ]; do
    case $1 in
    --native) part=native ;;
    --container) part=container ;;
    --long | --real) part=${1#--} ;;
    --no-faults) faults=no ;;
    --time-limit | --memory-gb)
        [[ ${2:-} =~ ^[0-9]+([.][0-9]+)?$ && $2 =~ [1-9] ]] ||
            { echo "$1 ${2:-}: expected a number above 0" >&2; exit 1; }
        limits+=("$1" "$2")
        shift
        ;;
    -h | --help) accept_only_help "$here/test.sh" "$1" ;;
    *) break ;;
    esac
    shift
done
if [ ! -w "$here" ]; then
    echo "$here: cannot be written, and the tools write their caches there; copy the clone and test the copy" >&2
    exit 1
fi
if [ "$part" = both ] && [ $# -gt 0 ]; then part=native; fi
if [ "$part" = container ] || { [ "$part" = both ] && [ -n "${CONTAINER_ENGINE:-}" ]; }; then
    find_engine
elif [ "$part" = both ] && ! find_engine 2>/dev/null; then
    part=native
    left_out=1
fi
# Check the image first: the native part takes minutes.
if [[ $part = both || $part = container ]]; then (describe_image "$here" && require_image); fi
make_environment "$here" dev
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
case $part in
long) long "$@" ;;
real) run_tests "real and not container" "$@" ;;
container) container "$@" ;;
*) native "$@" ;;
esac
if [ "$part" = both ]; then container "$@"; fi
if [ -n "${left_out:-}" ]; then printf '\nneither Docker nor podman runs: the container was not tested\n'; fi
printf '\nall tests passed\n'
