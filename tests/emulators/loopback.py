"""A board on loopback: a real sshd, run by and for the current user, whose home is a folder of the caller's own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MISSING = "sshd is not installed (Debian: apt-get install openssh-server openssh-client)"


@dataclass(frozen=True)
class LoopbackBoard:
    """Where the sshd is, and what lies on the "board"."""

    address: str  # in `config`
    config: Path  # of ssh
    known_hosts: Path
    host_key: Path
    home: Path  # on the board
    scratch: Path  # on the board: its folder for temporary files

    def temporary_folders(self) -> list[Path]:
        return list(self.scratch.iterdir())

    def install(self, name: str, text: str) -> None:
        """Put a program of sh where the board looks first."""
        path = self.home / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


def is_possible() -> bool:
    return SSHD is not None and shutil.which("ssh") is not None


def start_sshd(
    folder: Path, shell: str = "", address: str = "board"
) -> tuple[LoopbackBoard, "subprocess.Popen[bytes]"]:
    """Write keys and both configurations, and wait until the port answers.

    `shell` is the login shell's command line, in place of the user's own.
    """
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    home, scratch, port = folder / "board home", folder / "it's scratch", free_port()
    for path in (home / "bin", scratch):
        path.mkdir(parents=True)
    (folder / "sshd_config").write_text(f"""
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv "HOME={home}" "TMPDIR={scratch}" "PATH={home}/bin:/usr/bin:/bin"
{f"ForceCommand {shell}" if shell else ""}
""")
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    config = folder / "ssh_config"
    config.write_text(f"""
Host {address}
    HostName 127.0.0.1
    Port {port}
    User {getpass.getuser()}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
""")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, wants an empty folder
    assert SSHD is not None
    with open(folder / "sshd_log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    wait_for_port(port)
    return LoopbackBoard(address, config, known_hosts, folder / "host_key", home, scratch), process


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("sshd did not start; see sshd_log")
