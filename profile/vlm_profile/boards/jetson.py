"""A Jetson over SSH, as a place where rows are measured: by JetPack's own trtexec, with nothing installed."""

import shlex
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine, printable
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.measurement import Device, Repetition
from vlm_contract.workspace import Workspace
from vlm_export.tensorrt.trtexec import Tool, tool_on
from vlm_profile.boards.bench import WatchedBoard
from vlm_profile.boards.beside import Watched, context_of
from vlm_profile.boards.engines import Kept
from vlm_profile.boards.quiet import look_at
from vlm_profile.preflight import Preflight, wait_until_quiet
from vlm_profile.process import WorkerFailed
from vlm_profile.rows import Request
from vlm_profile.runtimes import Runtime
from vlm_profile.runtimes.trtexec import Runtime as Trtexec
from vlm_profile.session import Measured, measure_at
from vlm_profile.trtexec.work import Bench
from vlm_profile.worker import Findings, Spec
from vlm_targets.catalogue import Target
from vlm_targets.host import check_is_target, device_of
from vlm_targets.jetson import clocks_locked
from vlm_targets.lock import locked
from vlm_targets.mirror import mirrored
from vlm_targets.reach import Machine

ANSWER_LIMIT_S = 30.0
_PROBE = 'head -c 16384 /dev/zero >"$1/probe"; code=$?; rm -f "$1/probe"; exit "$code"'
_SERIAL = "tr -d '\\0\\n' </proc/device-tree/serial-number"


def measure_on(
    board: Machine,
    target: Target,
    workspace: Workspace,
    request: Request,
    line: LiveLine,
    *,
    lock_clocks: bool = False,
) -> Measured:
    """Measure a request on a connected Jetson, and store each record under the target's name as it is finished.

    Raises VlmError where the board is not the target, is in use, has no trtexec or is lost; the next run goes on from
    what was finished, and with the engines that were built.
    """
    engines = workspace.root / "measurements" / target.name / "engines"
    place = JetsonPlace(board, target, engines, lock_clocks=lock_clocks, wait_s=request.wait_quiet_s, line=line)
    with place:
        measured = measure_at(place, workspace, replace(request, clocks_locked=place.clocks_locked), line)
    told = (f"{board.address}: its clocks were at their most meanwhile, and are as before.",) if lock_clocks else ()
    return replace(measured, advice=measured.advice + told)


class JetsonPlace:
    """A `Place`, opened by `with`; the connection to the board is the caller's.

    While it is open the board is locked for others and, with `lock_clocks`, its clocks are at their most. Engines that
    it builds are kept in the folder `engines` of this machine. On the board stays, until it restarts, an empty file in
    /run/lock/vlm-edge; all else goes with the connection.
    """

    computes, shared_memory = "cuda", True

    def __init__(
        self,
        board: Machine,
        target: Target,
        engines: Path,
        *,
        lock_clocks: bool = False,
        wait_s: float = 0.0,
        line: LiveLine | None = None,
    ) -> None:
        self.address, self.target = board.address, target.name
        self.runtimes: Mapping[str, type[Runtime]] = {Trtexec.name: Trtexec}
        self._board, self._known, self._engines = board, target, Kept(engines)
        self._lock_clocks, self._wait_s, self._line = lock_clocks, wait_s, line or LiveLine(quiet=True)
        self._stack = ExitStack()

    def __enter__(self) -> "JetsonPlace":
        """Look who answers. Raises VlmError where it is another board, has no trtexec, or is in use."""
        with ExitStack() as stack:
            check_has_space(self._board)
            folder = stack.enter_context(TemporaryDirectory(prefix="vlm-board-"))
            self._tree = mirrored(self._board, Path(folder))
            check_is_target(self._board, self._known, self._tree)  # before its clocks are touched
            held = locked(self._board, self._wait_s, self._line, clocks=self._lock_clocks)
            self._lock = stack.enter_context(held)
            if self._lock_clocks:
                mirrored(self._board, self._tree)
            self.clocks_locked = clocks_locked(self._tree) is True
            tool = tool_on(self._board)  # it takes the GPU for a moment: whoever holds the board must not feel that
            self.device = device_named(device_of(self._tree), tool)
            self._version = tool.version
            only = (tool.version, str(tool.identity.device), serial_of(self._board))
            self._watched = WatchedBoard(self._board, self._tree, self._engines, only, self._line.show)
            self._bench = Bench(self._watched, tool, self._line.show)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, raised, trace)

    def unusable(self, kind: type[Runtime]) -> str:
        return "" if kind.name in self.runtimes else f"on {self.address} only {', '.join(self.runtimes)} measures"

    def version(self, kind: type[Runtime]) -> str:
        return self._version

    def work(self, spec: Spec, timeout_s: Mapping[str, float]) -> Findings:
        """One process of trtexec, and before the first one another that builds.

        Raises WorkerFailed with the cause where either fails, and VlmError where the connection or the lock is lost.
        """
        self._lock.check()
        try:
            findings = self._bench.work(spec, timeout_s, self._watched.sampling)
        except CheckFailed as error:
            raise WorkerFailed(str(error)) from None
        if isinstance(findings.repetition, Absent) or not self._watched.last:
            return findings
        return replace(findings, repetition=with_counters(findings.repetition, self._watched.last))

    def wait_until_quiet(self, seconds: float, line: LiveLine, devices: Collection[str] = ()) -> Preflight:
        return wait_until_quiet(seconds, line, look=lambda: look_at(self._board, self._tree))


def check_has_space(machine: Machine) -> None:
    """Raise VlmError where nothing can be written: on a full disk a command's answers are lost, too, and mislead."""
    if machine.run(["sh", "-c", _PROBE, "sh", machine.folder], ANSWER_LIMIT_S).code != 0:
        raise VlmError(
            f"Nothing can be written in {printable(machine.folder)} on {machine.address}: its disk is full.",
            hint=f"ssh {shlex.quote(machine.address)} df -h, and free some space",
        )


def device_named(device: Device, tool: Tool) -> Device:
    """With its GPU as TensorRT calls it: so do the manifests of engines that were built there."""
    return replace(device, gpu=tool.identity.device)


def with_counters(repetition: Repetition, seen: Watched) -> Repetition:
    """With what the kernel counted: who had the CPUs, and the peak of the memory that CPU and GPU share.

    That is by what the kernel could still give, before and at least.
    """
    repetition = replace(repetition, context=context_of(seen))
    if not seen.before or not seen.before.available_bytes or not seen.least_available_bytes:
        return repetition
    taken = seen.before.available_bytes - seen.least_available_bytes
    peak = taken if taken > 0 else Absent("others gave more memory back than trtexec took")
    return replace(repetition, device_peak_bytes=peak)


def serial_of(machine: Machine) -> str:
    """What tells a board from all others: its serial number, or its address where it has none."""
    said = machine.run(["sh", "-c", _SERIAL], ANSWER_LIMIT_S)
    return said.out[:100] if said.code == 0 and said.out else f"address {shlex.quote(machine.address)}"
