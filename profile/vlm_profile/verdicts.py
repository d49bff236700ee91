"""Every rule by which a result is refused or doubted. Each says what was seen, the limit, and the next step."""

from collections.abc import Sequence
from statistics import fmean, median

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Device, Measurement, Reading, Repetition, Setup, Verdict
from vlm_profile.protocol import Protocol
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.statistics import drift_percents
from vlm_profile.throttling import CPU_CLOCK_PERCENT, GPU_CLOCK_PERCENT, cpu_clock_fell, power_capped, throttled
from vlm_profile.trtexec.rules import warn_if_host_bound


def judge(measurement: Measurement, protocol: Protocol, *, failure: str = "") -> tuple[Verdict, ...]:
    """All verdicts on a record; none means that it may be ranked."""
    if failure:
        return (check_worker(failure),)
    verdicts = (
        check_nonfinite(measurement),
        check_output(measurement, protocol),
        check_cached(measurement, protocol),
        check_fallback(measurement),
        check_threads(measurement),
        check_zero_memory(measurement),
        check_little(measurement, protocol),
        warn_if_host_bound(measurement) if self_timed(measurement) else None,
        check_contended(measurement, protocol),
        warn_if_neighbours(measurement, protocol),
        check_throttled(measurement, protocol),
        check_gpu_shared(measurement),
        check_drift(measurement, protocol),
        check_unstable(measurement, protocol),
        warn_if_few(measurement, protocol),
    )
    return tuple(verdict for verdict in verdicts if verdict)


def check_worker(failure: str) -> Verdict:
    """`worker`: a process died, hung or refused."""
    return Verdict(
        code="worker",
        level="failed",
        seen=failure,
        limit="every process ends well",
        next_step="Run the model alone with --artifact and --batch 1; a smaller batch needs less memory.",
    )


def check_nonfinite(measurement: Measurement) -> Verdict | None:
    """`nonfinite`: a NaN or an infinity in an output. Figures cannot hold one: they come from whole numbers."""
    outputs = sorted({name for repetition in measurement.repetitions for name in repetition.nonfinite})
    if not outputs:
        return None
    return Verdict(
        code="nonfinite",
        level="invalid",
        seen=f"NaN or infinity in {', '.join(outputs)}",
        limit="finite outputs only",
        next_step="Check the artifact's parity with vlm-export; FP16 overflows where FP32 does not.",
    )


