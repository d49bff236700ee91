"""The four commands, one after the other, on a tiny model and real images: every record a real one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def command(workspace: Path, name: str, *words: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run one command with `--json` and return its summary."""
    line = [sys.executable, "-m", name, *words, "--workspace", str(workspace), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode in allowed, done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("end-to-end")
    command(root, "vlm_train", "--model", "test_resnet", "--data", "digits", "--epochs", "3", "--seed", "0")
    command(root, "vlm_export", "--fmt", "onnx", "--precision", "fp32,fp16")
    # 1 is allowed: whether the machine is quiet enough to measure on is not ours to promise.
    command(root, "vlm_profile", "--target", "host", "--batch", "1", "--quick", "--threads", "1", allowed=(0, 1))
    command(root, "vlm_report")
    return root


def test_the_folders_hold_what_the_design_says(workspace: Path) -> None:
    found = {
        str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file() and path.name != ".lock"
    }
    run = "test_resnet-small-digits-1437-s0"
    assert {f"runs/{run}/{name}" for name in ("model.safetensors", "checkpoint.json", "history.jsonl")} <= found
    for precision in ("fp32", "fp16"):
        assert {f"artifacts/{run}.onnx-{precision}/{name}" for name in ("model.onnx", "manifest.json")} <= found
        assert f"measurements/host/{run}.onnx-{precision}.onnxruntime-b1-t1.json" in found
    assert {"report/report.md", "report/report.html", "report/report.json"} <= found


def test_the_record_of_each_stage_names_the_one_before(workspace: Path) -> None:
    from vlm_contract.workspace import Workspace

    records = Workspace(workspace)
    (card,) = records.cards().records.values()
    manifests = records.manifests().records.values()
    assert {manifest.checkpoint_sha256 for manifest in manifests} == {card.weights_sha256}
    models = {manifest.files[0].sha256 for manifest in manifests}
    assert {measurement.artifact.sha256 for measurement in records.measurements().records.values()} == models


def test_a_second_run_does_nothing_again(workspace: Path) -> None:
    def written() -> dict[Path, int]:
        kept = ("runs", "artifacts")
        return {
            path: path.stat().st_mtime_ns
            for folder in kept
            for path in (workspace / folder).rglob("*")
            if path.is_file()
        }

    before = written()
    command(workspace, "vlm_train", "--model", "test_resnet", "--data", "digits", "--epochs", "3", "--seed", "0")
    command(workspace, "vlm_export", "--fmt", "onnx", "--precision", "fp32,fp16")
    assert {path: time for path, time in written().items() if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }


def test_the_report_holds_the_figures_of_the_records(workspace: Path) -> None:
    from vlm_contract.workspace import Workspace

    text = (workspace / "report" / "report.md").read_text()
    (card,) = Workspace(workspace).cards().records.values()
    assert f"{card.best.validation_accuracy_percent:.2f}" in text
    for measurement in Workspace(workspace).measurements().records.values():
        assert measurement.artifact.precision in text
        if measurement.status != "valid":
            assert measurement.verdicts[0].code in text
