# shellcheck shell=bash disable=SC2034  # the scripts use the variables
# Sourced by build.sh, test.sh and export.sh: the container engine, the image, and a digest of its content.
#
#   find_engine                   sets ENGINE to docker or podman, the first that runs; CONTAINER_ENGINE names one
#   describe_image FOLDER         sets NAME, VERSION, REVISION, FILES_DIGEST and, unless it is set, IMAGE
#   image_options METHOD OPTIONS  prints SWFASTEDIT_OPTIONS of an image, as the Dockerfile sets it
#   content_digest METHOD OPTIONS prints a digest of the image's files, its API method and its SWFASTEDIT_OPTIONS
#   read_image IMAGE              sets FOUND_DIGEST, FOUND_METHOD and FOUND_OPTIONS; fails if there is no such image
#   require_image                 fails unless IMAGE exists, was built from the files in this folder, and has the
#                                 API_METHOD and the OPTIONS of the environment, as far as these are set
#   source_address REMOTE         prints the address of a git remote as http(s) without credentials; nothing for a folder
#   require_weights FOLDER        sets WEIGHTS to FOLDER, or to the folder in it that has the weights; fails if FOLDER
#                                 has links, no weights, or weights in several folders
#   pack_model FILE               writes the weights in WEIGHTS into FILE, a tarball for upload to the platform; it runs
#                                 the interpreter PYTHON (default: python3)
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
    FILES_DIGEST=$(cd "$folder" &&
        find Dockerfile .dockerignore .ci/remove_unused.py LICENSE process.py requirements.txt swfastedit_core weights \
            -type f ! -path '*/__pycache__/*' -print |
        LC_ALL=C sort | while read -r file; do _sha256 "$file"; done | _sha256)
    FILES_DIGEST=${FILES_DIGEST%% *}
    IMAGE=${IMAGE:-$NAME:latest}
}

image_options() {
    local options="--api-method $1 --host 0.0.0.0 $2"
    echo "${options//$'\n'/ }"
}

content_digest() {
    local digest
    digest=$(printf '%s\n' "$FILES_DIGEST" "$@" | _sha256)
    echo "${digest%% *}"
}

read_image() {
    local found format='{{println (index .Config.Labels "swfastedit.content")}}'
    format+='{{println (index .Config.Labels "org.grand-challenge.api-method")}}'
    format+='{{range .Config.Env}}{{println .}}{{end}}'
    found=$("$ENGINE" image inspect --format "$format" "$1" 2>/dev/null) || return 1
    { read -r FOUND_DIGEST && read -r FOUND_METHOD && FOUND_OPTIONS=$(sed -n 's/^SWFASTEDIT_OPTIONS=//p'); } <<<"$found"
}

require_image() {
    local options wanted
    if ! read_image "$IMAGE"; then
        echo "no image $IMAGE: run ./build.sh first" >&2
        return 1
    fi
    if [ "$FOUND_DIGEST" != "$(content_digest "$FOUND_METHOD" "$FOUND_OPTIONS")" ]; then
        echo "the image $IMAGE was not built from the files in this folder: run ./build.sh again" >&2
        return 1
    fi
    options=${FOUND_OPTIONS#"$(image_options "$FOUND_METHOD" "")"}
    wanted=$(image_options "${API_METHOD:-$FOUND_METHOD}" "${OPTIONS-$options}")
    if [ "$FOUND_OPTIONS" != "$wanted" ]; then
        echo "the image $IMAGE was built with '$FOUND_OPTIONS', expected '$wanted': run ./build.sh again" >&2
        return 1
    fi
}

source_address() {
    local scheme=https host path
    local url='^(https?|ssh|git|git\+ssh|ssh\+git)://([^/]*@)?([^/@]+)(/.+)$'
    local scp='^([^/@:]+@)?([A-Za-z0-9-]+([.][A-Za-z0-9-]+)+):/*([^/@][^@]*)$' # a host without dot may be an alias
    if [[ $1 =~ $url ]]; then
        host=${BASH_REMATCH[3]} path=${BASH_REMATCH[4]}
        case ${BASH_REMATCH[1]} in
        http | https) scheme=${BASH_REMATCH[1]} ;;
        *) host=${host%:*} ;; # the port of SSH
        esac
    elif [[ $1 =~ $scp ]]; then
        host=${BASH_REMATCH[2]} path=/${BASH_REMATCH[4]}
    else
        return 0
    fi
    echo "$scheme://$host${path%%[?#]*}"
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

# The same weights make the same bytes: sorted names, no times, no owner.
pack_model() {
    "${PYTHON:-python3}" - "$1" "$WEIGHTS" <<'PYTHON'
import gzip, sys, tarfile
from pathlib import Path

target, folder = map(Path, sys.argv[1:])
suffixes = (".safetensors", ".pt", ".pth", ".ckpt")
weights = [path for path in folder.iterdir() if path.suffix in suffixes and path.name[0] != "." and path.is_file()]
with (
    target.open("wb") as file,
    gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
    tarfile.open(fileobj=packed, mode="w") as tar,
):
    for path in sorted(weights):
        member = tarfile.TarInfo(path.name)
        member.size, member.mode = path.stat().st_size, 0o644
        with path.open("rb") as content:
            tar.addfile(member, content)
PYTHON
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
