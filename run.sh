#!/usr/bin/env bash
# Quick start: installs the requirements into .venv (once, minutes), then segments a scan.
#
#   ./run.sh                                   segments the synthetic scan in test/input; writes the mask below output/
#   ./run.sh --device cpu                      the same, with options of process.py
#   ./run.sh scan.nii.gz study/                segments other scans; all arguments go to process.py
#   ./run.sh --help                            lists the options of process.py; installs nothing
#
# SWFASTEDIT_VENV names another folder for the environment, PYTHON another interpreter. The script uses a folder that is
# missing, empty, or made by it. It never changes any other folder, and uses it only if all requirements are installed.
# If the clone cannot be written, the environment lies in ~/.cache/swfastedit (or below XDG_CACHE_HOME), and the default
# output is output/ in the working directory.
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

# Quotes a word for the options in SWFASTEDIT_OPTIONS, which are in shell syntax.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

scan=test
for argument in "$@"; do
    case $argument in
    -h | --help) # needs only Python, not the requirements
        python=$(find_python)
        exec "$python" -B "$here/process.py" "$@"
        ;;
    --pet | --pet=* | --input | --input=* | --api-method | --api-method=*) scan=given ;;
    esac
done
make_environment "$here"
if [ $scan = test ]; then # defaults: options of the command line override them
    output=$here/output
    if [ ! -w "$here" ] || { [ -e "$output" ] && [ ! -w "$output" ]; }; then output=$PWD/output; fi
    if [ $# = 0 ]; then echo "the scan is in $here/test/input; its mask will be below $output"; fi
    SWFASTEDIT_OPTIONS="--input $(quote "$here/test/input") --output $(quote "$output") ${SWFASTEDIT_OPTIONS:-}"
    export SWFASTEDIT_OPTIONS
fi
exec "$PYTHON" "$here/process.py" "$@"
