#!/bin/sh
# Provides the Chromium of the browser tests: Debian's where this is root on a Debian, else Playwright's own build.
# Usage: local/provide_chromium.sh <python with playwright>
set -u

if command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; then
    exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "==> chromium: installing Debian's for the browser tests (once)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core && exit 0
fi

echo "==> chromium: installing Playwright's for the browser tests (once)"
"$1" -m playwright install chromium && exit 0

echo "==> no Chromium could be had, so the browser tests will fail and say so. Install one yourself:" >&2
echo "    apt-get install chromium fonts-dejavu-core, or: $1 -m playwright install chromium" >&2
exit 0
