#!/usr/bin/env bash
# Finds chromium and chromedriver, to open pages in, or installs Debian's packages of them, and prints
# the path of chromedriver (for BITBUDGET_CHROMEDRIVER). Where that cannot be done it prints nothing and
# says on standard error what will not be tested.
set -euo pipefail

skip() {
  echo "*** the page of explore is NOT opened in a browser: $*" >&2
  exit 0
}
found() { command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null; }

if ! found; then
  command -v apt-get >/dev/null || skip "no chromium and chromedriver in PATH, and no apt-get to install them"
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || skip "neither root nor sudo to install chromium and chromium-driver"
    as_root=(sudo)
    [[ -t 0 ]] || as_root=(sudo --non-interactive)  # without a terminal nobody can type a password
  fi
  if ! { "${as_root[@]}" apt-get update --quiet &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install --quiet --yes --no-install-recommends chromium chromium-driver; } >&2; then
    skip "could not install chromium and chromium-driver"
  fi
fi
found || skip "the packages do not hold chromium and chromedriver"
command -v chromedriver
