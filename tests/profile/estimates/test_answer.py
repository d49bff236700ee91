"""A request for a target out of reach: every row is estimated in its own name, or left out with a reason."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import load, save

from vlm_contract.codec import write_record
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Estimate, Measurement
from vlm_contract.workspace import Workspace
from vlm_profile.__main__ import parser
from vlm_profile.estimates.answer import estimated
from vlm_profile.rows import Request
from vlm_profile.session import Measured
from vlm_profile.subjects import subject_at
from vlm_targets.catalogue import target_named

Made = Callable[..., Any]


@pytest.fixture
def answered(tiny_model: Path, tmp_path: Path) -> Callable[..., Measured]:
    """The answer of an empty workspace for the tiny model."""

    def asked(target: str = "rpi5", **changes: Any) -> Measured:
        request = Request(**{"target": target, "artifacts": (tiny_model,), "batches": (1,), **changes})
        return estimated(Workspace(tmp_path / "a workspace"), request, target_named(target))

    return asked


def changed(model: Path, change: Callable[[Any], None]) -> None:
    graph = load(model)
    change(graph.graph)
    save(graph, model)


def test_each_runtime_and_each_number_of_threads_has_a_row_of_its_own(answered: Callable[..., Measured]) -> None:
    both = answered(runtime="onnxruntime,openvino")
    assert [record.runtime.name for record in both.records.values()] == ["onnxruntime", "openvino"]
    files = {*both.records, *answered(threads=1).records, *answered(threads=2).records}
    assert len({path.name for path in files}) == len(files) == 4


def test_a_runtime_that_the_target_cannot_have_is_refused(answered: Callable[..., Measured]) -> None:
    with pytest.raises(VlmError, match="No estimate covers 'openvino' on"):
        answered("jetson", runtime="trtexec,openvino")
    assert [record.runtime.name for record in answered("jetson").records.values()] == ["trtexec"]


def test_a_size_that_is_left_open_is_asked_for_and_can_be_given(
    tiny_model: Path, answered: Callable[..., Measured]
) -> None:
    def open_rows(graph: Any) -> None:
        for value in (graph.input[0], graph.output[0]):
            value.type.tensor_type.shape.dim.add().CopyFrom(value.type.tensor_type.shape.dim[1])
            value.type.tensor_type.shape.dim[1].dim_param = "rows"

    changed(tiny_model, open_rows)
    with pytest.raises(VlmError, match="Dimension 1") as caught:
        answered()
    assert "--input-shape x:" in caught.value.hint
    few, many = (answered(input_shapes={"x": (1, rows, 4)}).records for rows in (8, 80_000))
    assert few.keys() != many.keys()
    times = [record.latency.latency_ms_p50 for rows in (few, many) for record in rows.values()]  # type: ignore[union-attr]
    assert times[1] > times[0]


def test_a_batch_that_the_file_does_not_take_is_left_out_with_a_reason(
    tiny_model: Path, answered: Callable[..., Measured]
) -> None:
    def fix_batch(graph: Any) -> None:
        for value in (graph.input[0], graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 2

    changed(tiny_model, fix_batch)
    found = answered(batches=(1, 2, 8))
    assert [record.setup.batch for record in found.records.values()] == [2]
    assert len(found.skipped) == 2
    assert "takes batch 2 only: no figures for batch 8" in found.skipped[1]


def test_what_was_only_guessed_is_said(tiny_model: Path, answered: Callable[..., Measured]) -> None:
    def make_odd(graph: Any) -> None:
        graph.node[1].op_type, graph.node[1].domain = "Brew", "coffee"

    assert not any("Brew" in sentence for sentence in answered().advice)
    model = load(tiny_model)
    make_odd(model.graph)
    model.opset_import.add(domain="coffee", version=1)
    save(model, tiny_model)
    assert any("'Brew' counts as elementwise" in sentence for sentence in answered().advice)


def test_what_would_improve_it_can_be_typed(answered: Callable[..., Measured], tmp_path: Path) -> None:
    """The model's own path, this workspace, and quotes where a shell needs them."""
    (record,) = answered(runtime="openvino", threads=2).records.values()
    assert isinstance(record.estimate, Estimate)
    words = shlex.split(record.estimate.improved_by.split(" measures it")[0])
    assert words[0] == "vlm-profile"
    options = parser().parse_args(words[1:])
    assert options.workspace == tmp_path / "a workspace"
    assert options.artifact == [tmp_path / "tiny.onnx"]
    assert (options.target, options.runtime, options.threads, options.batch) == ("rpi5", "openvino", 2, (1,))


def test_advice_begins_with_a_word_where_nothing_recognises_the_target(
    answered: Callable[..., Measured], tiny_model: Path, tmp_path: Path
) -> None:
    unknown = replace(target_named("rpi5"), recognised_by=())
    found = estimated(Workspace(tmp_path), Request(artifacts=(tiny_model,), batches=(1,)), unknown)
    assert found.advice[0].startswith("Figures that are estimated")
    assert "This is" in answered().advice[0]


def test_a_row_that_was_measured_there_is_the_answer_and_is_not_offered_again(
    answered: Callable[..., Measured], tiny_model: Path, tmp_path: Path, measurement: Made, repetition: Made
) -> None:
    plain: Measurement = measurement(repetition(), repetition(), target="rpi5")
    used = subject_at(tiny_model).used
    record = replace(plain, artifact=used, setup=replace(plain.setup, threads=4))
    path = Workspace(tmp_path / "a workspace").measurement("rpi5", "tiny.onnxruntime-b1-t4")
    write_record(record, path)
    found = answered()
    assert {path: "measured"} == {each: record.evidence for each, record in found.records.items()}
    assert found.kept == frozenset()
    assert found.advice == (f"Measured on {target_named('rpi5').title} earlier: {path.name}.",)


def test_the_record_says_whence_each_thing_is_that_it_takes_for_granted(answered: Callable[..., Measured]) -> None:
    ((path, record),) = answered("jetson").records.items()
    assert isinstance(record.estimate, Estimate)
    assert {"bandwidth", "power mode", "peaks are from", "constants"} <= record.estimate.assumed.keys()
    assert json.loads(path.read_text())["estimate"]["assumed"] == record.estimate.assumed
