"""What a row says of speed and memory, as a measurement that is marked reported."""

import re
from collections.abc import Mapping

from vlm_contract.codec import Absent
from vlm_contract.measurement import ArtifactUsed, Device, Latency, Measurement, Memory, RuntimeUsed, Setup, Throughput
from vlm_contract.workspace import safe_name
from vlm_report.importing.values import NOT_SAID, Told, date_of, number_of, text_of, verdicts_of, whole_of
from vlm_targets.catalogue import all_targets

NOT_MEASURED = Absent("a reported figure: only the document says it")
ELSEWHERE = "elsewhere"  # the target of what names no device


def measurement_from(told: Told, origin: str, target: str, said: Mapping[str, str]) -> Measurement:
    """A row as a measurement; without a `target`, of what the document calls the device. `said` is of the document."""
    device = told.text("device")
    return Measurement(
        target=target or target_of(device),
        evidence="reported",
        protocol="none that the document names",
        settings={},
        device=_device(told),
        runtime=RuntimeUsed(text_of(told, "runtime"), text_of(told, "runtime_version"), NOT_SAID, {}),
        artifact=ArtifactUsed(
            name=told.text("model"),
            file=NOT_SAID,
            sha256=NOT_SAID,
            bytes=NOT_SAID,
            format=NOT_SAID,
            precision=text_of(told, "precision"),
        ),
        setup=Setup(
            batch=whole_of(told, "batch"),
            threads=whole_of(told, "threads"),
            streams=whole_of(told, "streams"),
            scope="the document does not say what the clock covers, nor what kind of average a latency is",
            fps=NOT_SAID,
            options={},
        ),
        latency=_latency(told),
        throughput=_throughput(told),
        memory=_memory(told),
        cold_start=NOT_MEASURED,
        pacing=NOT_MEASURED,
        sustained=NOT_MEASURED,
        energy=NOT_SAID,
        temperature=NOT_SAID,
        estimate=Absent("reported"),
        origin=origin,
        verdicts=verdicts_of(told, "speed"),
        repetitions=(),
        environment=dict(said),
        measured_utc=date_of(told),
    )


def _device(told: Told) -> Device:
    name = told.text("device")
    nameless = "a device that the document does not name"
    gpu = name if re.search(r"\b(GeForce|NVIDIA|GTX|RTX|Radeon)\b", name, re.IGNORECASE) else ""
    doubted = [finding.verdict for finding in told.findings if finding.verdict.code == "hardware"]
    why = Absent(f"{doubted[0].limit}; the document says {name}") if doubted else NOT_SAID
    return Device(
        name=name or nameless,
        cpu=NOT_SAID,
        cpus=NOT_SAID,
        usable_cpus=NOT_SAID,
        memory_bytes=NOT_SAID,
        gpu=gpu if gpu and not doubted else why,
        power_mode=NOT_SAID,
        system=NOT_SAID,
        machine=NOT_SAID,
    )


def _latency(told: Told) -> Latency | Absent:
    p50 = number_of(told, "latency_ms_p50")
    if isinstance(p50, Absent):
        return p50
    return Latency(
        latency_ms_p50=p50,
        latency_ms_p50_low=number_of(told, "latency_ms_p50_low"),
        latency_ms_p50_high=number_of(told, "latency_ms_p50_high"),
        latency_ms_floor=NOT_SAID,
        latency_ms_p90=number_of(told, "latency_ms_p90"),
        latency_ms_p95=NOT_SAID,
        latency_ms_p99=number_of(told, "latency_ms_p99"),
        latency_ms_mean=NOT_SAID,
        latency_ms_std=NOT_SAID,
        latency_ms_mad=NOT_SAID,
        latency_ms_min=NOT_SAID,
        latency_ms_max=NOT_SAID,
        outliers=NOT_SAID,
        samples=NOT_SAID,
        processes=NOT_SAID,
        first_inference_ms=NOT_SAID,
        cpu_ms_per_inference=NOT_SAID,
        device_ms_p50=NOT_SAID,
    )


def _throughput(told: Told) -> Throughput | Absent:
    rate = number_of(told, "images_per_s")
    if isinstance(rate, Absent):
        return rate
    return Throughput(
        images_per_s=rate,
        images_per_s_low=NOT_SAID,
        images_per_s_high=NOT_SAID,
        batch=whole_of(told, "throughput_batch" if told.number("throughput_batch") else "batch"),
        streams=whole_of(told, "streams"),
        threads=whole_of(told, "threads"),
        obtained="the document does not say how",
    )


def _memory(told: Told) -> Memory:
    peak = whole_of(told, "peak_memory_bytes")
    unknown = Absent("the document does not say of what memory its peak is") if isinstance(peak, int) else peak
    host, device = (
        whole_of(told, name) if name in told.values else unknown for name in ("peak_rss_bytes", "device_peak_bytes")
    )
    return Memory(
        peak_rss_bytes=host,
        model_rss_bytes=NOT_SAID,
        device_peak_bytes=device,
        by_source={"peak of a memory that is not named": peak} if isinstance(peak, int) else {},
        covers="the document does not say what is counted",
    )


def target_of(device: str) -> str:
    """The known target that a device's name holds, else the name itself."""
    known = (target for target in all_targets() for word in target.recognised_by if word and word in device)
    return next((target.name for target in known), safe_name(device.lower()) if device else ELSEWHERE)
