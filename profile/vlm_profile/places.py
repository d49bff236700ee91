"""Where rows are measured: this machine, or a board that is reached and answers for itself."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol

from vlm_contract.codec import Absent, known
from vlm_contract.console import LiveLine
from vlm_contract.errors import CheckFailed
from vlm_contract.measurement import Device
from vlm_profile.preflight import Preflight, wait_until_quiet
from vlm_profile.process import WorkerFailed, run_worker, worker_variables
from vlm_profile.rows import HOST, installed_version
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.sampler import sampled
from vlm_profile.worker import Findings, Spec
from vlm_targets.host import device_of
from vlm_targets.jetson import chip_of


class Place(Protocol):
    """A machine that rows are measured on."""

    address: str  # of a board; empty for this machine
    target: str  # that records are filed under
    device: Device
    runtimes: Mapping[str, type[Runtime]]  # that it may have
    computes: str  # "cpu" or "cuda": what the target's figures are of; empty: either
    shared_memory: bool  # whether its GPU uses the CPU's

    def unusable(self, kind: type[Runtime]) -> str:
        """Why a runtime cannot run there; empty where it can."""

    def version(self, kind: type[Runtime]) -> str:
        """Of a runtime. Raises VlmError where it is not installed."""

    def work(self, spec: Spec, timeout_s: Mapping[str, float]) -> Findings:
        """One fresh process, with what sensors said meanwhile. Raises WorkerFailed with the cause."""

    def wait_until_quiet(self, seconds: float, line: LiveLine, devices: Collection[str]) -> Preflight:
        """Wait until nobody else uses these devices of it, at most so many seconds; the last look, quiet or not."""


class ThisMachine:
    """The machine that the command runs on."""

    def __init__(self, target: str = HOST, computes: str = "") -> None:
        self.address, self.target, self.device = "", target, device_of()
        self.computes, self.shared_memory = computes, bool(chip_of())
        self.runtimes: Mapping[str, type[Runtime]] = runtimes()

    def unusable(self, kind: type[Runtime]) -> str:
        return kind.unusable()

    def version(self, kind: type[Runtime]) -> str:
        return installed_version(kind)

    def work(self, spec: Spec, timeout_s: Mapping[str, float]) -> Findings:
        if self.runtimes[spec.runtime].self_timed:
            from vlm_profile.trtexec.work import work_here

            try:
                return work_here(spec, timeout_s, sampled)
            except CheckFailed as error:  # its engine could not be built: that costs this row alone
                raise WorkerFailed(str(error)) from None
        with sampled() as readings:
            findings = run_worker(spec, timeout_s=timeout_s)
        seen = findings.repetition
        if not isinstance(seen, Absent):
            seen = replace(seen, readings=tuple(readings))
        variables = worker_variables(known(spec.setup.threads))
        return replace(findings, repetition=seen, versions={**findings.versions, **variables})

    def wait_until_quiet(self, seconds: float, line: LiveLine, devices: Collection[str]) -> Preflight:
        return wait_until_quiet(seconds, line, devices=devices)
