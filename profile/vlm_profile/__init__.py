"""Latency, throughput and memory of an artifact on a device, with verdicts on the measuring itself."""

from importlib import import_module
from typing import Any

_HOMES = {"Request": "rows", "measure": "measuring"}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vlm_profile.{_HOMES[name]}"), name)
