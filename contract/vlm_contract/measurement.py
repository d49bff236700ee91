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
    cpu: str | Absent
    cpus: int | Absent  # logical CPUs of the machine
    usable_cpus: int | Absent  # those that the affinity mask and the cgroup quota leave to us
    memory_bytes: int | Absent
    gpu: str | Absent
    power_mode: str | Absent
    system: str | Absent  # distribution and kernel
    machine: str | Absent  # instruction set, as uname names it


@dataclass(frozen=True)
class RuntimeUsed:
    """What ran the model."""

    name: str | Absent
    version: str | Absent
    provider: str | Absent  # the execution provider that ran the nodes
    options: dict[str, Scalar]


@dataclass(frozen=True)
class ArtifactUsed:
    """What was run."""

    name: str  # the artifact's folder name, or the file's own name where the toolkit did not make it
    file: str | Absent  # of the model inside the artifact's folder
    sha256: str | Absent
    bytes: int | Absent
    format: str | Absent
    precision: str | Absent


@dataclass(frozen=True)
class Setup:
    """How it was run. Of what ran here batch, threads and streams are always known."""

    batch: int | Absent
    threads: int | Absent  # intra-op; inter-op is 1
    streams: int | Absent  # inferences at a time
    scope: str  # what the clock covers
    fps: float | Absent  # frames offered a second; absent: one call after the other
    options: dict[str, Scalar]  # of the runtime, that make this another row: {"cuda_graph": True}


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one call, a whole batch. The headline is the median of the processes' medians."""

    latency_ms_p50: float
    latency_ms_p50_low: float | Absent  # 95 % interval of the headline between processes; of an estimate, its own
    latency_ms_p50_high: float | Absent
    latency_ms_floor: float | Absent  # least of the processes' 10th percentiles; never the headline
    latency_ms_p90: float | Absent
    latency_ms_p95: float | Absent
    latency_ms_p99: float | Absent
    latency_ms_mean: float | Absent
    latency_ms_std: float | Absent
    latency_ms_mad: float | Absent  # median absolute deviation
    latency_ms_min: float | Absent
    latency_ms_max: float | Absent
    outliers: int | Absent  # samples over 1.5 interquartile ranges outside the quartiles; counted, never removed
    samples: int | Absent  # pooled, over all processes
    processes: int | Absent
    first_inference_ms: float | Absent  # median over the processes
    cpu_ms_per_inference: float | Absent
    device_ms_p50: float | Absent  # by the device's own events, copies left out; median of the processes' medians


@dataclass(frozen=True)
class Throughput:
    """Images a second by the wall clock over a saturated loop; never 1/latency."""

    images_per_s: float
    images_per_s_low: float | Absent  # 95 % interval between processes; of an estimate, its own
    images_per_s_high: float | Absent
    batch: int | Absent
    streams: int | Absent
    threads: int | Absent
    obtained: str  # how


@dataclass(frozen=True)
class Memory:
    """Bytes, by source."""

    peak_rss_bytes: int | Absent  # VmHWM of the fresh process, largest over the processes
    model_rss_bytes: int | Absent  # growth of VmHWM over the baseline once the runtime is imported
    device_peak_bytes: int | Absent  # free memory of the GPU before the context, minus what is free at the end
    by_source: dict[
        str, int
    ]  # what the runtime itself counts: "engine weights", "engine activations", "torch allocator"
    covers: str  # in words, what the peaks hold: on a Jetson CPU and GPU share one memory


@dataclass(frozen=True)
class ColdStart:
    """Seconds from a fresh process to the first answer; medians over the processes."""

    import_s: float
    load_s: float
    first_inference_s: float


@dataclass(frozen=True)
class Pacing:
    """What became of frames that came at a fixed rate. A frame that comes while one waits takes its place."""

    frames: int  # offered, over all processes
    dropped: int  # never run
    late: int  # answered after the next frame had come
    deadline_ms: float  # the time between two frames


@dataclass(frozen=True)
class Window:
    """A stretch of a sustained run."""

    at_s: float  # its end, since the run began
    latency_ms_p50: float
    cpu_mhz: float | Absent
    temperature_c: float | Absent


@dataclass(frozen=True)
class Sustained:
    """Latency over a long run, and where it settles."""

    windows: tuple[Window, ...]
    settled_ms: float | Absent  # median of the windows from `settled_after_s` on
    settled_after_s: float | Absent  # from where no window differs from that by over 3 %


