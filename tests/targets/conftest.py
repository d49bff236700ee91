"""Recorded trees: the files of machines that are not here, each from a TOML file that says where they come from."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TREES = Path(__file__).parent / "trees"


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """A function that unpacks the tree of that name, and changes files in it; the root."""

    def unpacked(name: str, changes: dict[str, str] | None = None) -> Path:
        root = tmp_path / "recorded trees" / name
        files = tomllib.loads((TREES / f"{name}.toml").read_text())["files"]
        for path, text in {**files, **(changes or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return root

    return unpacked
