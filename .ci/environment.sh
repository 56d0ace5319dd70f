# Sourced by run.sh and test.sh: a virtual environment with the pinned requirements, made once.
#
#   environment FOLDER          what process.py needs
#   environment FOLDER dev      … and the named extras of pyproject.toml
#
# FOLDER is the repository. PYTHON chooses the interpreter, VENV the environment's folder (default: .venv in the
# repository); both end up set. pip's own settings (index, proxy, certificates) are respected.

environment() {
    local folder=$1 python=${PYTHON:-python3} wanted
    shift
    VENV=${VENV:-$folder/.venv}
    command -v "$python" >/dev/null ||
        { echo "no $python found: install Python 3.11 or newer, or set PYTHON to one" >&2; return 1; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        { echo "$("$python" --version) is too old: install Python 3.11 or newer, or set PYTHON to one" >&2; return 1; }
    wanted=$(_wanted "$folder" "$@") || return 1
    PYTHON=$VENV/bin/python
    if [ -f "$VENV/installed.txt" ] && ! grep -vxFf "$VENV/installed.txt" <<<"$wanted" >/dev/null; then
        return
    fi
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear "$VENV" ||
            { echo "cannot make $VENV: is Python's venv module installed (Debian: python3-venv)?" >&2; return 1; }
    fi
    echo "installing the requirements into $VENV (once; about 2 GB, more with CUDA)"
    rm -f "$VENV/installed.txt"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --requirement <(printf '%s\n' "$wanted") || return 1
    printf '%s\n' "$wanted" >"$VENV/installed.txt"
}

# The requirements, one a line; cupy only where there is an NVIDIA GPU.
_wanted() {
    "$python" - "$@" <<'EOF'
import shutil, subprocess, sys, tomllib
from pathlib import Path

folder, extras = Path(sys.argv[1]), sys.argv[2:]
lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if line[:1] not in ("", "#")]
gpus = subprocess.run(["nvidia-smi", "-L"], capture_output=True).stdout if shutil.which("nvidia-smi") else b""
if not gpus.strip():
    lines = [line for line in lines if not line.startswith("cupy")]
optional = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]
print(*lines, *(line for extra in extras for line in optional[extra]), sep="\n")
EOF
}
