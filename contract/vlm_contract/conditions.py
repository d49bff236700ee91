"""Conditions on figures as a user types them: `latency_ms_p99<=20`, `peak_rss_bytes<=300MB`, `images_per_s<-5%`."""

import difflib
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError

Units = Mapping[str, float]  # what one of a unit's spellings is in the unit that records use

MILLISECONDS: Units = {"ms": 1.0, "s": 1e3, "us": 1e-3}
SECONDS: Units = {"s": 1.0, "ms": 1e-3}
BYTES: Units = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
RATE: Units = {"img/s": 1.0}
MILLIJOULES: Units = {"mJ": 1.0, "J": 1e3}
DEGREES: Units = {"C": 1.0}
BARE: Units = {}

COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_GRAMMAR = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([+-]?)(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*([a-zA-Z/%]*)\s*", re.ASCII)


@dataclass(frozen=True)
class Figure:
    """Where a number stands in a record, and the units that it may be given in."""

    path: str  # attributes, from the record
    units: Units


# What a measurement says, by the name that conditions, tables and documents use.
OF_MEASUREMENT: Mapping[str, Figure] = {
    "latency_ms_p50": Figure("latency.latency_ms_p50", MILLISECONDS),
    "latency_ms_p50_low": Figure("latency.latency_ms_p50_low", MILLISECONDS),
    "latency_ms_p50_high": Figure("latency.latency_ms_p50_high", MILLISECONDS),
    "latency_ms_p90": Figure("latency.latency_ms_p90", MILLISECONDS),
    "latency_ms_p95": Figure("latency.latency_ms_p95", MILLISECONDS),
    "latency_ms_p99": Figure("latency.latency_ms_p99", MILLISECONDS),
    "latency_ms_max": Figure("latency.latency_ms_max", MILLISECONDS),
    "first_inference_ms": Figure("latency.first_inference_ms", MILLISECONDS),
    "cpu_ms_per_inference": Figure("latency.cpu_ms_per_inference", MILLISECONDS),
    "device_ms_p50": Figure("latency.device_ms_p50", MILLISECONDS),
    "settled_ms": Figure("sustained.settled_ms", MILLISECONDS),
    "images_per_s": Figure("throughput.images_per_s", RATE),
    "images_per_s_low": Figure("throughput.images_per_s_low", RATE),
    "images_per_s_high": Figure("throughput.images_per_s_high", RATE),
    "peak_rss_bytes": Figure("memory.peak_rss_bytes", BYTES),
    "model_rss_bytes": Figure("memory.model_rss_bytes", BYTES),
    "device_peak_bytes": Figure("memory.device_peak_bytes", BYTES),
    "energy_mj_per_image": Figure("energy.energy_mj_per_image", MILLIJOULES),
    "temperature_max_c": Figure("temperature.max_c", DEGREES),
    "import_s": Figure("cold_start.import_s", SECONDS),
    "load_s": Figure("cold_start.load_s", SECONDS),
    "frames_dropped": Figure("pacing.dropped", BARE),
    "frames_late": Figure("pacing.late", BARE),
    "model_bytes": Figure("artifact.bytes", BYTES),
}


@dataclass(frozen=True)
class Words:
    """What the grammar found in a condition."""

    figure: str
    comparison: str  # a key of COMPARISONS
    sign: str  # "+", "-" or none
    number: float
    unit: str  # as typed; none where there is none


@dataclass(frozen=True)
class Condition:
    """A limit on one figure."""

    figure: str
    comparison: str  # a key of COMPARISONS
    limit: float  # in the unit that records use
    units: Units

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {written(self.limit, self.units)}"

    def failure(self, value: float | Absent) -> str:
        """How a figure misses the limit, and by how much; empty where it keeps it. An absent figure keeps none."""
        if isinstance(value, Absent):
            return f"{self.figure} is absent ({value.reason}); required: {self}"
        if COMPARISONS[self.comparison](value, self.limit):
            return ""
        off = written(abs(value - self.limit), self.units)
        return f"{self.figure} is {written(value, self.units)}, off by {off}; required: {self}"


def condition_from(text: str, option: str, figures: Mapping[str, Figure]) -> Condition:
    """Parse `FIGURE <=|>=|<|> NUMBER[UNIT]`. Raises VlmError naming what is wrong and the nearest right word."""
    example = "latency_ms_p99<=20"
    words = words_from(text, option, figures, example)
    if words.sign:
        raise VlmError(f"{text!r} is no condition: a limit has no sign.", hint=f"{option} '{example}'")
    units = figures[words.figure].units
    return Condition(words.figure, words.comparison, words.number * scale_of(words, option, units), units)


def words_from(text: str, option: str, figures: Mapping[str, Figure], example: str) -> Words:
    """The words of a condition on one of `figures`. Raises VlmError; units are left to `scale_of`."""
    match = _GRAMMAR.fullmatch(text)
    if not match:
        shape = re.sub(r"^\w+", "FIGURE", example)
        raise VlmError(f"{text!r} is no condition; expected one like {shape}.", hint=f"{option} '{example}'")
    figure, comparison, sign, number, unit = match.groups()
    if figure not in figures:
        nearest = nearest_figure(figure, figures)
        sign = sign or (re.search("[+-]", example) or [""])[0]  # a change has one, whatever was typed
        rest = f"{comparison}{sign}{number}{unit}"
        known = f"{option} '{nearest}{rest}'" if nearest else f"one of {', '.join(figures)}"
        raise VlmError(f"There is no figure {figure!r}.", hint=known)
    return Words(figure, comparison, sign, float(number), unit)


def nearest_figure(name: str, figures: Iterable[str]) -> str:
    """The first whose words begin or end as typed, `latency` or `p99`; else the most alike; empty where none is."""
    parts = [figure for figure in figures if figure.startswith(f"{name}_") or figure.endswith(f"_{name}")]
    alike = difflib.get_close_matches(name, figures, n=1, cutoff=0.6)
    return (parts or alike or [""])[0]


def scale_of(words: Words, option: str, units: Units) -> float:
    """What the unit as typed is in the unit that records use. Raises VlmError where it is of another kind."""
    known = {"": 1.0, **units}
    if words.unit not in known:
        expected = ", ".join(filter(None, known)) or "no unit"
        raise VlmError(
            f"{words.unit!r} is no unit of {words.figure}; expected {expected}.",
            hint=f"{option} '{words.figure}{words.comparison}{words.sign}…'",
        )
    return known[words.unit]


def figure_at(record: object, path: str) -> float | Absent:
    """The figure that stands at a path of a record; absent with the reason of what is absent on the way."""
    value = record
    for attribute in path.split("."):
        if isinstance(value, Absent):
            return value
        value = getattr(value, attribute)
    assert isinstance(value, (int, float, Absent))
    return value


def written(value: float, units: Units) -> str:
    """A figure with its unit: `18.2 ms`, `300 MB`, `97.22 %`, `2.1 M`."""
    fitting = [unit for unit, scale in units.items() if scale == 1 or (abs(value) >= scale and not unit.endswith("iB"))]
    if not fitting:
        return f"{value:.6g}"
    unit = "ms" if units is MILLISECONDS else max(fitting, key=units.__getitem__)
    return f"{value / units[unit]:.6g} {unit}"
