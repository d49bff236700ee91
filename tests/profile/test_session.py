"""Which processes run, in which order, how often, and what is stored. The worker is a double but where named real."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent, read_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device, Latency, Measurement, Repetition
from vlm_contract.workspace import Workspace
from vlm_profile import places, session
from vlm_profile.measuring import measure
from vlm_profile.preflight import Preflight
from vlm_profile.process import WorkerFailed
from vlm_profile.protocol import FULL, QUICK, Protocol
from vlm_profile.rows import Request
from vlm_profile.subjects import subject_at
from vlm_profile.worker import Spec

QUIET_MACHINE = Preflight((), {"governor": "performance"}, Absent("no sensor"))
Made = Callable[..., Repetition]
Fake = Callable[[Callable[[Spec], Repetition]], Any]


@pytest.fixture(autouse=True)
def a_device_of_two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device("a board", "a CPU", 4, 2, 2**33, Absent("none"), Absent("none"), "Linux", "x86_64")
    monkeypatch.setattr(places, "device_of", lambda: device)
    monkeypatch.setattr(places, "wait_until_quiet", lambda seconds, line, devices: QUIET_MACHINE)


@pytest.fixture
def request_for(tiny_model: Path) -> Callable[..., Request]:
    return lambda **changes: replace(Request(artifacts=(tiny_model,), batches=(1,)), **changes)


def contended(repetition: Made) -> Repetition:
    quiet = repetition()
    return replace(quiet, context=(replace(quiet.context[0], run_queue_wait_s=1.0),))


def killed(spec: Spec) -> Repetition:
    raise WorkerFailed("it was killed")


def test_a_steady_configuration_takes_five_processes(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    worker = fake_worker(lambda spec: repetition())
    ((path, record),) = measure(workspace, request_for()).records.items()
    assert len(worker.asked) == 5
    assert path.name.endswith(".onnxruntime-b1-t2.json")
    assert record.status == "valid"
    assert read_record(Measurement, path) == record


def test_an_unsteady_one_takes_ten_and_says_so(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    worker = fake_worker(lambda spec: repetition(10.0 + spec.order % 2))
    (record,) = measure(workspace, request_for()).records.values()
    assert len(worker.asked) == 10
    assert [(verdict.code, verdict.level) for verdict in record.verdicts] == [("unstable", "warning")]


def test_a_contended_process_is_retried_twice_then_kept_and_judged(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    worker = fake_worker(lambda spec: contended(repetition))
    (record,) = measure(workspace, request_for()).records.values()
    assert [spec.attempt for spec in worker.asked] == [1, 2, 3] * 5
    assert [repetition.attempt for repetition in record.repetitions] == [3] * 5
    assert [(verdict.code, verdict.level) for verdict in record.verdicts] == [("contended", "invalid")]


def test_a_retry_that_is_quiet_replaces_the_contended_process(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: contended(repetition) if spec.order == 2 else repetition())
    (record,) = measure(workspace, request_for()).records.values()
    assert record.status == "valid"
    assert [(r.order, r.attempt) for r in record.repetitions] == [(0, 1), (1, 1), (3, 2), (4, 1), (5, 1)]


def test_without_time_nothing_is_retried_and_two_processes_still_run(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    worker = fake_worker(lambda spec: contended(repetition))
    (record,) = measure(workspace, request_for(protocol=FULL.within(1e-9))).records.values()
    assert len(worker.asked) == 2
    assert [verdict.code for verdict in record.verdicts] == ["contended", "few"]


def test_configurations_are_interleaved_in_a_seeded_order_that_is_recorded(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    def order(seed: int) -> list[int | str]:
        worker = fake_worker(lambda spec: repetition())
        records = measure(workspace, request_for(batches=(1, 2, 4), seed=seed, again=True)).records.values()
        recorded = {r.order: record.setup.batch for record in records for r in record.repetitions}
        asked = [spec.inputs[0].shape[0] for spec in worker.asked]
        assert asked == [recorded[place] for place in range(15)]
        return asked

    first = order(0)
    assert all(set(first[place : place + 3]) == {1, 2, 4} for place in range(0, 15, 3))
    assert first == order(0) != order(1)


def test_a_failure_is_stored_with_its_cause_and_the_others_go_on(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    def answer(spec: Spec) -> Repetition:
        if spec.inputs[0].shape[0] == 8:
            raise WorkerFailed("the worker crashed (SIGSEGV)")
        return repetition()

    worker = fake_worker(answer)
    one, eight = measure(workspace, request_for(batches=(1, 8))).records.values()
    assert (one.status, eight.status) == ("valid", "failed")
    assert isinstance(eight.latency, Absent)
    assert eight.verdicts[0].seen == "the worker crashed (SIGSEGV)"
    assert sum(spec.inputs[0].shape[0] == 8 for spec in worker.asked) == 1


def test_an_interruption_keeps_what_was_finished(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    def answer(spec: Spec) -> Repetition:
        if spec.order == 9:
            raise KeyboardInterrupt
        return repetition()

    fake_worker(answer)
    with pytest.raises(KeyboardInterrupt):
        measure(workspace, request_for(batches=(1, 8)))
    assert len(workspace.measurements().records) == 1


def test_a_stored_valid_result_is_kept_until_it_is_asked_for_again(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    worker = fake_worker(lambda spec: repetition())
    first = measure(workspace, request_for())
    second = measure(workspace, request_for(seed=7))
    assert (len(first.kept), len(second.kept), len(worker.asked)) == (0, 1, 5)
    assert second.records == first.records
    measure(workspace, request_for(again=True))
    assert len(worker.asked) == 10


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"protocol": QUICK}, True),  # the full rules answer for the quick ones
        ({"protocol": FULL.within(30)}, True),
        ({"protocol": FULL.soaked(30)}, False),
        ({"threads": 1}, False),
        ({"batches": (2,)}, False),
        ({"input_shapes": {"x": (1, 4)}}, False),
    ],
)
def test_what_another_request_would_change_is_measured_anew(
    workspace: Workspace,
    request_for: Callable[..., Request],
    fake_worker: Fake,
    repetition: Made,
    change: dict[str, Any],
    kept: bool,
) -> None:
    fake_worker(lambda spec: repetition())
    measure(workspace, request_for())
    assert bool(measure(workspace, request_for(**change)).kept) is kept


def test_figures_of_clocks_that_follow_the_load_do_not_answer_for_locked_ones(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    place, quiet = places.ThisMachine(), LiveLine(quiet=True)
    first = session.measure_at(place, workspace, request_for(), quiet)
    for _ in range(2):
        locked = session.measure_at(place, workspace, request_for(clocks_locked=True), quiet)
    assert len(locked.kept) == 1
    assert not locked.records.keys() & first.records.keys()
    assert [
        record.settings.get("clocks_locked", False) for record in (*first.records.values(), *locked.records.values())
    ] == [
        False,
        True,
    ]


def test_a_record_says_where_cpu_and_gpu_share_one_memory(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    place = places.ThisMachine()
    for shared in (False, True):
        place.shared_memory = shared
        found = session.measure_at(place, workspace, request_for(again=True), LiveLine(quiet=True))
        (record,) = found.records.values()
        assert record.memory.covers.startswith("one memory, which CPU and GPU share") is shared
        assert "the process's resident memory" in record.memory.covers


def test_quick_figures_do_not_answer_for_full_ones(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    measure(workspace, request_for(protocol=QUICK))
    assert not measure(workspace, request_for()).kept


def test_an_invalid_result_stands_as_such_until_it_is_asked_for_again_and_a_failed_one_does_not(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: contended(repetition))
    measure(workspace, request_for())
    again = measure(workspace, request_for())
    assert again.kept
    assert [record.status for record in again.records.values()] == ["invalid"]
    fake_worker(killed)
    measure(workspace, request_for(again=True))
    assert not measure(workspace, request_for()).kept


def test_a_damaged_record_is_measured_anew(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    (path,) = measure(workspace, request_for()).records
    path.write_text("{")
    measured = measure(workspace, request_for())
    assert not measured.kept
    assert read_record(Measurement, path) == measured.records[path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "hots"}, "no known target"),
        ({"threads": 3}, "leave 1 to 2"),
        ({"runtime": "tensorflow"}, "'tensorflow' is no runtime"),
        ({"runtime": "torch"}, "torch runs no onnx artifact"),
        ({"input_shapes": {"z": (1, 4)}}, "no such input"),
        ({"streams": (2,)}, "2 streams of 2 threads are 4 at work"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_measured(
    workspace: Workspace,
    request_for: Callable[..., Request],
    fake_worker: Fake,
    repetition: Made,
    change: dict[str, Any],
    message: str,
) -> None:
    worker = fake_worker(lambda spec: repetition())
    with pytest.raises(VlmError, match=message):
        measure(workspace, request_for(**change))
    assert worker.asked == []


def test_the_real_worker_fills_a_record(
    workspace: Workspace, request_for: Callable[..., Request], tiny_protocol: Protocol
) -> None:
    (record,) = measure(workspace, request_for(protocol=tiny_protocol, threads=1)).records.values()
    assert isinstance(record.latency, Latency)
    assert record.latency.processes == 2
    assert record.environment["inputs"] == "x:1x4 float32"
    assert record.environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert record.environment["CUDA_MODULE_LOADING"] == "LAZY"
    assert isinstance(record.memory.peak_rss_bytes, int)


def test_a_model_whose_output_is_not_finite_is_invalid(
    workspace: Workspace, tmp_path: Path, tiny_protocol: Protocol
) -> None:
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("Sqrt", ["x"], ["y"])],
        "the root of negative numbers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "root.onnx")
    request = Request(artifacts=(tmp_path / "root.onnx",), batches=(1, 2), threads=1, protocol=tiny_protocol)
    measured = measure(workspace, request)
    (record,) = measured.records.values()
    assert ("nonfinite", "invalid") in [(verdict.code, verdict.level) for verdict in record.verdicts]
    assert measured.skipped == ("root.onnx takes batch 2 only: no figures for batch 1.",)
    with pytest.raises(VlmError, match="takes batch 2 only"):
        measure(workspace, replace(request, batches=(1,)))


def test_of_a_workspace_what_no_runtime_takes_is_passed_over_with_a_sentence(
    workspace: Workspace, tiny_model: Path, tiny_protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = subject_at(tiny_model)
    engine = replace(model, used=replace(model.used, name="an-engine", format="no-such-format"))
    monkeypatch.setattr(session, "subjects_of", lambda workspace, paths, trusted: (model, engine))
    measured = measure(workspace, Request(batches=(1,), threads=1, protocol=tiny_protocol))
    assert [record.artifact.name for record in measured.records.values()] == [model.used.name]
    assert measured.skipped == ("an-engine: no runtime here runs the format no-such-format.",)
    monkeypatch.setattr(session, "subjects_of", lambda workspace, paths, trusted: (engine,))
    with pytest.raises(VlmError, match="an-engine: no runtime here runs"):
        measure(workspace, Request(batches=(1,), threads=1, protocol=tiny_protocol))


def test_measure_is_the_packages_python_api() -> None:
    import vlm_profile

    assert vlm_profile.measure is measure
    with pytest.raises(AttributeError):
        _ = vlm_profile.no_such_verb


@pytest.mark.parametrize("change", [{"fps": 30.0}, {"protocol": FULL.soaked(60)}])
def test_frames_and_sustained_runs_have_one_stream(change: dict[str, Any]) -> None:
    with pytest.raises(VlmError, match="several have no order in time"):
        Request(streams=(1, 2), **change)


def test_a_short_run_does_not_take_the_place_of_a_full_one_nor_one_shape_that_of_another(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    first = measure(workspace, request_for())
    assert measure(workspace, request_for(protocol=FULL.within(9))).records == first.records
    other = measure(workspace, request_for(input_shapes={"x": (1, 4)}))
    assert not other.records.keys() & first.records.keys()


def test_of_several_runtimes_each_artifact_gets_those_that_take_it(
    workspace: Workspace, request_for: Callable[..., Request], fake_worker: Fake, repetition: Made
) -> None:
    fake_worker(lambda spec: repetition())
    records = measure(workspace, request_for(runtime="onnxruntime,torch")).records
    assert [path.name.rpartition(".onnxruntime-")[2] for path in records] == ["b1-t2.json"]


def test_what_was_not_quiet_before_is_kept_in_the_record(
    workspace: Workspace,
    request_for: Callable[..., Request],
    fake_worker: Fake,
    repetition: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noisy = Preflight(("others use 50 %",), {}, Absent("no sensor"))
    monkeypatch.setattr(places, "wait_until_quiet", lambda seconds, line, devices: noisy)
    fake_worker(lambda spec: repetition())
    measured = measure(workspace, request_for())
    (record,) = measured.records.values()
    assert record.environment["not_quiet"] == "others use 50 %"
    assert measured.noise == ("others use 50 %",)
