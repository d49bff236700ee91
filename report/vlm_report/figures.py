"""The figures that a requirement, a table or a sentence may name, and how they are written."""

from collections.abc import Callable, Iterable, Mapping

from vlm_contract.codec import Absent
from vlm_contract.conditions import BARE, BYTES, OF_MEASUREMENT, Figure, Units, figure_at
from vlm_profile.protocol import FULL
from vlm_profile.table import supported, two_digits
from vlm_report.records import Entry

WIDE = FULL.interval_percent_invalid / 100  # of a measured figure, beyond which it is invalid
PERCENT: Units = {"%": 1.0}
COUNT: Units = {"k": 1e3, "M": 1e6, "G": 1e9}

# By their place in an entry. A measurement's figures are those of a valid one; a file's size stands whatever it says.
FIGURES: Mapping[str, Figure] = {
    **{name: Figure(f"measured.{figure.path}", figure.units) for name, figure in OF_MEASUREMENT.items()},
    "model_bytes": Figure("measurement.artifact.bytes", BYTES),
    "accuracy_percent": Figure("manifest.accuracy.artifact_percent", PERCENT),
    "accuracy_drop_points": Figure("manifest.accuracy.drop_points", BARE),
    "parameters": Figure("manifest.parameters", COUNT),
    "macs": Figure("manifest.macs", COUNT),
    "flops": Figure("manifest.flops", COUNT),
}


def figure_of(entry: Entry, name: str) -> float | Absent:
    """A figure of an entry by its name in FIGURES; absent with the reason that the record gives."""
    return figure_at(entry, FIGURES[name].path)


def interval(value: float, low: float | Absent, high: float | Absent) -> str:
    """`4.57 (4.53–4.60)`, with the digits that the interval supports; the value as it was given where there is none.

    Two digits where it is wider than a measured one may be: an estimate's, whose ends are a factor apart.
    """
    if isinstance(low, Absent) or isinstance(high, Absent):
        return f"{value:.6g}"
    half = (high - low) / 2
    if half > WIDE * value:
        return f"{two_digits(value)} ({two_digits(low)}–{two_digits(high)})"
    return f"{supported(value, half)} ({supported(low, half)}–{supported(high, half)})"


def rate(value: float, low: float | Absent, high: float | Absent) -> str:
    """The value alone, with the digits that its interval supports; as it was given where there is none."""
    if isinstance(low, Absent) or isinstance(high, Absent):
        return f"{value:.6g}"
    half = (high - low) / 2
    return two_digits(value) if half > WIDE * value else supported(value, half)


def seeds_range(value: float, low: float, high: float) -> str:
    """`53.4 (52.9–53.8)`: a mean over seeds and its range, one or two decimals; one value alone without a range."""
    if low == high:
        return f"{value:.2f}"
    digits = min(2, max(1, len(supported(value, (high - low) / 2).partition(".")[2])))
    return f"{value:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def supported_by(value: float, low: float | Absent, high: float | Absent, middle: float) -> str:
    """A neighbour of `middle`, such as its 99th percentile, with the digits that the interval of `middle` supports."""
    if isinstance(low, Absent) or isinstance(high, Absent):
        return f"{value:.6g}"
    return supported(value, max(high - middle, middle - low))


def millions(count: float) -> str:
    return f"{count / 1e6:.2f}"


def billions(count: float) -> str:
    return f"{count / 1e9:.3f}"


def megabytes(count: float) -> str:
    """Whole ones; two digits under ten, so that little does not read 0."""
    return f"{count / 1e6:.0f}" if count >= 10e6 else two_digits(count / 1e6)


def decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def counted(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`, `50,000 samples`."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def from_to(values: Iterable[float]) -> str:
    """`30`, or `28–31`."""
    least, most = min(found := list(values)), max(found)
    return f"{least:g}" if least == most else f"{least:g}–{most:g}"
