"""Which networks are convolutional, and which are Transformers."""

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from vlm_contract.codec import Absent

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("backbones.toml")
Family: TypeAlias = Literal["CNN", "Transformer", "hybrid"]
_FAMILIES: dict[str, Family] = {"cnn": "CNN", "transformer": "Transformer", "hybrid": "hybrid"}


def family_of(name: str) -> Family | Absent:
    """The family of a model by its timm name or by a document's: "swin_tiny_patch4_window7_224", "Swin-Tiny"."""
    word = _word(re.sub(r"^(tf|gluon)_", "", name))
    fitting = [beginning for beginning in _beginnings() if word.startswith(beginning)]
    return _beginnings()[max(fitting, key=len)] if fitting else Absent(f"the family of {name} is not known")


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


@lru_cache
def _beginnings() -> dict[str, Family]:
    lists = tomllib.loads(FILE.read_text())
    return {_word(beginning): _FAMILIES[name] for name, beginnings in lists.items() for beginning in beginnings}
