"""Latency, throughput and memory of an artifact on a device, with verdicts on the measuring itself."""

from typing import Any

__all__ = ["Request", "measure"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vlm_profile import session

    return getattr(session, name)
