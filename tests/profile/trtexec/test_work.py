"""What a worker does for other runtimes: a look first, then repetitions of an engine that is built once."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Reading, Repetition
from vlm_export.tensorrt.trtexec import Tool
from vlm_profile import places
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.trtexec import work
from vlm_profile.trtexec.models import build_precision_of, inputs_of
from vlm_profile.trtexec.work import Bench, work_here
from vlm_profile.worker import Spec
from vlm_targets.reach import Here

Emulated = Callable[..., Tool]


def look(spec: Spec) -> Spec:
    return replace(spec, look=True, inputs=())


@pytest.mark.parametrize("version", ["8.2.1", "8.5.2", "10.3.0", "11.4.1"])
def test_a_look_builds_the_engine_and_says_what_the_model_takes(
    here: Here, emulated: Emulated, spec: Spec, version: str
) -> None:
    found = Bench(here, emulated(version)).work(look(spec))
    assert found.inputs == (TensorSpec("images", ("batch", 3, 4, 4), "float32"),)
    assert found.repetition == Absent("only a look at the model")
    assert found.runtime.version == version


def test_an_engine_is_built_once_for_all_processes_of_a_batch(here: Here, emulated: Emulated, spec: Spec) -> None:
    told: list[str] = []
    bench = Bench(here, emulated(), told.append)
    bench.work(look(spec))
    assert all(isinstance(bench.work(spec).repetition, Repetition) for _ in range(2))
    assert [words.split()[0] for words in told] == ["sending", "emulator"]
    bench.work(replace(look(spec), setup=replace(spec.setup, batch=8)))
    assert [words.split()[0] for words in told] == ["sending", "emulator", "emulator"]


def test_it_is_built_for_the_batch_alone(here: Here, emulated: Emulated, spec: Spec, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    behaviour = f'[ -e "{noted}" ] || cat "{tmp_path}/bin/called" >"{noted}"'
    Bench(here, emulated("8.2.1", behaviour=behaviour)).work(look(spec))
    words = noted.read_text().splitlines()
    assert {f"--{kind}Shapes=images:2x3x4x4" for kind in ("min", "opt", "max")} <= set(words)
    assert {"--noTF32", "--buildOnly", "--workspace=1024"} <= set(words)


def test_an_unknown_dimension_is_left_to_who_knows_what_to_type(
    here: Here, emulated: Emulated, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "inputs_of", lambda _: (TensorSpec("images", ("batch", 3, "?", "?"), "float32"),))
    found = Bench(here, emulated()).work(look(spec))
    assert isinstance(found.repetition, Absent)
    assert "is unknown" in found.repetition.reason


def test_a_graph_that_cannot_be_built_says_why(here: Here, emulated: Emulated, spec: Spec) -> None:
    tool = emulated(behaviour="echo '[1] [E] [TRT] no importer for Frobnicate' >&2; exit 1")
    with pytest.raises(CheckFailed, match=r"could not build model\.onnx \(code 1\): .*no importer for Frobnicate"):
        Bench(here, tool).work(look(spec))


def test_a_build_that_takes_all_memory_says_so(here: Here, emulated: Emulated, spec: Spec) -> None:
    with pytest.raises(CheckFailed, match=r"was killed over model\.onnx"):
        Bench(here, emulated(behaviour="kill -KILL $$")).work(look(spec))


def test_a_batch_that_cannot_be_built_costs_its_row_alone(here: Here, emulated: Emulated, spec: Spec) -> None:
    bench = Bench(here, emulated())
    bench.work(look(spec))
    emulated(behaviour="echo '[1] [E] no tactic fits' >&2; exit 1")
    with pytest.raises(WorkerFailed, match="no tactic fits"):
        bench.work(replace(spec, inputs=(TensorSpec("images", (64, 3, 4, 4), "float32"),)))


def test_a_look_at_a_slow_model_shortens_its_loop(
    here: Here, emulated: Emulated, spec: Spec, called: Callable[[], list[str]]
) -> None:
    bench = Bench(here, emulated(compute_ms=500.0))
    bench.work(look(spec))
    bench.work(spec)
    assert "--iterations=5" in called()


def test_models_of_one_name_do_not_share_their_files(
    here: Here, emulated: Emulated, spec: Spec, onnx: Path, tmp_path: Path
) -> None:
    shutil.copy(onnx, tmp_path / "model.onnx")
    bench = Bench(here, emulated())
    for model in (onnx, tmp_path / "model.onnx"):
        bench.work(replace(look(spec), model=str(model)))
    assert len(list(Path(here.folder).glob("model-*/model.onnx"))) == 2


def test_an_engine_that_does_not_run_is_refused_by_the_look(here: Here, emulated: Emulated, spec: Spec) -> None:
    with pytest.raises(WorkerFailed, match="times is damaged"):
        Bench(here, emulated(times="x")).work(look(spec))


def test_this_machine_is_a_bench_of_its_own(emulated: Emulated, spec: Spec) -> None:
    emulated()
    work.bench_here.cache_clear()
    try:
        assert isinstance(work_here(spec).repetition, Repetition)
        assert work.bench_here().version == "10.3.0"
    finally:
        work.bench_here.cache_clear()


def test_sensors_are_read_beside_it_on_this_machine(
    emulated: Emulated, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(1.0, {"power_w VDD_IN": 5.0})

    @contextmanager
    def sampled() -> Iterator[list[Reading]]:
        readings: list[Reading] = []
        yield readings
        readings.append(reading)  # as from a process of its own: once it has ended

    monkeypatch.setattr(places, "sampled", sampled)
    emulated()
    work.bench_here.cache_clear()
    try:
        found = places.ThisMachine().work(spec, TIMEOUT_S).repetition
    finally:
        work.bench_here.cache_clear()
    assert isinstance(found, Repetition)
    assert found.readings == (reading,)


# Models


def manifest(folder: Path, **changes: object) -> None:
    """Write an artifact's manifest with these members beside a model."""
    from vlm_contract.codec import encode
    from vlm_contract.manifest import ArtifactManifest, FileEntry

    none = Absent("not of this test")
    made = ArtifactManifest(
        *("a", "r", "0", "b", "trt", "fp16", none, none, none, "outside"),
        (TensorSpec("images", ("batch", 3, 8, 8), "float32"),),
        (),
        *(1, 8, (FileEntry("model.engine", 1, "0"),), 1, none, none, (), none, none, none, none, none, ()),
        *({}, (), 1.0, {}, "now"),
    )
    (folder / "manifest.json").write_text(json.dumps({"schema": made.SCHEMA, **encode(replace(made, **changes))}))


