#!/usr/bin/env bash
# Build the algorithm's image: swfastedit:<git revision>, also as swfastedit:latest.
#
#   CONTAINER_ENGINE       docker or podman (default: the first that runs)
#   BASE_IMAGE             an image with Python and torch (default: the Dockerfile's)
#   API_METHOD             exec or invoke (default: exec)
#   SOURCE                 address of the code, for a label of the image (default: the clone's remote)
#   OPTIONS                options of process.py to bake in: OPTIONS="--task autopet4" ./build.sh
#   CONTAINER_BUILD_FLAGS  more flags for the build, such as --network=host
set -euo pipefail
pwd -P >/dev/null 2>&1 ||
    { echo "the working directory cannot be used; was it deleted? change to another folder" >&2; exit 1; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.ci/image.sh
source "$here/.ci/image.sh"
accept_only_help "${BASH_SOURCE[0]}" "$@"
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
SOURCE=${SOURCE:-$(git -C "$here" config --get remote.origin.url 2>/dev/null | sed 's#//[^/@]*@#//#' || true)}
# shellcheck disable=SC2086  # flags are words
"$ENGINE" build --platform linux/amd64 ${CONTAINER_BUILD_FLAGS:-} \
    ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} \
    --build-arg "API_METHOD=$API_METHOD" --build-arg "OPTIONS=${OPTIONS:-}" \
    --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" --build-arg "CONTENT_DIGEST=$CONTENT_DIGEST" \
    --build-arg "SOURCE=${SOURCE:-unknown}" \
    --tag "$NAME:$REVISION" --tag "$NAME:latest" "$here"
labels='{{index .Config.Labels "org.grand-challenge.api-method"}} {{index .Config.Labels "swfastedit.content"}}'
built=$("$ENGINE" image inspect --format "$labels" "$NAME:latest")
if [ "$built" != "$API_METHOD $CONTENT_DIGEST" ]; then # the cache of some engines ignores build arguments
    echo "$ENGINE took a part of an older build from its cache: run CONTAINER_BUILD_FLAGS=--no-cache ./build.sh" >&2
    exit 1
fi
# Parse OPTIONS as the program does at run time: a wrong option fails here, not in the cases of a test.
"$ENGINE" run --rm --network=none --entrypoint=python "$NAME:latest" -c '
import os, sys
from swfastedit_core.system.command import attempt
from swfastedit_core.challenge.options import OPTIONS, parse
failure = attempt(lambda: parse([], baked_in=os.environ[OPTIONS]))
sys.exit(f"OPTIONS: {failure.reason}" if failure else 0)'
if [ -z "$SOURCE" ]; then echo "the image has no address of its code: run SOURCE=https://… ./build.sh"; fi
size=$("$ENGINE" image inspect --format '{{.Size}}' "$NAME:$REVISION")
echo "built $NAME:$REVISION ($API_METHOD, $((size / 1000000)) MB), also as $NAME:latest; next: ./test.sh"
