# shellcheck shell=bash
# Sourced by the scripts: makes a virtual environment with the pinned requirements, once.
#
#   make_environment FOLDER          what process.py needs
#   make_environment FOLDER dev      the same, and the named dependency groups of pyproject.toml
#
# FOLDER is the repository. Settings: PYTHON names the interpreter; SWFASTEDIT_VENV names the environment's folder
# (default: .venv in the repository). The function sets PYTHON and VENV to the environment's interpreter and folder. It
# uses pip's own settings (index, proxy, certificates), except those that name another place to install to.
#
# A file named .swfastedit marks a folder that this script made. Any other folder that is not empty is refused, never
# changed. In a marked folder, only the environment's own files are removed.

# A relative path is relative to the folder in which the user calls the script.
case ${SWFASTEDIT_VENV:-/} in /*) ;; *) SWFASTEDIT_VENV=$PWD/$SWFASTEDIT_VENV ;; esac

make_environment() {
    local folder=$1 python=${PYTHON:-python3} requirements
    shift
    VENV=${SWFASTEDIT_VENV:-$folder/.venv}
    command -v "$python" >/dev/null ||
        { echo "no $python found: install Python 3.11 or newer, or set PYTHON to one" >&2; return 1; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        { echo "$("$python" --version) is too old: install Python 3.11 or newer, or set PYTHON to one" >&2; return 1; }
    _require_own "$folder" || return 1
    requirements=$(_requirements "$folder" "$@") || return 1
    PYTHON=$VENV/bin/python
    if [ -x "$PYTHON" ] && [ -f "$VENV/installed.txt" ] &&
        ! grep -vxFf "$VENV/installed.txt" <<<"$requirements" >/dev/null; then
        return
    fi
    { mkdir -p "$VENV" && touch "$VENV/.swfastedit"; } 2>/dev/null ||
        { echo "$VENV: cannot be written; set SWFASTEDIT_VENV to a folder for the environment" >&2; return 1; }
    rm -f "$VENV/installed.txt"
    if ! _pip --version >/dev/null 2>&1; then
        rm -rf "${VENV:?}"/{bin,include,lib,lib64,pyvenv.cfg}
        "$python" -m venv "$VENV" ||
            { echo "$VENV: no environment could be made; is Python's venv module installed (Debian: python3-venv)?" >&2
              return 1; }
    fi
    echo "installing the requirements into $VENV (once; about 2 GB, more with CUDA)"
    _pip install --quiet --disable-pip-version-check --requirement <(printf '%s\n' "$requirements") || return 1
    printf '%s\n' "$requirements" >"$VENV/installed.txt"
}

# Fails unless VENV has the mark, is empty, or does not exist yet. Older versions of this script wrote installed.txt but
# no mark. Their .venv is used if its pip works.
_require_own() {
    local folder=$1 entries
    if [ -e "$VENV/.swfastedit" ] || [ ! -e "$VENV" ]; then return; fi
    if [ -d "$VENV" ] && entries=$(ls -A "$VENV" 2>/dev/null) && [ -z "$entries" ]; then return; fi
    if [ "$VENV" = "$folder/.venv" ] && [ -f "$VENV/installed.txt" ] && _pip --version >/dev/null 2>&1; then return; fi
    echo "$VENV: holds other files and is not changed; set SWFASTEDIT_VENV to a new or an empty folder" >&2
    return 1
}

# Runs the environment's pip, which installs into this environment only.
_pip() {
    env -u PIP_PYTHON -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT -u PIP_USER "$VENV/bin/python" -m pip "$@"
}

# Prints the requirements, one a line; cupy only if there is an NVIDIA GPU.
_requirements() {
    "$python" - "$@" <<'PYTHON'
import shutil, subprocess, sys, tomllib
from pathlib import Path

folder, extras = Path(sys.argv[1]), sys.argv[2:]
lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if line[:1] not in ("", "#")]
gpus = subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout if shutil.which("nvidia-smi") else b""
if not gpus.strip():
    lines = [line for line in lines if not line.startswith("cupy")]
optional = tomllib.loads((folder / "pyproject.toml").read_text())["dependency-groups"]
print(*lines, *(line for extra in extras for line in optional[extra]), sep="\n")
PYTHON
}
