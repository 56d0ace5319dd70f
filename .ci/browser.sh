# shellcheck shell=bash
# Sourced by .ci/run: what the tests of pages need.
#
#   get_browser       installs Debian's Chromium if no browser is on PATH, the user is root and there is apt-get; says
#                     why it could not. The tests of pages need one of these browsers and are skipped without it.
#   get_viewer        gets NiiVue by npm, once for this user, and names its file in SWFASTEDIT_NIIVUE. The test of the
#                     viewer needs it and is skipped without it. PYTHON is an interpreter with the package.
BROWSERS=(chromium chromium-browser google-chrome) # as in test/browser.py

get_browser() {
    local name said
    for name in "${BROWSERS[@]}"; do
        if command -v "$name" >/dev/null; then return; fi
    done
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "no browser (${BROWSERS[*]}): the tests of pages are skipped; install Debian's package chromium" >&2
        return
    fi
    if ! said=$(_install_chromium 2>&1); then
        echo "Chromium could not be installed, the tests of pages are skipped: $(printf '%s\n' "$said" | tail -n 1)" >&2
    fi
}

_install_chromium() {
    local limit=(timeout 600 env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes -o Acquire::Retries=1)
    "${limit[@]}" update && "${limit[@]}" install --no-install-recommends chromium
}

get_viewer() {
    local said
    if ! command -v npm >/dev/null; then
        echo "npm is not installed: the test of the viewer is skipped"
    elif said=$("$PYTHON" -m swfastedit_core.report fetch-viewer 2>&1); then
        said=${said##*$'\n'}
        export SWFASTEDIT_NIIVUE=${said%: NiiVue*}
    else
        echo "the test of the viewer is skipped: $(printf '%s\n' "$said" | tail -n 1)" >&2
    fi
}
