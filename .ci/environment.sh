# shellcheck shell=bash
# Sourced by the scripts: makes a virtual environment with the pinned requirements, once.
#
#   find_python                      prints the first Python of PYTHON, python3, python3.14 … that is 3.11 or newer
#   make_environment FOLDER          installs what process.py needs
#   make_environment FOLDER dev      the same, and the named dependency groups of pyproject.toml
#
# FOLDER is the repository. Settings: PYTHON names the interpreter; SWFASTEDIT_VENV names the environment's folder. The
# default is .venv in the repository, and a folder in ~/.cache/swfastedit if the repository cannot be written. The
# function sets PYTHON and VENV to the environment's interpreter and folder; environment.py does the work. The file works
# with bash 3.2, which macOS has.

# A relative path is relative to the folder in which the user calls the script.
case ${SWFASTEDIT_VENV:-/} in /*) ;; *) SWFASTEDIT_VENV=$PWD/$SWFASTEDIT_VENV ;; esac

make_environment() {
    local folder=$1 python
    shift
    python=$(find_python) || return 1
    trap 'exit 130' INT # without it, bash ends at once and the installation ends later
    VENV=$(SWFASTEDIT_VENV=${SWFASTEDIT_VENV:-} "$python" -B "$folder/.ci/environment.py" "$python" "$folder" "$@") ||
        return
    trap - INT
    PYTHON=$VENV/bin/python
}

find_python() {
    local python newest='' hint='install Python 3.11 or newer, or set PYTHON to one'
    for python in ${PYTHON:+"$PYTHON"} ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        command -v "$python" >/dev/null || continue
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
        newest=${newest:-$("$python" --version 2>&1)} # empty if it does not run
        newest=${newest:-$python}
    done
    if [ -n "$newest" ]; then
        case $newest in Python*) newest="$newest is too old" ;; *) newest="$newest does not run" ;; esac
        echo "$newest: $hint" >&2
    else
        echo "no ${PYTHON:-python3} found: $hint" >&2
    fi
    return 1
}
