"""ONNX files from checkpoints, each with the proof that it is the checkpoint's."""

from typing import Any

__all__ = ["Exported", "export_checkpoint"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vlm_export import artifacts, export

    return getattr(artifacts if name == "Exported" else export, name)