def check_output(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`output`: while timed the model answered otherwise than before."""
    outputs = sorted({name for repetition in measurement.repetitions for name in repetition.unlike})
    if not outputs:
        return None
    return Verdict(
        code="output",
        level="invalid",
        seen=f"{', '.join(outputs)} differed, while timed, from the answers before",
        limit=f"{protocol.outputs_within_percent:g} % of the largest magnitude",
        next_step="A runtime that gives an answer before it is finished, or an old one, times nothing: report it.",
    )


def check_cached(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`cached`: one repeated input is faster than inputs that take turns, in processes that had their CPUs."""
    setup, device = measurement.setup, measurement.device
    quiet = [r for r in measurement.repetitions if r.repeated_ns and not contention(r, setup, device, protocol)]
    pairs = [(median(r.repeated_ns), median(r.samples_ns)) for r in quiet]
    if not pairs or protocol.soak_s or isinstance(setup.fps, float):
        return None
    percent = 100 * (1 - median(repeated / varied for repeated, varied in pairs))
    if percent <= protocol.cached_percent:
        return None
    return Verdict(
        code="cached",
        level="invalid",
        seen=f"one input again and again is {percent:.0f} % faster than inputs that take turns",
        limit=f"{protocol.cached_percent:g} %",
        next_step="Look for a cache of answers in the model or the runtime; a quiet machine rules out chance.",
    )


def check_fallback(measurement: Measurement) -> Verdict | None:
    """`fallback`: part of the model ran elsewhere than asked."""
    seen = next((r.fallback for r in measurement.repetitions if r.fallback), "")
    if not seen:
        return None
    return Verdict(
        code="fallback",
        level="invalid",
        seen=seen,
        limit="every node on the provider asked for",
        next_step="vlm-profile doctor says why a provider is missing; --runtime onnxruntime measures the CPU.",
    )


def check_threads(measurement: Measurement) -> Verdict | None:
    """`threads`: more threads ran than were asked for, or on other CPUs."""
    setup = measurement.setup
    allowed = known(setup.threads) * known(setup.streams)
    seen = max((r.threads_seen for r in measurement.repetitions if isinstance(r.threads_seen, int)), default=0)
    asked = setup.options.get("cpus")
    elsewhere = [r.cpus for r in measurement.repetitions if asked and ",".join(map(str, r.cpus)) != asked]
    if seen <= allowed and not elsewhere:
        return None
    return Verdict(
        code="threads",
        level="invalid",
        seen=f"CPUs {elsewhere[0]}" if elsewhere else f"{seen} threads ran",
        limit=f"CPUs {asked}" if elsewhere else f"{setup.threads} threads × {setup.streams} streams",
        next_step="The runtime does not keep to its threads: measure with those that it takes.",
    )


def check_zero_memory(measurement: Measurement) -> Verdict | None:
    """`zero_memory`: no believable peak; the field is absent, the other figures stand.

    Of a program of its own nobody reads one: its record says so, and that is no fault of this machine.
    """
    peak = measurement.memory.peak_rss_bytes
    if not isinstance(peak, Absent) or self_timed(measurement):
        return None
    return Verdict(
        code="zero_memory",
        level="warning",
        seen=f"no peak memory: {peak.reason}",
        limit="a peak of at least half of the model's file",
        next_step="Read VmHWM of /proc/self/status on this machine by hand; the other figures stand.",
    )


def check_little(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`little`: throughput and latency contradict each other (Little's law, for a serial loop).

    Throughput is the median process's, so the latency is too: the mean over all processes differs where one was slow,
    which is for `unstable` to say.
    """
    throughput, setup = measurement.throughput, measurement.setup
    if isinstance(throughput, Absent) or not measurement.repetitions:
        return None
    mean_s = median(fmean(repetition.samples_ns) for repetition in measurement.repetitions) / 1e9
    ratio = throughput.images_per_s * mean_s / (known(setup.batch) * known(setup.streams))
    low = 0.0 if self_timed(measurement) else protocol.little_low  # its clock leaves the host's part out: `host_bound`
    if low <= ratio <= protocol.little_high:
        return None
    return Verdict(
        code="little",
        level="invalid",
        seen=f"throughput × mean latency / batch is {ratio:.2f}",
        limit=f"{low:g} to {protocol.little_high:g}",
        next_step="When it is quieter, the same command with --again; under 3 µs a model is too short for this loop.",
    )


def check_contended(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`contended`: others used our CPUs while the clock ran, in at least one process, its retries included.

    A warning where a GPU computes.
    """
    looked_at = [r for r in measurement.repetitions if r.context or not self_timed(measurement)]
    seen = [contention(r, measurement.setup, measurement.device, protocol) for r in looked_at]
    contended = [text for text in seen if text]
    if not contended:
        return None
    return Verdict(
        code="contended",
        level="warning" if on_gpu(measurement) else "invalid",
        seen=f"{contended[0]} ({len(contended)} of {len(seen)} processes)",
        limit=f"run-queue wait {protocol.run_queue_wait_percent:g} %, foreign CPU {protocol.foreign_cpu_percent:g} %, "
        f"steal {protocol.steal_percent:g} %",
        next_step="Stop what else runs on that machine, or take fewer --threads; then the same command with --again.",
    )


def contention(repetition: Repetition, setup: Setup, device: Device, protocol: Protocol) -> str:
    """What contended with one process, as text; empty where nothing did."""
    if not repetition.context:
        return "the kernel's counters could not be read"
    context, wall_s = repetition.context, repetition.context[-1].at_s
    allowed_s = wall_s * known(setup.threads) * known(setup.streams)
    wait = sum(w.run_queue_wait_s for w in context if not isinstance(w.run_queue_wait_s, Absent)) / allowed_s
    ours = len(repetition.cpus) or known(device.usable_cpus)
    foreign = sum(window.our_cpus_busy_s - window.cpu_s for window in context) / (wall_s * ours)
    steal = sum(window.steal_s for window in context) / (wall_s * known(device.cpus))
    shares = (
        ("run-queue wait", wait * 100, protocol.run_queue_wait_percent),
        ("foreign CPU", foreign * 100, protocol.foreign_cpu_percent),
        ("steal", steal * 100, protocol.steal_percent),
    )
    return ", ".join(f"{name} {share:.1f} %" for name, share, limit in shares if share > limit)


def warn_if_neighbours(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`neighbours`: others kept CPUs busy that we may not use; they share memory and clocks with us all the same."""
    shares = [
        sum(w.machine_busy_s - max(w.our_cpus_busy_s, w.cpu_s) for w in r.context)
        / (r.context[-1].at_s * known(measurement.device.cpus))
        for r in measurement.repetitions
        if r.context
    ]
    percent = 100 * max(shares, default=0.0)
    if percent <= protocol.neighbours_percent:
        return None
    return Verdict(
        code="neighbours",
        level="warning",
        seen=f"others used {percent:.0f} % of the machine, on CPUs that are not ours",
        limit=f"{protocol.neighbours_percent:g} %; the interval is taken as ±10 % at least",
        next_step="When the rest of the machine is idle, the same command with --again.",
    )


def check_throttled(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`throttled`: a clock fell while the model was timed, a CPU's in most of the processes.

    A warning for a power limit of the driver, and for a sustained run, which is there to show it. Between the frames of
    a camera a governor lowers the clock: that is what such a run measures.
    """
    gpu, paced = on_gpu(measurement), isinstance(measurement.setup.fps, float)
    readings = [_meanwhile(repetition) for repetition in measurement.repetitions]
    fell = [text for r in measurement.repetitions if (text := cpu_clock_fell(r.context)) and not paced]
    most = fell[0] if 2 * len(fell) > len(readings) else ""
    seen = next((text for each in readings if (text := throttled(each, gpu=gpu))), most)
    if not seen and not (gpu and any(map(power_capped, readings))):
        return None
    return Verdict(
        code="throttled",
        level="invalid" if seen and not protocol.soak_s else "warning",
        seen=seen or "the driver's power limit held the GPU back",
        limit=f"clocks at {GPU_CLOCK_PERCENT:g} % of a GPU's default (its highest, where it has no default), "
        f"{CPU_CLOCK_PERCENT:g} % of a CPU's start",
        next_step="Cool the machine, or let it settle: --soak 10m shows where it does.",
    )


def check_gpu_shared(measurement: Measurement) -> Verdict | None:
    """`gpu_shared`: another process computed on the GPU."""
    most = max(
        (
            value
            for repetition in measurement.repetitions
            for reading in _meanwhile(repetition)
            for key, value in reading.values.items()
            if key.startswith("gpu_processes ")
        ),
        default=0.0,
    )
    if most <= 1 or not on_gpu(measurement):
        return None
    return Verdict(
        code="gpu_shared",
        level="invalid",
        seen=f"{most:.0f} processes computed on the GPU",
        limit="ours alone",
        next_step="nvidia-smi names them; end them, or choose another GPU with CUDA_VISIBLE_DEVICES.",
    )


def self_timed(measurement: Measurement) -> bool:
    """Whether the runtime is a program that times its own loop."""
    kind = _kind(measurement)
    return kind is not None and kind.self_timed


def on_gpu(measurement: Measurement) -> bool:
    """Whether the runtime computes on a GPU."""
    kind = _kind(measurement)
    return kind is not None and kind.device == "cuda"


def _kind(measurement: Measurement) -> type[Runtime] | None:
    return runtimes().get(known(measurement.runtime.name))


def _meanwhile(repetition: Repetition) -> list[Reading]:
    """What the sensors said during the measured loop."""
    end_s = repetition.began_s + repetition.measure_s
    return [reading for reading in repetition.readings if repetition.began_s <= reading.at_s <= end_s]


def check_drift(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`drift`: latency moves over the measured loop, in the median process; a sustained run is expected to."""
    if protocol.soak_s or not measurement.repetitions:
        return None
    streams = known(measurement.setup.streams)
    together = [_while_all_ran(repetition, streams) for repetition in measurement.repetitions]
    slopes, quarters = zip(*map(drift_percents, together), strict=True)
    slope, quarter = median(slopes), median(quarters)
    if abs(slope) <= protocol.drift_slope_percent and abs(quarter) <= protocol.drift_quarter_percent:
        return None
    return Verdict(
        code="drift",
        level="invalid",
        seen=f"over the loop latency moves by {slope:+.1f} %, its last quarter is {quarter:+.1f} % off the first",
        limit=f"±{protocol.drift_slope_percent:g} % and ±{protocol.drift_quarter_percent:g} %",
        next_step="Wait until clocks and temperature have settled, or ask for a sustained run: --soak 10m.",
    )


def _while_all_ran(repetition: Repetition, streams: int) -> Sequence[int]:
    """Without the last call of each of several streams: it ended beside fewer others, and sooner for that."""
    samples = repetition.samples_ns
    return samples if streams == 1 else samples[:-streams]


def check_unstable(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`unstable`: the processes disagree."""
    latency = measurement.latency
    if isinstance(latency, Absent):
        return None
    percent = (known(latency.latency_ms_p50_high) - latency.latency_ms_p50) / latency.latency_ms_p50 * 100
    if percent <= protocol.interval_percent:
        return None
    invalid = percent > protocol.interval_percent_invalid
    return Verdict(
        code="unstable",
        level="invalid" if invalid else "warning",
        seen=f"the interval between {latency.processes} processes is ±{percent:.1f} %",
        limit=f"±{protocol.interval_percent_invalid if invalid else protocol.interval_percent:g} %",
        next_step="When it is quieter, the same command with --again"
        + ("; without --quick there are more processes." if protocol.mode == "quick" else "."),
    )


def warn_if_few(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`few`: too few samples or processes to compare with others."""
    processes = len(measurement.repetitions)
    samples = sum(len(repetition.samples_ns) for repetition in measurement.repetitions)
    if protocol.soak_s or (samples >= protocol.few_samples and processes >= protocol.few_processes):
        return None
    return Verdict(
        code="few",
        level="warning",
        seen=f"{samples} samples of {processes} processes: not comparable",
        limit=f"{protocol.few_samples} samples of {protocol.few_processes} processes",
        next_step="The same command with --again, and a larger --max-seconds or none.",
    )
