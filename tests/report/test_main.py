"""The command: its exit codes, its lines, its files."""

import json
from collections.abc import Callable
from types import SimpleNamespace

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
def test_stdout_is_where_the_report_is_the_table_of_picks_and_the_lines_that_matter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "report: workspace/report/report.html"
    assert [line.split()[:4] for line in lines[3:6]] == [
        ["host", "edge", "digits", "double-fast.onnx-fp32"],
        ["host", "balanced", "digits", "double-fast.onnx-fp32"],
        ["training", "small", "digits,", "1437"],
    ]
    assert lines[7].startswith("For this host (edge device, digits): double-fast.onnx-fp32")
    assert lines[8].startswith("Runner-up: ")
    assert any(line.startswith("Not double_lean") for line in lines)


@pytest.mark.usefixtures("doubles")
def test_json_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--quiet", "--require", "latency_ms_p50<=9", "--question", "edge"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    own, edge = document["recommendations"]
    assert (own["question"], edge["question"]) == ("own", "edge")
    assert own["pick"]["artifact"] == "double-fast.onnx-fp32"
    assert own["requirements"] == ["latency_ms_p50 <= 9 ms"]
    assert edge["requirements"] == []
    assert {"model", "name", "reason", "change", "command"} == own["why_not"][0].keys()
    assert "workspace/report/report.md" in document["files"]


@pytest.mark.usefixtures("doubles")
def test_targets_and_questions_may_be_chosen(
    keep: Callable[..., None], double: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(double.measurement("double-lean.onnx-fp32", 30.0, target="jetson-orin-nano"))
    assert main(["--json", "--quiet", "--target", "jetson", "--question", "balanced,edge"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(r["target"], r["question"]) for r in document["recommendations"]] == [
        ("jetson-orin-nano", "balanced"),
        ("jetson-orin-nano", "edge"),
    ]


@pytest.mark.usefixtures("doubles")
def test_a_limit_that_is_met_on_one_target_and_not_on_another_is_exit_code_1(
    keep: Callable[..., None], double: SimpleNamespace
) -> None:
    keep(double.measurement("double-lean.onnx-fp32", 30.0, target="rpi5"))
    assert main(["--quiet", "--require", "latency_ms_p50<=9"]) == 1
    assert main(["--quiet", "--require", "latency_ms_p50<=9", "--target", "host"]) == 0
    assert main(["--quiet", "--require", "host:latency_ms_p50<=9"]) == 0


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


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "pdf"],
        ["--require", "latency<=20"],
        ["--require", "jetsn:latency_ms_p50<=20"],
        ["--question", "egde"],
        ["--target", "jetsn"],
    ],
)
@pytest.mark.usefixtures("doubles")
def test_a_wrong_request_is_exit_code_2_and_writes_nothing(workspace: Workspace, words: list[str]) -> None:
    assert main(words) == 2
    assert not workspace.report.exists()
