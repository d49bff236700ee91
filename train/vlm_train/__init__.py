"""Training of timm backbones on small data: checkpoints with a card that says what they are."""

from typing import Any

__all__ = ["Recipe", "Request", "Trained", "train_model"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vlm_train import train

    return getattr(train, name)
