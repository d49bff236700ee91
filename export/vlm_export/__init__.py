"""ONNX files and TensorRT engines from checkpoints, each with the proof that it is the checkpoint's."""

import os
from importlib import import_module
from typing import Any

_HOMES = {
    "Described": "checkpoint",
    "Exported": "artifacts",
    "Wanted": "wanted",
    "export_checkpoint": "export",
    "export_engines": "engines",
}
__all__ = [*_HOMES]

# Read when onnxruntime is imported, wherever that is first; else a thread of it writes a database and calls home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vlm_export.{_HOMES[name]}"), name)
