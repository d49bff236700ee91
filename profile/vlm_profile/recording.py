"""The record of a finished trial, judged."""

from dataclasses import replace
from datetime import datetime, timezone

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Latency, Measurement, Throughput
from vlm_profile.energy import energy_of, temperature_of
from vlm_profile.places import Place
from vlm_profile.preflight import Preflight
from vlm_profile.protocol import Protocol
from vlm_profile.rows import Request
from vlm_profile.statistics import cold_start_of, latency_of, memory_of, pacing_of, sustained_of, throughput_of
from vlm_profile.trials import Trial
from vlm_profile.verdicts import judge


def measurement_of(trial: Trial, request: Request, place: Place, before: Preflight) -> Measurement:
    """The record of a finished trial, judged."""
    row, protocol, repetitions = trial.row, trial.protocol, tuple(trial.repetitions)
    failed = Absent(f"a process failed: {trial.failure}") if trial.failure else None
    measurement = Measurement(
        target=place.target,
        evidence="measured",
        protocol=protocol.name,
        settings=settings_of(request, protocol),
        device=trial.device,
        runtime=trial.runtime,
        artifact=row.subject.used,
        setup=row.setup,
        latency=failed or latency_of(repetitions),
        throughput=failed or throughput_of(repetitions, row.setup),
        memory=memory_of(repetitions, known(row.subject.used.bytes), shared=place.shared_memory),
        cold_start=failed or cold_start_of(repetitions),
        pacing=failed or pacing_of(repetitions, row.setup),
        sustained=failed or sustained_of(repetitions, protocol),
        energy=failed or energy_of(repetitions, row.setup, before.idle_w),
        temperature=failed or temperature_of(repetitions),
        estimate=Absent("measured"),
        origin=Absent("measured here"),
        verdicts=(),
        repetitions=repetitions,
        environment=_environment(trial, before),
        measured_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    verdicts = judge(measurement, protocol, failure=trial.failure)
    if any(verdict.code == "neighbours" for verdict in verdicts):
        measurement = widened(measurement, protocol)
    return replace(measurement, verdicts=verdicts)


def widened(measurement: Measurement, protocol: Protocol) -> Measurement:
    """The same with intervals of at least ±10 %: others used the machine, if not our CPUs."""
    share = protocol.interval_percent_invalid / 100
    latency, throughput = measurement.latency, measurement.throughput
    if isinstance(latency, Latency):
        half = max(share * latency.latency_ms_p50, known(latency.latency_ms_p50_high) - latency.latency_ms_p50)
        low, high = latency.latency_ms_p50 - half, latency.latency_ms_p50 + half
        latency = replace(latency, latency_ms_p50_low=low, latency_ms_p50_high=high)
    if isinstance(throughput, Throughput):
        half = max(share * throughput.images_per_s, known(throughput.images_per_s_high) - throughput.images_per_s)
        low, high = throughput.images_per_s - half, throughput.images_per_s + half
        throughput = replace(throughput, images_per_s_low=low, images_per_s_high=high)
    return replace(measurement, latency=latency, throughput=throughput)


def _environment(trial: Trial, before: Preflight) -> dict[str, str]:
    """What else shapes the result: the machine's state, versions, the workers' variables, the inputs."""
    inputs = (f"{t.name}:{'x'.join(map(str, t.shape))} {t.dtype}" for t in trial.inputs)
    noise = {"not_quiet": "; ".join(before.sentences)} if not before.quiet else {}
    return {**before.fingerprint, **noise, **trial.versions, "inputs": ", ".join(inputs)}


def settings_of(request: Request, protocol: Protocol) -> dict[str, Scalar]:
    """The rules, and what of the request shapes the work."""
    shapes = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in sorted(request.input_shapes.items()))
    locked = {"clocks_locked": True} if request.clocks_locked else {}  # as a key of its own: older records have none
    return {**protocol.settings(), "seed": request.seed, "input_shapes": " ".join(shapes), **locked}
