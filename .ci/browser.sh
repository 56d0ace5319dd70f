# shellcheck shell=bash
# Sourced by .ci/run.
#
#   get_browser       installs Debian's Chromium if no browser is on PATH, the user is root and there is apt-get; says
#                     why it could not. The tests of pages need one of these browsers and are skipped without it.
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
