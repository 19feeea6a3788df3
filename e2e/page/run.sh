#!/usr/bin/env bash
# Tests of the inspector's page: its units, that the committed assets are what the
# sources build, and the page itself in headless Chromium, before the real distribution
# that the demo feeds. What is missing is installed where that is possible.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
ui=$here/../../extension/inspector/ui

if ! command -v npm >/dev/null; then
  echo "SKIPPED: the tests of the page need npm, and it is not here"
  exit 0
fi

# Quiet, as long as nothing goes wrong.
quietly() {
  local log
  log=$(mktemp)
  "$@" >"$log" 2>&1 || { cat "$log"; rm -f "$log"; return 1; }
  rm -f "$log"
}

cd "$ui"
quietly npm ci --no-fund --no-audit
quietly npm test
before=$(cat dist/index.html dist/assets/* dist/icon.svg | cksum)
quietly npm run build
if [ "$before" != "$(cat dist/index.html dist/assets/* dist/icon.svg | cksum)" ]; then
  echo "extension/inspector/ui/dist is not what the sources build; run npm run build there and commit it"
  exit 1
fi
echo "ok: the units of the page, and its built assets"

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Chromium"
  quietly apt-get update
  quietly apt-get install -y --no-install-recommends chromium
  chromium=$(command -v chromium)
fi
if [ -z "$chromium" ]; then
  echo "SKIPPED: the tests of the page in a browser need Chromium, and it is not here"
  exit 0
fi

cd "$here"
quietly npm ci --no-fund --no-audit
stuck=$(mktemp -d)
trap 'rm -rf "$stuck"' EXIT
(cd .. && go build -o "$stuck/stuck" ./stuck)
CHROMIUM=$chromium ASYNCINSPECT_STUCK=$stuck/stuck node --test --test-reporter=spec page.test.js
