"""Every rule by which a result is refused or doubted. Each says what was seen, the limit, and the next step."""

from collections.abc import Sequence
from statistics import fmean, median

from vlm_contract.codec import Absent
from vlm_contract.measurement import Device, Measurement, Repetition, Setup, Verdict
from vlm_profile.protocol import Protocol


def judge(
    measurement: Measurement, protocol: Protocol, *, nonfinite_outputs: Sequence[str] = (), failure: str = ""
) -> tuple[Verdict, ...]:
    """All verdicts on a record; none means that it may be ranked."""
    if failure:
        return (check_worker(failure),)
    verdicts = (
        check_nonfinite(nonfinite_outputs),
        check_zero_memory(measurement),
        check_little(measurement, protocol),
        check_contended(measurement, protocol),
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


def check_nonfinite(outputs: Sequence[str]) -> Verdict | None:
    """`nonfinite`: a NaN or an infinity in these outputs. Figures cannot hold one: they come from whole numbers."""
    if not outputs:
        return None
    return Verdict(
        code="nonfinite",
        level="invalid",
        seen=f"NaN or infinity in {', '.join(outputs)}",
        limit="finite outputs only",
        next_step="Check the artifact's parity with vlm-export; FP16 overflows where FP32 does not.",
    )


def check_zero_memory(measurement: Measurement) -> Verdict | None:
    """`zero_memory`: no believable peak; the field is absent, the other figures stand."""
    peak = measurement.memory.peak_rss_bytes
    if not isinstance(peak, Absent):
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
    if isinstance(throughput, Absent):
        return None
    mean_s = median(fmean(repetition.samples_ns) for repetition in measurement.repetitions) / 1e9
    ratio = throughput.images_per_s * mean_s / (setup.batch * setup.streams)
    if protocol.little_low <= ratio <= protocol.little_high:
        return None
    return Verdict(
        code="little",
        level="invalid",
        seen=f"throughput × mean latency / batch is {ratio:.2f}",
        limit=f"{protocol.little_low:g} to {protocol.little_high:g}",
        next_step="Measure again on a quieter machine; a model of under 3 µs is too short for this loop.",
    )


def check_contended(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`contended`: others used our CPUs while the clock ran, in at least one process, its retries included."""
    seen = [contention(r, measurement.setup, measurement.device, protocol) for r in measurement.repetitions]
    contended = [text for text in seen if text]
    if not contended:
        return None
    return Verdict(
        code="contended",
        level="invalid",
        seen=f"{contended[0]} ({len(contended)} of {len(seen)} processes)",
        limit=f"run-queue wait {protocol.run_queue_wait_percent:g} %, foreign CPU {protocol.foreign_cpu_percent:g} %, "
        f"steal {protocol.steal_percent:g} %",
        next_step="Stop what else runs on this machine, or measure with fewer --threads, then run the command again.",
    )


def contention(repetition: Repetition, setup: Setup, device: Device, protocol: Protocol) -> str:
    """What contended with one process, as text; empty where nothing did."""
    if not repetition.context:
        return "the kernel's counters could not be read"
    context, wall_s = repetition.context, repetition.context[-1].at_s
    wait = sum(window.run_queue_wait_s for window in context) / (wall_s * setup.threads)
    foreign = sum(window.machine_busy_s - window.cpu_s for window in context) / (wall_s * device.usable_cpus)
    steal = sum(window.steal_s for window in context) / (wall_s * device.cpus)
    shares = (
        ("run-queue wait", wait * 100, protocol.run_queue_wait_percent),
        ("foreign CPU", foreign * 100, protocol.foreign_cpu_percent),
        ("steal", steal * 100, protocol.steal_percent),
    )
    return ", ".join(f"{name} {share:.1f} %" for name, share, limit in shares if share > limit)


def check_unstable(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`unstable`: the processes disagree."""
    latency = measurement.latency
    if isinstance(latency, Absent):
        return None
    percent = (latency.latency_ms_p50_high - latency.latency_ms_p50) / latency.latency_ms_p50 * 100
    if percent <= protocol.interval_percent:
        return None
    invalid = percent > protocol.interval_percent_invalid
    return Verdict(
        code="unstable",
        level="invalid" if invalid else "warning",
        seen=f"the interval between {latency.processes} processes is ±{percent:.1f} %",
        limit=f"±{protocol.interval_percent_invalid if invalid else protocol.interval_percent:g} %",
        next_step="Measure again on a quieter machine, in full mode and without --max-seconds.",
    )


def warn_if_few(measurement: Measurement, protocol: Protocol) -> Verdict | None:
    """`few`: too few samples or processes to compare with others."""
    processes = len(measurement.repetitions)
    samples = sum(len(repetition.samples_ns) for repetition in measurement.repetitions)
    if samples >= protocol.few_samples and processes >= protocol.few_processes:
        return None
    return Verdict(
        code="few",
        level="warning",
        seen=f"{samples} samples of {processes} processes: not comparable",
        limit=f"{protocol.few_samples} samples of {protocol.few_processes} processes",
        next_step="Measure again with a larger --max-seconds.",
    )
