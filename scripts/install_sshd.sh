#!/usr/bin/env bash
# Installs the sshd that some tests start on loopback, where it is missing and can be installed; elsewhere those tests skip.
set -euo pipefail
PATH=$PATH:/usr/sbin
if command -v sshd >/dev/null && command -v ssh >/dev/null; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "sshd is missing and cannot be installed here: the tests that need it will skip." >&2
    exit 0
fi
apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends openssh-server openssh-client >/dev/null
