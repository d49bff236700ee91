#!/usr/bin/env python3
"""Boards to try vlm-profile and vlm-export on where there is none: a real sshd on loopback for each, until Ctrl-C.

A name of a Jetson (tests/targets/trees) is an EMULATOR of it: its trtexec builds nothing and measures nothing, its
device calls itself an emulator, and no report takes its records. `linux` is this machine itself, reached over SSH
as any Linux board is: what is measured there is measured. Needs what the tests need (pip install -e '.[dev]').
"""

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

EMULATORS = Path(__file__).resolve().parents[1] / "tests" / "emulators"
sys.path.append(str(EMULATORS))

import loopback  # noqa: E402
import trtexec  # noqa: E402
from emulated_jetson import TREES, start_jetson, unpacked  # noqa: E402

LINUX = "linux"
JETSONS = sorted(path.stem for path in TREES.glob("jetson-*.toml"))
OWN_TARGET = """\
like = "host"
name = "loopback"
title = "this machine, reached over SSH"
address = "linux"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", default=["jetson-orin-nano"], metavar="BOARD",
        help=f"{LINUX}, {', '.join(JETSONS)} (default: jetson-orin-nano)")  # fmt: skip
    parser.add_argument("--tensorrt", default="10.3.0", choices=trtexec.ACCEPTED, help="of the emulator (10.3.0)")
    options = parser.parse_args()
    if unknown := set(options.boards) - {LINUX, *JETSONS}:
        parser.error(f"no board of the name {min(unknown)}; there are {', '.join([LINUX, *JETSONS])}")
    if not loopback.is_possible():
        parser.error(loopback.MISSING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vlm-demo.")))
        for name in dict.fromkeys(options.boards):
            stack.callback(end, start(name, folder / name, options.tensorrt))
        print(instructions(folder, client_of(folder), options.boards, options.tensorrt), flush=True)
        signal.pause()


def start(name: str, folder: Path, tensorrt: str) -> "subprocess.Popen[bytes]":
    """The board's sshd, which answers to the board's name."""
    folder.mkdir()
    if name == LINUX:
        there, process = loopback.start_sshd(folder, address=LINUX)
        there.install("python3", f'exec {shlex.quote(sys.executable)} "$@"')
        (folder.parent / "loopback.toml").write_text(OWN_TARGET)
    else:
        tree = unpacked(name, folder / "tree")
        _, process = start_jetson(folder, tree, tensorrt, name, computes=True)
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(10)


def client_of(folder: Path) -> Path:
    """A folder with an `ssh` that knows the boards: ssh reads no configuration but that of the user's real home."""
    config, client = folder / "ssh_config", folder / "client"
    config.write_text("".join(f"Include {path}\n" for path in sorted(folder.glob("*/ssh_config"))))
    client.mkdir()
    (client / "ssh").write_text(f'#!/bin/sh\nexec {shlex.quote(shutil.which("ssh") or "ssh")} -F {config} "$@"\n')
    (client / "ssh").chmod(0o755)
    return client


def instructions(folder: Path, client: Path, boards: list[str], tensorrt: str) -> str:
    lines = ["Type in another terminal, so that ssh knows the boards:", "", f"    export PATH={client}:$PATH", ""]
    for name in boards:
        if name == LINUX:
            lines += [
                "linux: this machine over SSH. It really measures, with the ONNX Runtime of this Python:",
                f"    vlm-profile --target loopback --target-file {folder / 'loopback.toml'} --artifact MODEL.onnx",
            ]
        else:
            lines += [
                f"{name}: an EMULATOR, of TensorRT {tensorrt}. Its figures are made up, and no report takes them:",
                f"    vlm-profile --target {name} --host {name} --artifact MODEL.onnx",
            ]
    return "\n".join([*lines, "", "Ctrl-C ends the boards and removes all that was on them."])


if __name__ == "__main__":
    main()
