"""Who answers a request: this machine, a board over SSH, or, where the target is out of reach, an estimate."""

from dataclasses import replace

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_profile.places import ThisMachine
from vlm_profile.rows import HOST, Request
from vlm_profile.runtimes import runtimes
from vlm_profile.session import Measured, measure_at
from vlm_targets.catalogue import Target, target_named
from vlm_targets.host import is_here, why_not, why_not_here
from vlm_targets.jetson import clocks_locked
from vlm_targets.ssh import Board


def measure(workspace: Workspace, request: Request, line: LiveLine | None = None) -> Measured:
    """Measure every row of a request that no stored result answers, and store each as it is finished.

    Where the target is not this machine and no address of it is known, each row is estimated, and its record says so.
    Raises VlmError where the request, a model or a board is wrong; then nothing was measured. What ends badly later is
    a `failed` record, and the others go on.
    """
    line = line or LiveLine(quiet=True)
    target = target_named(request.target, request.target_files)
    address, here = address_of(target, request), is_here(target) and not why_not(target)
    if request.power_mode and (address or here):
        raise VlmError(
            "--power-mode is for estimates: what is measured holds for the mode that the board is in.",
            hint="sudo nvpmodel -m ID, on the board; its record names the mode",
        )
    if address or here:
        request = replace(request, computes=request.computes or check_computes(request.runtime, target))
    if address:
        return _over_ssh(address, target, workspace, request, line)
    if request.lock_clocks:
        raise VlmError(
            "--lock-clocks is for a board that is reached over SSH; nothing here is changed.",
            hint="sudo jetson_clocks, on the Jetson itself",
        )
    if here:
        request = replace(request, clocks_locked=clocks_locked() is True)
        return measure_at(ThisMachine(target.name, request.computes), workspace, request, line)
    if not request.estimate:
        raise VlmError(
            f"{why_not_here(target)} No address of one is known, and no estimate is wanted.",
            hint="--host USER@BOARD, or a file with its address in ~/.config/vlm-edge/targets",
        )
    from vlm_profile.estimates.answer import estimated

    measured = estimated(workspace, request, target)
    return replace(measured, out_of_reach=measured.kept)


def check_computes(names: str, target: Target) -> str:
    """The device of the runtimes that a target's figures are of, "cpu" or "cuda"; empty where its file says nothing.

    Raises VlmError for a runtime that computes on the CPU where the target is a card: any machine may hold that.
    """
    hardware = target.hardware
    if isinstance(hardware, Absent):
        return ""
    is_card = hardware.kind == "gpu" and not hardware.shared_memory
    for name in names.split(","):
        if is_card and name in runtimes() and runtimes()[name].device == "cpu":
            raise VlmError(
                f"{name} computes on the CPU, and {target.title} is a card: its figures would be another device's.",
                hint=f"--runtime auto; or, for the CPU, --target {HOST} on that machine",
            )
    return "cuda" if hardware.kind == "gpu" else "cpu"


def address_of(target: Target, request: Request) -> str:
    """Where the target is reached; empty where it is not. Raises VlmError for an address of this machine."""
    if target.name == HOST and request.host:
        raise VlmError(
            f"--host {request.host} is a board, and --target {HOST} is this machine.",
            hint=f"--target with what {request.host} is: vlm-profile targets lists them",
        )
    if request.host:
        return request.host
    return "" if isinstance(target.address, Absent) or is_here(target) else target.address


def _over_ssh(address: str, target: Target, workspace: Workspace, request: Request, line: LiveLine) -> Measured:
    hardware = target.hardware
    has_trtexec = not isinstance(hardware, Absent) and hardware.kind == "gpu" and hardware.shared_memory
    if request.lock_clocks and not has_trtexec:
        raise VlmError(
            f"--lock-clocks sets a Jetson's clocks; {target.title} is none.",
            hint="vlm-profile doctor, on the board, says what to type there",
        )
    with Board(address) as board:
        if has_trtexec:
            from vlm_profile.boards.jetson import measure_on as measure_jetson

            return measure_jetson(board, target, workspace, request, line, lock_clocks=request.lock_clocks)
        from vlm_profile.boards.linux import measure_on as measure_linux

        return measure_linux(board, target, workspace, request, line)
