"""A workspace is read as it is: what cannot be read is said, and the rest is used."""

import json
from pathlib import Path

import pytest

from vlm_contract.measurement import Measurement
from vlm_contract.workspace import Workspace, default_workspace, safe_name


def test_a_damaged_record_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    path = Workspace(tmp_path).measurement("host", "damaged")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found = Workspace(tmp_path).measurements()
    assert found.records == {}
    assert "damaged.json is damaged" in found.problems[0]


def test_a_temporary_file_of_a_killed_command_is_not_read(tmp_path: Path) -> None:
    path = Workspace(tmp_path).measurement("host", ".half")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert Workspace(tmp_path).measurements().problems == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [("resnet50", "resnet50"), ("../../etc", "_.._etc"), (".hidden", "hidden"), ("a b/c", "a_b_c"), ("", "_")],
)
def test_a_name_from_outside_never_leaves_its_folder(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_the_workspace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_WORKSPACE", "elsewhere")
    assert default_workspace() == Path("elsewhere")
    monkeypatch.delenv("VLM_WORKSPACE")
    assert default_workspace() == Path("workspace")


def a_measurement_file(workspace: Workspace, samples: str = "[1,2,3]", target: str = "host") -> Path:
    """A measurement whose repetition is written by hand: one list of nanoseconds, and a text that looks like one."""
    absent = {"absent": "a double"}
    names = ("name", "cpu", "cpus", "usable_cpus", "memory_bytes", "gpu", "power_mode", "system", "machine")
    document = {
        "schema": Measurement.SCHEMA,
        "target": target,
        "evidence": "measured",
        "protocol": "vlm-1",
        "settings": {},
        "device": {**dict.fromkeys(names, absent), "name": 'double "samples_ns":[9,9] board'},
        "runtime": {"name": absent, "version": absent, "provider": absent, "options": {}},
        "artifact": {"name": "double", **dict.fromkeys(("file", "sha256", "bytes", "format", "precision"), absent)},
        "setup": {**dict.fromkeys(("batch", "threads", "streams", "fps"), absent), "scope": "a double", "options": {}},
        **dict.fromkeys(
            (
                "latency",
                "throughput",
                "cold_start",
                "pacing",
                "sustained",
                "energy",
                "temperature",
                "estimate",
                "origin",
            ),
            absent,
        ),
        "memory": {
            **dict.fromkeys(("peak_rss_bytes", "model_rss_bytes", "device_peak_bytes"), absent),
            "by_source": {},
            "covers": "a double",
        },
        "verdicts": [],
        "environment": {},
        "measured_utc": absent,
    }
    path = workspace.measurement(target, "double")
    path.parent.mkdir(parents=True)
    path.write_text(f'{json.dumps(document)[:-1]}, "repetitions": [{{"samples_ns": {samples}}}]}}')
    return path


def test_without_repetitions_neither_samples_nor_their_damage_are_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = a_measurement_file(workspace, "[1, 2, not a number]")
    assert workspace.measurements().records == {}
    found = workspace.measurements(repetitions=False)
    assert found.problems == ()
    assert found.records[path].repetitions == ()


def test_a_text_that_looks_like_samples_stays_as_it_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = a_measurement_file(workspace)
    assert workspace.measurements(repetitions=False).records[path].device.name == 'double "samples_ns":[9,9] board'


def test_the_rest_of_a_record_is_checked_all_the_same(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = a_measurement_file(workspace)
    path.write_text(path.read_text().replace('"verdicts": []', '"verdicts": [3]'))
    (problem,) = workspace.measurements(repetitions=False).problems
    assert "verdicts[0]: expected an object, found 3" in problem


def test_a_record_without_repetitions_at_all_is_damaged(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = a_measurement_file(workspace)
    path.write_text(path.read_text().partition(', "repetitions"')[0] + "}")
    (problem,) = workspace.measurements(repetitions=False).problems
    assert "repetitions: missing" in problem
