#!/usr/bin/env bash
# Quick start: installs the requirements into .venv (once), then segments a scan.
#
#   ./run.sh                                   segments the synthetic scan in test/input; writes the mask below output/
#   ./run.sh --pet scan.nii.gz --output masks  passes its arguments to process.py
#
# SWFASTEDIT_VENV names another folder for the environment, PYTHON another interpreter. The script uses a folder that is
# missing, empty, or made by it. It refuses any other folder and does not change it.
set -euo pipefail
pwd -P >/dev/null 2>&1 ||
    { echo "the working directory cannot be used; was it deleted? change to another folder" >&2; exit 1; }
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=.ci/environment.sh
source "$here/.ci/environment.sh"
make_environment "$here"
if [ $# -gt 0 ]; then
    exec "$PYTHON" "$here/process.py" "$@"
fi
"$PYTHON" "$here/process.py" --input "$here/test/input" --output "$here/output"
echo "the mask is in $here/output/images/automated-petct-lesion-segmentation"
