"""A row while its processes run."""

from dataclasses import dataclass, field
from statistics import median

from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Device, Repetition, RuntimeUsed
from vlm_profile.protocol import Protocol
from vlm_profile.rows import Row
from vlm_profile.statistics import half_interval, process_medians_ms
from vlm_profile.verdicts import contention
from vlm_profile.worker import Findings


@dataclass
class Trial:
    """What has been found of a row so far, and whether it is enough."""

    row: Row
    inputs: tuple[TensorSpec, ...]
    runtime: RuntimeUsed
    versions: dict[str, str]
    protocol: Protocol
    device: Device
    repetitions: list[Repetition] = field(default_factory=list)
    failure: str = ""
    attempt: int = 1
    seconds: list[float] = field(default_factory=list)  # of each process, dropped ones too

    def wants_more(self) -> bool:
        """Whether another process is due."""
        done = len(self.repetitions)
        if self.failure or done >= self.protocol.processes_max:
            return False
        if self.attempt > 1 or done < self.protocol.processes_sure:
            return True
        return self._fits() and (done < self.protocol.processes or not self._steady())

    def take(self, findings: Findings, seconds: float) -> None:
        """Count a process in, or drop it for another attempt where others used our CPUs."""
        assert isinstance(findings.repetition, Repetition)
        repetition = findings.repetition
        self.runtime = findings.runtime
        self.seconds.append(seconds)
        contended = repetition.context and contention(repetition, self.row.setup, self.device, self.protocol)
        if contended and self.attempt <= self.protocol.retries and self._fits():
            self.attempt += 1
            return
        self.repetitions.append(repetition)
        self.attempt = 1

    def estimate(self) -> str:
        """The headline so far."""
        medians = process_medians_ms(self.repetitions)
        return f"{median(medians):.3g} ms" if medians else "no estimate yet"

    def _fits(self) -> bool:
        return sum(self.seconds) + max(self.seconds, default=0.0) <= self.protocol.seconds_max

    def _steady(self) -> bool:
        medians = process_medians_ms(self.repetitions)
        half = half_interval(medians)
        return half <= self.protocol.interval_percent / 100 * median(medians)
