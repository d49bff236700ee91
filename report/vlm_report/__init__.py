"""Tables, the latency-accuracy plot and a recommendation, from the records of a workspace alone."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Recommendation": "recommendation",
    "Records": "records",
    "recommend": "recommendation",
    "recommendations_of": "recommendation",
    "records_of": "records",
    "requirement_from": "requirements",
    "write_report": "render",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vlm_report.{_HOMES[name]}"), name)
