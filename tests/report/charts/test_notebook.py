"""notebooks/analysis.ipynb, as it is stored and as it runs."""

from pathlib import Path
from typing import Any

import pytest

from vlm_report.charts import charts_of
from vlm_report.charts.sources import Sources

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "analysis.ipynb"
WHY = "the notebook is run by nbclient and ipykernel (pip install nbclient ipykernel)"


@pytest.fixture
def notebook() -> Any:
    return pytest.importorskip("nbformat", reason=WHY).read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_without_outputs(notebook: Any) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.slow
def test_the_notebook_draws_every_chart_of_a_workspace(
    notebook: Any, world: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipykernel", reason=WHY)
    nbclient = pytest.importorskip("nbclient", reason=WHY)
    monkeypatch.setenv("VLM_WORKSPACE", str(world.records.workspace.root.absolute()))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    away = tmp_path / "elsewhere"
    away.mkdir()
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(away)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    drawn = sum("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert drawn == len(charts_of(world.records, world.frames).drawn)
