"""The figures that a requirement, a table or a sentence may name, and how they are written."""

from collections.abc import Mapping

from vlm_contract.codec import Absent
from vlm_contract.conditions import BARE, BYTES, OF_MEASUREMENT, Figure, Units, figure_at
from vlm_profile.table import supported
from vlm_report.records import Entry

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


def interval(value: float, low: float, high: float) -> str:
    """`4.57 (4.53–4.60)`, with the digits that the interval supports."""
    half = (high - low) / 2
    return f"{supported(value, half)} ({supported(low, half)}–{supported(high, half)})"


def rate(value: float, low: float, high: float) -> str:
    """The value alone, with the digits that its interval supports."""
    return supported(value, (high - low) / 2)
