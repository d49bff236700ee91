"""The figures that a requirement, a table or a sentence may name, and how they are written."""

from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_profile.table import supported
from vlm_report.records import Entry

# What one of a unit's spellings is in the unit that records use.
MILLISECONDS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
PERCENT = {"%": 1.0}
POINTS: dict[str, float] = {}
RATE = {"img/s": 1.0}
COUNT = {"k": 1e3, "M": 1e6, "G": 1e9}
MILLIJOULES = {"mJ": 1.0, "J": 1e3}


@dataclass(frozen=True)
class Figure:
    """Where a number stands in an entry, and the units that it may be given in."""

    path: str  # attributes, from the entry
    units: dict[str, float]


FIGURES = {
    "latency_ms_p50": Figure("measured.latency.latency_ms_p50", MILLISECONDS),
    "latency_ms_p50_low": Figure("measured.latency.latency_ms_p50_low", MILLISECONDS),
    "latency_ms_p50_high": Figure("measured.latency.latency_ms_p50_high", MILLISECONDS),
    "latency_ms_p90": Figure("measured.latency.latency_ms_p90", MILLISECONDS),
    "latency_ms_p95": Figure("measured.latency.latency_ms_p95", MILLISECONDS),
    "latency_ms_p99": Figure("measured.latency.latency_ms_p99", MILLISECONDS),
    "latency_ms_max": Figure("measured.latency.latency_ms_max", MILLISECONDS),
    "first_inference_ms": Figure("measured.latency.first_inference_ms", MILLISECONDS),
    "images_per_s": Figure("measured.throughput.images_per_s", RATE),
    "images_per_s_low": Figure("measured.throughput.images_per_s_low", RATE),
    "images_per_s_high": Figure("measured.throughput.images_per_s_high", RATE),
    "peak_rss_bytes": Figure("measured.memory.peak_rss_bytes", BYTES),
    "model_rss_bytes": Figure("measured.memory.model_rss_bytes", BYTES),
    "device_peak_bytes": Figure("measured.memory.device_peak_bytes", BYTES),
    "energy_mj_per_image": Figure("measured.energy_mj_per_image", MILLIJOULES),
    "model_bytes": Figure("measurement.artifact.bytes", BYTES),
    "accuracy_percent": Figure("manifest.accuracy.artifact_percent", PERCENT),
    "accuracy_drop_points": Figure("manifest.accuracy.drop_points", POINTS),
    "parameters": Figure("manifest.parameters", COUNT),
    "macs": Figure("manifest.macs", COUNT),
    "flops": Figure("manifest.flops", COUNT),
}


def figure_of(entry: Entry, name: str) -> float | Absent:
    """A figure of an entry by its name in FIGURES; absent with the reason that the record gives."""
    value: object = entry
    for attribute in FIGURES[name].path.split("."):
        if isinstance(value, Absent):
            return value
        value = getattr(value, attribute)
    assert isinstance(value, (int, float, Absent))
    return value


def written(name: str, value: float) -> str:
    """A figure with its unit: `18.2 ms`, `300 MB`, `97.22 %`, `2.1 M`."""
    units = FIGURES[name].units
    fitting = [unit for unit, scale in units.items() if scale == 1 or (abs(value) >= scale and not unit.endswith("iB"))]
    if not fitting:
        return f"{value:.6g}"
    unit = "ms" if units is MILLISECONDS else max(fitting, key=units.__getitem__)
    return f"{value / units[unit]:.6g} {unit}"


def interval(value: float, low: float, high: float) -> str:
    """`4.57 (4.53–4.60)`, with the digits that the interval supports."""
    half = (high - low) / 2
    return f"{supported(value, half)} ({supported(low, half)}–{supported(high, half)})"


def rate(value: float, low: float, high: float) -> str:
    """The value alone, with the digits that its interval supports."""
    return supported(value, (high - low) / 2)
