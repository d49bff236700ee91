"""The measurement: what profiling hands on. One record is one row: artifact × batch × threads × streams × scope."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent

Evidence = Literal["measured", "estimated", "reported"]


@dataclass(frozen=True)
class Device:
    """The machine, as it says itself what it is."""

    name: str
    cpu: str
    cpus: int  # logical CPUs of the machine
    usable_cpus: int  # those that the affinity mask and the cgroup quota leave to us
    memory_bytes: int
    gpu: str | Absent
    power_mode: str | Absent
    system: str  # distribution and kernel
    machine: str  # instruction set, as uname names it


@dataclass(frozen=True)
class RuntimeUsed:
    """What ran the model."""

    name: str
    version: str
    provider: str  # the execution provider that ran the nodes
    options: dict[str, Scalar]


@dataclass(frozen=True)
class ArtifactUsed:
    """What was run."""

    name: str  # the artifact's folder name, or the file's own name where the toolkit did not make it
    file: str  # of the model inside the artifact's folder
    sha256: str
    bytes: int
    format: str
    precision: str


@dataclass(frozen=True)
class Setup:
    """How it was run."""

    batch: int
    threads: int  # intra-op; inter-op is 1
    streams: int
    scope: str  # what the clock covers


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one call, a whole batch. The headline is the median of the processes' medians."""

    latency_ms_p50: float
    latency_ms_p50_low: float  # 95 % interval of the headline between processes
    latency_ms_p50_high: float
    latency_ms_floor: float  # least of the processes' 10th percentiles; never the headline
    latency_ms_p90: float | Absent
    latency_ms_p95: float | Absent
    latency_ms_p99: float | Absent
    latency_ms_mean: float
    latency_ms_std: float
    latency_ms_mad: float  # median absolute deviation
    latency_ms_min: float
    latency_ms_max: float
    outliers: int  # samples over 1.5 interquartile ranges outside the quartiles; counted, never removed
    samples: int  # pooled, over all processes
    processes: int
    first_inference_ms: float  # median over the processes
    cpu_ms_per_inference: float | Absent


@dataclass(frozen=True)
class Throughput:
    """Images a second by the wall clock over a saturated loop; never 1/latency."""

    images_per_s: float
    images_per_s_low: float  # 95 % interval between processes
    images_per_s_high: float
    batch: int
    streams: int
    threads: int
    obtained: str  # how


@dataclass(frozen=True)
class Memory:
    """Bytes, by source."""

    peak_rss_bytes: int | Absent  # VmHWM of the fresh process, largest over the processes
    model_rss_bytes: int | Absent  # growth of VmHWM over the baseline once the runtime is imported
    device_peak_bytes: int | Absent  # of the GPU


@dataclass(frozen=True)
class Context:
    """What the kernel saw over one sampling window of the measure phase."""

    at_s: float  # since the measure phase began
    run_queue_wait_s: float  # all threads of the worker, waiting for a CPU
    cpu_s: float  # of the worker
    involuntary_switches: int
    machine_busy_s: float  # all CPUs, all processes
    steal_s: float  # taken by the hypervisor


@dataclass(frozen=True)
class Repetition:
    """One fresh process."""

    order: int  # its place in the recorded random order of the session, from 0
    attempt: int  # 1, or more where contended attempts went before it
    phases_s: dict[str, float]  # import, load, first, warmup, measure, teardown
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    measure_s: float  # wall clock over the measure loop
    context: tuple[Context, ...]
    baseline_rss_bytes: int | Absent
    peak_rss_bytes: int | Absent


@dataclass(frozen=True)
class Verdict:
    """What a rule of the protocol says of the record."""

    code: str
    level: Literal["warning", "invalid", "failed"]
    seen: str
    limit: str
    next_step: str


@dataclass(frozen=True)
class Measurement:
    """Figures of one row, with their evidence."""

    # vlm-edge/measurement/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/measurement/1"

    target: str
    evidence: Evidence
    protocol: str  # "vlm-1", and what every default of it was
    settings: dict[str, Scalar]
    device: Device
    runtime: RuntimeUsed
    artifact: ArtifactUsed
    setup: Setup
    latency: Latency | Absent
    throughput: Throughput | Absent
    memory: Memory
    energy_mj_per_image: float | Absent
    temperature_c: float | Absent
    verdicts: tuple[Verdict, ...]
    repetitions: tuple[Repetition, ...]
    environment: dict[str, str]
    measured_utc: str  # ISO 8601

    @property
    def status(self) -> Literal["valid", "invalid", "failed"]:
        """`valid` may enter a ranking or a recommendation; the others never do."""
        levels = {verdict.level for verdict in self.verdicts}
        return "failed" if "failed" in levels else "invalid" if "invalid" in levels else "valid"
