# shellcheck shell=bash disable=SC2034  # the scripts use the variables
# Sourced by build.sh, test.sh and export.sh: the container engine, the image, and a digest of its files.
#
#   find_engine                   sets ENGINE to docker or podman, the first that runs; CONTAINER_ENGINE names one
#   describe_image FOLDER         sets NAME, VERSION, REVISION, CONTENT_DIGEST and, unless it is set, IMAGE
#   require_image                 fails unless IMAGE exists and was built from the files in this folder
#   require_weights FOLDER        sets WEIGHTS to FOLDER, or to the folder in it that has the weights; fails if FOLDER
#                                 has links, no weights, or weights in several folders
#   pack_model FILE               writes the weights in WEIGHTS into FILE, a tarball for upload to the platform
#   accept_only_help SCRIPT ARG…  prints the comment at the head of SCRIPT if ARG is --help; refuses any other argument

find_engine() {
    local candidate
    for candidate in ${CONTAINER_ENGINE:-docker podman}; do
        if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
            ENGINE=$candidate
            return
        fi
    done
    if [ -n "${CONTAINER_ENGINE:-}" ]; then
        echo "CONTAINER_ENGINE=$CONTAINER_ENGINE does not run: is it installed, and is its service started?" >&2
    else
        echo "neither Docker nor podman runs: install and start one, or set CONTAINER_ENGINE" >&2
    fi
    return 1
}

describe_image() {
    local folder=$1
    NAME=swfastedit
    VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$folder/swfastedit_core/__init__.py")
    REVISION=$(git -C "$folder" describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null || echo unknown)
    CONTENT_DIGEST=$(cd "$folder" &&
        find Dockerfile .dockerignore LICENSE process.py requirements.txt swfastedit_core weights -type f \
            ! -path '*/__pycache__/*' -print | LC_ALL=C sort | while read -r file; do _sha256 "$file"; done | _sha256)
    CONTENT_DIGEST=${CONTENT_DIGEST%% *}
    IMAGE=${IMAGE:-$NAME:latest}
}

require_image() {
    local found label='{{index .Config.Labels "swfastedit.content"}}'
    if ! found=$("$ENGINE" image inspect --format "$label" "$IMAGE" 2>/dev/null); then
        echo "no image $IMAGE: run ./build.sh first" >&2
        return 1
    fi
    if [ "$found" != "$CONTENT_DIGEST" ]; then
        echo "the image $IMAGE was not built from the files in this folder: run ./build.sh again" >&2
        return 1
    fi
}

require_weights() {
    local folder=$1 odd found
    odd=$(find "$folder" ! -type f ! -type d -print -quit)
    if [ -n "$odd" ]; then
        echo "$odd: is a link or a special file, expected a regular file; copy the weights into this folder" >&2
        return 1
    fi
    found=$(find "$folder" -type f \( -name '*.safetensors' -o -name '*.pt' -o -name '*.pth' -o -name '*.ckpt' \) \
        ! -path '*/.*' -exec dirname {} + | sort -u)
    case $found in
    "") echo "$folder: no weights, expected .safetensors, .pt, .pth or .ckpt files" >&2 && return 1 ;;
    *$'\n'*) echo "$folder: weights in several folders (${found//$'\n'/, }), expected one" >&2 && return 1 ;;
    esac
    WEIGHTS=$found
}

pack_model() {
    local target=$1 file weights=()
    for file in "$WEIGHTS"/*.safetensors "$WEIGHTS"/*.pt "$WEIGHTS"/*.pth "$WEIGHTS"/*.ckpt; do
        if [ -f "$file" ]; then weights+=("${file##*/}"); fi
    done
    tar -C "$WEIGHTS" --owner=0 --group=0 --mode=a+r -czf "$target" -- "${weights[@]}"
}

accept_only_help() {
    local script=$1
    if [ $# -eq 1 ]; then return; fi
    case $2 in
    -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$script" && exit ;;
    *)
        echo "$2: ${script##*/} takes no arguments; set environment variables instead, see ${script##*/} --help" >&2
        exit 1
        ;;
    esac
}

_sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}
