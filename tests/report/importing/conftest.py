"""Documents that nobody filled: doubles, whose figures are made up so that one rule at a time has something to say."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm_contract.console import run_command
from vlm_contract.workspace import Workspace
from vlm_report.importing.command import import_command, import_parser
from vlm_report.importing.documents import Cell, Row

ROOT = Path(__file__).parents[3]


def a_row(**cells: str | Cell) -> Row:
    """A row of a CSV, by its columns."""
    named = {"model": "double-net", **cells}
    return Row("line 2", {name: cell if isinstance(cell, Cell) else Cell(cell, name) for name, cell in named.items()})


@pytest.fixture(scope="session")
def importing() -> SimpleNamespace:
    return SimpleNamespace(
        row=a_row,
        example=ROOT / "examples/reported/experimental_results.md",
        csv=ROOT / "examples/reported/measured-elsewhere.csv",
    )


@pytest.fixture
def command(workspace: Workspace) -> Callable[..., int]:
    """`vlm-report import` in an empty workspace."""
    return lambda *words: run_command(import_parser(), import_command, [str(word) for word in words])
