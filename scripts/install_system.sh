#!/usr/bin/env bash
# Installs from Debian what some tests use, where it is missing and can be installed: sshd and ssh (boards are reached over
# loopback), chromium (the report's page), busybox (a board's small userland). Tests skip, with a reason, where one is missing.
set -euo pipefail
PATH=$PATH:/usr/sbin

declare -A package_of=([sshd]=openssh-server [ssh]=openssh-client [chromium]=chromium [busybox]=busybox)
missing=()
for command in "${!package_of[@]}"; do
    command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
done
if [ "${#missing[@]}" = 0 ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing, and cannot be installed here: ${missing[*]}. The tests that need them will skip." >&2
    exit 0
fi
apt-get update --quiet=2 || true # an index that is there may do
for package in "${missing[@]}"; do
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "$package" >/dev/null ||
        echo "$package could not be installed: the tests that need it will skip." >&2
done