@dataclass(frozen=True)
class Energy:
    """The integral of sampled power, minus what the idle machine takes."""

    energy_mj_per_image: float
    power_w: float  # mean over the measured loops
    idle_w: float  # mean over the look at the machine before them
    sensor: str
    seconds: float  # integrated


@dataclass(frozen=True)
class Temperature:
    """Of the hottest sensor."""

    sensor: str
    start_c: float
    max_c: float


@dataclass(frozen=True)
class Context:
    """What the kernel saw over one sampling window of the measure phase; on a board, over trtexec's whole process."""

    at_s: float  # since the measure phase began
    run_queue_wait_s: float | Absent  # all threads of the worker, waiting for a CPU
    cpu_s: float  # of the worker
    involuntary_switches: int | Absent
    machine_busy_s: float  # all CPUs, all processes
    our_cpus_busy_s: float  # the CPUs that we may run on, all processes
    steal_s: float  # taken by the hypervisor
    cpu_mhz: float | Absent  # of the fastest CPU that we may run on: others may be idle


@dataclass(frozen=True)
class Reading:
    """What the sensors said at one time, read by another process."""

    at_s: float  # since the epoch
    values: dict[str, float]  # by sensor and unit: "power_w VDD_IN", "temperature_c cpu-thermal", "gpu_mhz 0"


@dataclass(frozen=True)
class Canary:
    """Milliseconds of two fixed kernels before and after the measured loop."""

    compute_before_ms: float
    compute_after_ms: float
    memory_before_ms: float
    memory_after_ms: float


@dataclass(frozen=True)
class Repetition:
    """One fresh process."""

    order: int  # its place in the recorded random order of the session, from 0
    attempt: int  # 1, or more where contended attempts went before it
    phases_s: dict[str, float]  # import, load, first, warmup, measure, teardown
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]  # with a fixed frame rate, from the frame's coming to its answer
    device_ns: tuple[int, ...]  # the same calls by the device's own events; empty where there are none
    repeated_ns: tuple[int, ...]  # afterwards, one input again and again
    measure_s: float  # wall clock over the measure loop
    began_s: float  # of the measure loop, since the epoch
    frames: int  # offered; 0 without a frame rate
    dropped: int
    context: tuple[Context, ...]
    readings: tuple[Reading, ...]  # of sensors, over the whole life of the process
    canary: Canary | Absent
    baseline_rss_bytes: int | Absent
    peak_rss_bytes: int | Absent
    device_peak_bytes: int | Absent
    by_source: dict[str, int]  # memory, as the runtime counts it
    unlike: tuple[str, ...]  # outputs that differed, while timed, from those of the run before
    nonfinite: tuple[str, ...]  # outputs that held a NaN or an infinity
    fallback: str  # in words, which part ran elsewhere than asked; empty where none did
    threads_seen: int | Absent  # threads that had a CPU for over 5 % of the measured loop
    cpus: tuple[int, ...]  # that the process might run on, as found after the loop


@dataclass(frozen=True)
class Estimate:
    """How a figure came about that nobody measured."""

    rung: str  # of the ladder: "measured", "calibrated", "family", "published" or "specifications"
    method: str  # in one sentence
    coverage_percent: float  # of the intervals
    factor_low: float  # the interval is latency ÷ this …
    factor_high: float  # … to latency × this
    anchors: tuple[str, ...]  # the measurements and published rows that it rests on
    assumed: dict[str, str]  # what it takes for granted, by name, with its source: peaks, clocks, the runtime's context
    improved_by: str  # the one measurement that would narrow it most


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
    # vlm-edge/measurement/2: frame rate, options, cold start, sustained runs, sensors, canary, memory by source
    # vlm-edge/measurement/3: estimates, and where a reported figure stands; what these do not say may be absent
    SCHEMA: ClassVar[str] = "vlm-edge/measurement/3"

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
    cold_start: ColdStart | Absent
    pacing: Pacing | Absent
    sustained: Sustained | Absent
    energy: Energy | Absent
    temperature: Temperature | Absent
    estimate: Estimate | Absent  # of estimated figures
    origin: str | Absent  # of reported figures: the document, and the place in it
    verdicts: tuple[Verdict, ...]
    repetitions: tuple[Repetition, ...]
    environment: dict[str, str]
    measured_utc: str | Absent  # ISO 8601

    @property
    def status(self) -> Literal["valid", "invalid", "failed"]:
        """`valid` may enter a ranking or a recommendation; the others never do."""
        levels = {verdict.level for verdict in self.verdicts}
        return "failed" if "failed" in levels else "invalid" if "invalid" in levels else "valid"
