"""The command: its exit codes, its lines, its files."""

import json

import pytest

from vlm_contract.workspace import Workspace
from vlm_report.__main__ import main


def test_an_empty_workspace_is_exit_code_2_with_what_to_type(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert "Try: vlm-train" in capsys.readouterr().err
    assert not workspace.root.exists()


@pytest.mark.usefixtures("doubles")
def test_stdout_is_where_the_report_is_and_the_lines_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "report: workspace/report/report.html"
    assert lines[1].startswith("For this host: double-fast.onnx-fp32")
    assert lines[2].startswith("Runner-up: ")
    assert len(lines) == 3


@pytest.mark.usefixtures("doubles")
def test_json_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--quiet", "--require", "latency_ms_p50<=9"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert document["recommendation"]["pick"]["artifact"] == "double-fast.onnx-fp32"
    assert document["recommendation"]["requirements"] == ["latency_ms_p50 <= 9 ms"]
    assert "workspace/report/report.md" in document["files"]


@pytest.mark.usefixtures("doubles")
def test_a_requirement_that_nothing_meets_is_exit_code_1_and_a_report(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--require", "latency_ms_p99<=20"]) == 1
    assert "no artifact meets all requirements" in capsys.readouterr().out
    assert "latency_ms_p99 is absent" in (workspace.report / "report.md").read_text()


@pytest.mark.usefixtures("doubles")
def test_only_the_formats_asked_for_are_written(workspace: Workspace) -> None:
    assert main(["--format", "csv"]) == 0
    names = {str(p.relative_to(workspace.report)) for p in workspace.report.rglob("*.*") if not p.name.startswith(".")}
    assert {name for name in names if name.endswith(("md", "html", "json"))} == set()
    assert "tables/benchmark.csv" in names


@pytest.mark.parametrize("words", [["--format", "pdf"], ["--require", "latency<=20"]])
@pytest.mark.usefixtures("doubles")
def test_a_wrong_request_is_exit_code_2_and_writes_nothing(workspace: Workspace, words: list[str]) -> None:
    assert main(words) == 2
    assert not workspace.report.exists()
