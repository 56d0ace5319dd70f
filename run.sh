#!/usr/bin/env bash
# Quick start: installs what is needed into .venv (once), then segments a scan.
#
#   ./run.sh                                   the synthetic scan in test/input; the mask goes below ./output
#   ./run.sh --pet scan.nii.gz --output masks  any arguments of process.py
#
# SWFASTEDIT_VENV names another folder for the environment, PYTHON another interpreter. The folder must not exist or be
# empty; a folder with anything that this script did not make is refused and left as it is.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=.ci/environment.sh
source "$here/.ci/environment.sh"
environment "$here"
if [ $# -gt 0 ]; then
    exec "$PYTHON" "$here/process.py" "$@"
fi
"$PYTHON" "$here/process.py" --input "$here/test/input" --output "$here/output"
echo "the mask is in $here/output/images/automated-petct-lesion-segmentation"
