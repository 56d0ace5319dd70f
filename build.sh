#!/usr/bin/env bash
# Build the algorithm's image: swfastedit:<git revision>, also as swfastedit:latest.
#
#   CONTAINER_ENGINE       docker or podman (default: the first that runs)
#   BASE_IMAGE             an image with Python and torch (default: the Dockerfile's)
#   API_METHOD             exec or invoke (default: exec)
#   SOURCE                 address of the code, for a label of the image (default: the clone's remote, as https and
#                          without credentials; "unknown" if that is a folder)
#   OPTIONS                options of process.py to bake in: OPTIONS="--task autopet4" ./build.sh
#   CONTAINER_BUILD_FLAGS  more flags for the build, such as --network=host
#
# The image gets these names after all checks. If the build fails or is interrupted, earlier images keep them.
set -euo pipefail
pwd -P >/dev/null 2>&1 ||
    { echo "the working directory cannot be used; was it deleted? change to another folder" >&2; exit 1; }
self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do # older versions of macOS have no readlink -f
    target=$(readlink "$self")
    case $target in /*) self=$target ;; *) self=$(dirname -- "$self")/$target ;; esac
done
here=$(CDPATH='' cd -P -- "$(dirname -- "$self")" && pwd)
# shellcheck source=.ci/image.sh
source "$here/.ci/image.sh"
accept_only_help "$here/build.sh" "$@"
find_engine
require_weights "$here/weights"
describe_image "$here"
API_METHOD=${API_METHOD:-exec}
case $API_METHOD in
exec | invoke) ;;
*) echo "API_METHOD=$API_METHOD, expected exec or invoke" >&2 && exit 1 ;;
esac
if [ "${ENGINE##*/}" = podman ]; then # it has no default registry
    BASE_IMAGE=${BASE_IMAGE:-docker.io/$(sed -n 's/^ARG BASE_IMAGE=//p' "$here/Dockerfile")}
fi
OPTIONS=${OPTIONS:-}
if [ -n "${SOURCE:-}" ]; then
    address=$(source_address "$SOURCE")
    if [ -z "$address" ]; then
        echo "SOURCE=$SOURCE, expected the address of the code, such as https://github.com/me/mine" >&2
        exit 1
    fi
else
    address=$(source_address "$(git -C "$here" config --get remote.origin.url 2>/dev/null || true)")
fi
options=$(image_options "$API_METHOD" "$OPTIONS")
OPTIONS=${options#"$(image_options "$API_METHOD" "")"} # in one line
content="$(content_digest "$API_METHOD" "$options") $API_METHOD $options"

# The image gets its names after the checks. Before, it has a tag of its own, which is removed whatever happens.
unchecked=$NAME:unchecked-$$ building=
remove_unchecked() {
    if [ -n "$building" ]; then
        kill "$building" 2>/dev/null || true
        wait "$building" || true
    fi
    { "$ENGINE" rmi --no-prune "$unchecked" || "$ENGINE" rmi "$unchecked"; } >/dev/null 2>&1 || true
}
trap remove_unchecked EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# In the background, because the shell runs no trap before a command in the foreground has ended.
# shellcheck disable=SC2086  # flags are words
"$ENGINE" build --platform linux/amd64 ${CONTAINER_BUILD_FLAGS:-} \
    ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} \
    --build-arg "API_METHOD=$API_METHOD" --build-arg "OPTIONS=$OPTIONS" \
    --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" --build-arg "CONTENT_DIGEST=${content%% *}" \
    --build-arg "SOURCE=${address:-unknown}" \
    --tag "$unchecked" "$here" &
building=$!
wait "$building"
building=
read_image "$unchecked"
if [ "$FOUND_DIGEST $FOUND_METHOD $FOUND_OPTIONS" != "$content" ]; then # the cache of some engines ignores arguments
    echo "$ENGINE took a part of an older build from its cache: run CONTAINER_BUILD_FLAGS=--no-cache ./build.sh" >&2
    exit 1
fi
# Parse OPTIONS as the program does at run time: a wrong option fails here, not in the cases of a test.
"$ENGINE" run --rm --network=none --entrypoint=python "$unchecked" -c '
import os, sys
from swfastedit_core.system.command import attempt
from swfastedit_core.challenge.options import OPTIONS, parse
found = []
failure = attempt(lambda: found.append(parse([], baked_in=os.environ[OPTIONS])))
if failure:
    sys.exit("OPTIONS: " + failure.reason.removeprefix(OPTIONS + ": "))
for path in found[0].weights:
    if not path.exists():
        sys.exit(f"OPTIONS: --weights {path}: not in the image; put the weights into weights/")'
"$ENGINE" tag "$unchecked" "$NAME:$REVISION"
"$ENGINE" tag "$unchecked" "$NAME:latest"
if [ -z "$address" ]; then echo "the image has no address of its code: run SOURCE=https://… ./build.sh"; fi
size=$("$ENGINE" image inspect --format '{{.Size}}' "$NAME:$REVISION")
echo "built $NAME:$REVISION (${FOUND_OPTIONS% }; $((size / 1000000)) MB), also as $NAME:latest; next: ./test.sh"
