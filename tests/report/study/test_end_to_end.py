"""A real study of the real commands, as small as one can be."""

import subprocess
import sys
from pathlib import Path

import pytest

STUDY = """
[study]
name = "tiny"

[train]
models = ["mobilenetv3_small_050", "no_such_model"]
datasets = ["digits"]
samples = [300]
floors = ["pixels"]
options = { epochs = 1, batch-size = 64 }

[export]
precisions = ["fp32"]

[profile]
batches = [1]
options = { quick = true, max-seconds = 3, wait-quiet = 0 }
"""


@pytest.mark.slow
def test_a_study_is_trained_exported_profiled_and_reported_and_a_wrong_model_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)

    def study(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "vlm_report.study", *words, "study.toml"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = study("run")
    assert done.returncode == 1
    assert "no_such_model" in done.stderr
    assert len(list(tmp_path.glob("workspace/runs/*/checkpoint.json"))) == 2
    assert len(list(tmp_path.glob("workspace/artifacts/*/manifest.json"))) == 1
    assert len(list(tmp_path.glob("workspace/measurements/host/*.json"))) == 1
    assert (tmp_path / "workspace/report/report.html").exists()
    log = study("status").stdout
    assert "Completed (5)" in log
    assert "Failed (1)" in log
    assert "waits for train/no_such_model-digits-300" in log
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("workspace/[ram]*/**/*") if path.is_file()}
    assert study("run").returncode == 1, "the wrong model is tried again, and fails again"
    assert {path: path.stat().st_mtime_ns for path in before} == before
