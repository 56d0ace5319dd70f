#!/usr/bin/env bash
# Write the files for upload to grand-challenge.org, and check them as the platform does:
#   dist/swfastedit-<version>.tar.gz   the image that ./build.sh made (IMAGE names another)
#   dist/model.tar.gz                  the weights in weights/, for a model upload; optional on the platform
#
# If API_METHOD or OPTIONS are set, the image must have been built with them. The same image and the same weights make
# files with the same SHA-256.
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
accept_only_help "$here/export.sh" "$@"
find_engine
require_weights "$here/weights"
describe_image "$here"
require_image
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    { echo "the check of the archives needs Python 3.11 or newer: install it, or set PYTHON to one" >&2; exit 1; }
dist=$here/dist
mkdir -p "$dist"
image=$dist/$NAME-$VERSION.tar.gz model=$dist/model.tar.gz
partial=$(mktemp -d "$dist/.partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT

compress=(gzip -6 -n) # without the time: the same image makes the same bytes
if command -v pigz >/dev/null; then compress=(pigz -6 -n); fi
echo "saving $IMAGE, built with ${FOUND_OPTIONS% }; this takes minutes"
"$ENGINE" save "$IMAGE" | "${compress[@]}" >"$partial/${image##*/}"

pack_model "$partial/model.tar.gz"
(cd "$partial" && PYTHONPATH=$here/test "$python" -m trial.archive "${image##*/}" model.tar.gz)
mv "$partial/${image##*/}" "$image"
mv "$partial/model.tar.gz" "$model"
cat <<END

Both files passed the checks of the upload. Next, on https://grand-challenge.org:
  1. your algorithm > Containers > upload a container: dist/${image##*/}
  2. or, if the platform has an image and only the weights are new, Models > upload a model: dist/model.tar.gz
  3. when the platform shows it as ready, try it on one scan (Try-out Algorithm), then submit it to a challenge phase
END
