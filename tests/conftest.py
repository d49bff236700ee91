"""What all tests share: SIGINT as a terminal sends it, and a board on loopback.

The board is a real sshd, run by and for the current user; its home is a folder of the test's own.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

# A shell that starts the suite in the background has it ignore SIGINT, and all that it starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


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


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], bool]:
    """A function that tells whether something comes true within some seconds."""

    def comes_true(holds: Callable[[], object]) -> bool:
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            if holds():
                return True
            time.sleep(0.05)
        return False

    return comes_true


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Callable[..., LoopbackBoard]]:
    """A function that starts an sshd; `shell` is the login shell's command line, in place of the user's own."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("sshd is not installed (Debian: apt-get install openssh-server openssh-client)")
    started = []

    def start(shell: str = "") -> LoopbackBoard:
        board, process = start_sshd(tmp_path, shell)
        started.append(process)
        return board

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def start_sshd(folder: Path, shell: str) -> tuple[LoopbackBoard, "subprocess.Popen[bytes]"]:
    """Write keys and both configurations, and wait until the port answers."""
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
Host board
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
    return LoopbackBoard("board", config, known_hosts, folder / "host_key", home, scratch), process


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
