"""The benchmark beside other tools: one that drops out is named, and the table of the rest is still there."""

import importlib.util
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vlm_contract.errors import CheckFailed

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_profile.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_profile", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


def tool_of(bench: ModuleType, *answers: float | Exception) -> Callable[[Any], Any]:
    """A double of a tool that says these figures, or fails so, in turn."""
    left = list(answers)

    def tool(job: Any) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return bench.Run(answer, "nothing", 1.0)

    return tool


@pytest.mark.parametrize("failure", [CheckFailed("it crashed"), KeyError("p50_ms"), json.JSONDecodeError("no", "", 0)])
@pytest.mark.parametrize("name", ["bare loop", "vlm-profile", "Polygraphy"])
def test_a_tool_that_drops_out_leaves_the_others_their_rows(
    bench: ModuleType, name: str, failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = {each: tool_of(bench, 2.0, 2.1) for each in ("vlm-profile", "bare loop", "Polygraphy")}
    tools[name] = tool_of(bench, 2.0, failure)
    series = bench.turns(tools, None, 3, nullcontext)
    rows = list(bench.quiet_rows(series))
    assert [row[0] for row in rows] == [each for each in tools if each != name]
    assert f"left out: {name}, which did not run" in capsys.readouterr().out
    assert {row[3] for row in rows} == ({"—"} if name == "bare loop" else {"1.000"})
    assert list(bench.hogged_rows(series, bench.turns(tools, None, 1, nullcontext)))


def test_where_all_drop_out_there_is_no_row(bench: ModuleType) -> None:
    series = bench.turns({"bare loop": tool_of(bench, CheckFailed("gone"))}, None, 3, nullcontext)
    assert list(bench.quiet_rows(series)) == list(bench.hogged_rows(series, series)) == []


def test_a_result_of_ours_without_a_figure_is_a_tool_that_did_not_run(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"status": "failed", "verdicts": [{"code": "worker"}], "latency": {"absent": "a process failed: killed"}}
    monkeypatch.setattr(bench, "output_of", lambda words, may_end_with: json.dumps({"measurements": [row]}))
    job = bench.Job(Path("m.onnx"), (), 1, 1.0, (), {})
    with pytest.raises(CheckFailed, match="no figure: a process failed: killed"):
        bench.ours(job)