def test_an_engines_inputs_are_those_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(b"engine")
    manifest(tmp_path)
    assert inputs_of(tmp_path / "model.engine") == (TensorSpec("images", ("batch", 3, 8, 8), "float32"),)
    assert build_precision_of(tmp_path / "model.engine") == "fp16"


def test_an_engine_without_a_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(b"engine")
    with pytest.raises(VlmError, match="does not tell what it takes"):
        inputs_of(tmp_path / "model.plan")


def test_a_manifest_of_another_file_says_nothing_of_this_one(onnx: Path, tmp_path: Path) -> None:
    shutil.copy(onnx, tmp_path / "other.onnx")
    manifest(tmp_path)
    assert inputs_of(tmp_path / "other.onnx")[0].shape == ("batch", 3, 4, 4)
    assert build_precision_of(tmp_path / "other.onnx") == "fp32"


@pytest.mark.parametrize(("operator", "precision"), [("Cast", "fp16"), ("DequantizeLinear", "int8")])
def test_a_graphs_precision_is_what_its_numbers_are(tmp_path: Path, operator: str, precision: str) -> None:
    import numpy
    from onnx import TensorProto, helper, numpy_helper, save

    scale = numpy_helper.from_array(numpy.array(1, "float16" if operator == "Cast" else "float32"), "scale")
    names = ["x"] if operator == "Cast" else ["x", "scale"]
    options = {"to": TensorProto.FLOAT} if operator == "Cast" else {}
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **options)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [scale],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    assert build_precision_of(tmp_path / "m.onnx") == precision
    assert inputs_of(tmp_path / "m.onnx") == (TensorSpec("x", (4,), "int8"),)
