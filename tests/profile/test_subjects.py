"""What may be measured is found, and what must not be is named for what it is."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scores
from vlm_contract.codec import Absent, write_record
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import sha256_of
from vlm_contract.manifest import ArtifactManifest, Engine, FileEntry
from vlm_contract.workspace import Workspace
from vlm_profile import subjects
from vlm_profile.subjects import Trust, exported_from, located, subject_at, subjects_of

ABSENT = Absent("not in this test")
NO_ENGINE = b"bytes in place of an engine"
BUILT_HERE = Engine("tensorrt", "python", "a GPU", 1, 1, ABSENT, ABSENT, (1.0,), ABSENT, ABSENT, 0)


def model_bytes(name: str = "g", **changes: object) -> bytes:
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 4]) for each in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], name, [x], [y], **changes)
    return bytes(helper.make_model(graph).SerializeToString())


def weights_outside() -> TensorProto:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="data.bin")
    return tensor


def artifact(workspace: Workspace, name: str, content: bytes = b"", **changes: object) -> Path:
    """An artifact's folder in the workspace, with model.onnx or model.engine in it."""
    folder = workspace.artifact(name)
    folder.mkdir(parents=True)
    model = folder / ("model.engine" if changes.get("format") == "trt" else "model.onnx")
    model.write_bytes(content or model_bytes(name))
    manifest = ArtifactManifest(
        artifact=name,
        run="run",
        checkpoint_sha256="0" * 64,
        backbone="resnet50",
        format="onnx",
        precision="fp16",
        opset=ABSENT,
        runtime=ABSENT,
        compute_capability=ABSENT,
        preprocess="outside",
        inputs=(),
        outputs=(),
        batch_min=1,
        batch_max=ABSENT,
        files=(FileEntry(model.name, model.stat().st_size, sha256_of(model)),),
        parameters=1,
        macs=ABSENT,
        flops=ABSENT,
        parity=(),
        device_parity=ABSENT,
        range_scan=ABSENT,
        quantisation=ABSENT,
        engine=ABSENT,
        accuracy=ABSENT,
        refused=(),
        options={},
        build_s=1.0,
        not_reproducible=(),
        versions={},
        made_utc="2026-01-01T00:00:00+00:00",
    )
    write_record(replace(manifest, **changes), folder / "manifest.json")  # type: ignore[arg-type]
    return folder


def engine(workspace: Workspace, name: str = "an-engine", **changes: object) -> Path:
    return artifact(workspace, name, NO_ENGINE, **{"format": "trt", "engine": BUILT_HERE, **changes})


def run(workspace: Workspace, name: str) -> Path:
    """A finished run's folder, with bytes in place of its weights."""
    folder = workspace.run(name)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"bytes in place of weights")
    card = CheckpointCard(
        run=name,
        backbone=Backbone("resnet9", "stock", {}, ("0", "1"), 32, 3, (0.5,), (0.5,), 1, ABSENT),
        start="",
        data=Data("digits", "digits", "d" * 64, "e" * 64, 4, 2, 2, "", 0, "", 0, 0),
        recipe="scratch",
        hyperparameters={},
        precision="FP32",
        best=Scores(1, 2, 50.0, 1.0, 50.0, 1.0),
        last=Scores(1, 2, 50.0, 1.0, 50.0, 1.0),
        test_accuracy_percent=ABSENT,
        effort=Effort(1.0, 1.0, 1.0, 1.0, ABSENT, ABSENT, ABSENT),
        weights_sha256=sha256_of(folder / "model.safetensors"),
        device="",
        versions={},
        finished_utc="2026-01-01T00:00:00+00:00",
    )
    write_record(card, folder / "checkpoint.json")
    return folder


@pytest.fixture
def the_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says which GPU this machine has, in place of the driver."""
    return lambda name: monkeypatch.setattr(subjects, "gpu_here", lambda: name)


# Artifacts


def test_every_artifact_that_no_check_refused_is_measured_and_no_run(workspace: Workspace) -> None:
    artifact(workspace, "good")
    artifact(workspace, "bad", refused=("parity",))
    run(workspace, "a-run")
    assert [subject.used.name for subject in subjects_of(workspace, [])] == ["good"]


def test_an_artifact_is_found_by_its_folder_by_its_file_and_by_its_name(workspace: Workspace) -> None:
    folder = artifact(workspace, "good")
    assert subject_at(folder) == subject_at(folder / "model.onnx")
    assert (subject_at(folder).used.precision, subject_at(folder).used.format) == ("fp16", "onnx")
    assert len(subjects_of(workspace, [folder, folder / "model.onnx", Path("good")])) == 1


def test_a_path_that_exists_comes_before_a_name_in_the_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact(workspace, "good")
    monkeypatch.chdir(tmp_path)
    assert located(workspace, Path("good")) == workspace.artifact("good")
    (tmp_path / "good").mkdir()
    assert located(workspace, Path("good")) == Path("good")
    assert located(workspace, Path("no/good")) == Path("no/good")


def test_a_refused_artifact_is_not_measured_even_when_named(workspace: Workspace) -> None:
    with pytest.raises(VlmError, match="refused by its export: parity differs"):
        subject_at(artifact(workspace, "bad", refused=("parity differs",)))


def test_a_file_changed_after_its_export_is_not_measured(workspace: Workspace) -> None:
    folder = artifact(workspace, "good")
    (folder / "model.onnx").write_bytes(model_bytes("another"))
    with pytest.raises(VlmError, match="not the file that its manifest describes"):
        subject_at(folder)


def test_weights_beside_an_artifact_must_stand_in_its_manifest(workspace: Workspace) -> None:
    folder = artifact(workspace, "good", model_bytes(initializer=[weights_outside()]))
    (folder / "data.bin").write_bytes(bytes(16))
    with pytest.raises(VlmError, match=r"data\.bin is not a file that the manifest beside it describes"):
        subject_at(folder)


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/hostname", "", None])
def test_a_manifest_that_names_no_file_beside_it_is_refused(workspace: Workspace, name: str | None) -> None:
    files = () if name is None else (FileEntry(name, 1, "0" * 64),)
    with pytest.raises(VlmError, match="expected names of files beside it"):
        subject_at(artifact(workspace, "good", files=files))


def test_an_empty_workspace_says_what_to_do(workspace: Workspace) -> None:
    workspace.root.mkdir()
    with pytest.raises(VlmError, match="holds no artifact") as caught:
        subjects_of(workspace, [])
    assert "vlm-export" in caught.value.hint


# Files made elsewhere


def test_a_foreign_file_is_named_by_itself_and_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "any.onnx").write_bytes(model_bytes(folder))
    one, other = (subject_at(tmp_path / folder / "any.onnx") for folder in ("a", "b"))
    assert one.used.name == other.used.name == "any.onnx"
    assert one.label != other.label
    assert one.used.sha256 == sha256_of(tmp_path / "a" / "any.onnx")


def test_weights_beside_a_foreign_file_make_it_another_model(tmp_path: Path) -> None:
    (tmp_path / "any.onnx").write_bytes(model_bytes(initializer=[weights_outside()]))
    found = []
    for number in (1, 2):
        (tmp_path / "data.bin").write_bytes(bytes([0, 0, number, 0]) * 4)
        found.append(subject_at(tmp_path / "any.onnx").used)
    assert found[0].sha256 != found[1].sha256
    assert found[0].bytes == (tmp_path / "any.onnx").stat().st_size + 16


def test_a_file_beside_a_manifest_that_does_not_speak_of_it_is_foreign(workspace: Workspace) -> None:
    folder = artifact(workspace, "good")
    (folder / "other.onnx").write_bytes(model_bytes())
    assert subject_at(folder / "other.onnx").used.precision == "as is"


def test_a_loop_is_passed_on(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 4]) for each in "xy")
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "body", [x], [y])
    graph = helper.make_graph([helper.make_node("Loop", ["", "", "x"], ["y"], body=body)], "g", [x], [y])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert subject_at(tmp_path / "m.onnx").may_not_end


def test_nan_in_weights_is_what_a_check_refuses(tmp_path: Path) -> None:
    nan = numpy_helper.from_array(numpy.full(4, numpy.nan, numpy.float32), "w")
    (tmp_path / "m.onnx").write_bytes(model_bytes(initializer=[nan]))
    with pytest.raises(CheckFailed) as caught:
        subject_at(tmp_path / "m.onnx")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", ["m.onnx", "m.engine"])
def test_a_pipe_is_refused_and_not_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(VlmError, match="a named pipe"):
        subject_at(tmp_path / name)


@pytest.mark.parametrize("path", [Path("no-such-file.onnx"), Path("m" * 300), Path("/dev/null/m.onnx")])
def test_a_path_that_cannot_be_is_one_sentence(workspace: Workspace, path: Path) -> None:
    with pytest.raises(VlmError, match="cannot be read"):
        subjects_of(workspace, [path])


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="expected an artifact's folder, a run's, or a model file"):
        subject_at(tmp_path)


# Runs


@pytest.mark.parametrize("part", ["", "artifacts", "runs"])
def test_a_workspace_in_the_place_of_an_artifact_is_named_with_what_it_holds(workspace: Workspace, part: str) -> None:
    artifact(workspace, "a.onnx-fp32")
    artifact(workspace, "b.onnx-fp32")
    run(workspace, "a-run")
    with pytest.raises(VlmError, match=r"a workspace, and no model\. It holds a.onnx-fp32, b.onnx-fp32, a") as caught:
        subject_at(workspace.root / part)
    assert caught.value.hint == f"--artifact a.onnx-fp32 --workspace {workspace.root}"


def test_of_many_artifacts_the_first_are_named(workspace: Workspace) -> None:
    for letter in "abcdefg":
        artifact(workspace, letter)
    with pytest.raises(VlmError, match="It holds a, b, c, d, e and 2 more;"):
        subject_at(workspace.root)


def test_the_artifacts_of_a_run_are_those_that_a_runtime_takes(workspace: Workspace) -> None:
    subject = subject_at(run(workspace, "run"))
    artifact(workspace, "run.onnx-fp32")
    artifact(workspace, "run.onnx-fp16", refused=("parity",))
    artifact(workspace, "other.onnx-fp32", run="other")
    engine(workspace, "run.trt-fp16")
    assert exported_from(subject, ("onnx",)) == ("run.onnx-fp32",)
    assert exported_from(subject, ("engine",)) == ("run.trt-fp16",)
    assert exported_from(subject_at(workspace.artifact("run.onnx-fp32")), ("onnx",)) == ()


def test_the_network_of_a_run_is_found_by_folder_weights_and_name(workspace: Workspace) -> None:
    folder = run(workspace, "a-run")
    (subject,) = subjects_of(workspace, [folder, folder / "model.safetensors", Path("a-run")])
    assert (subject.path, subject.label) == (folder, "a-run")
    assert (subject.used.name, subject.used.file) == ("a-run", "model.safetensors")
    assert (subject.used.format, subject.used.precision) == ("checkpoint", "fp32")
    assert subject.used.sha256 == sha256_of(folder / "model.safetensors")


def test_weights_that_are_not_those_of_the_card_are_not_measured(workspace: Workspace) -> None:
    folder = run(workspace, "a-run")
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(VlmError, match="not the file that its card describes"):
        subject_at(folder)


# Engines: native code


def test_an_engine_built_in_this_workspace_for_this_gpu_may_be_loaded(
    workspace: Workspace, the_gpu: Callable[[str], None]
) -> None:
    the_gpu("a GPU")
    folder = engine(workspace)
    assert [subject.used.format for subject in subjects_of(workspace, [])] == ["engine"]
    assert subjects_of(workspace, [folder]) == subjects_of(workspace, [folder / "model.engine"])


@pytest.mark.parametrize("here", ["another GPU", ""])
def test_an_engine_for_another_gpu_is_refused_when_named_and_else_passed_over(
    workspace: Workspace, the_gpu: Callable[[str], None], here: str
) -> None:
    the_gpu(here)
    folder = engine(workspace)
    artifact(workspace, "good")
    assert [subject.used.format for subject in subjects_of(workspace, [])] == ["foreign engine", "onnx"]
    with pytest.raises(VlmError, match=f"native code, and it was built for a GPU; here is {here or 'no GPU'}"):
        subjects_of(workspace, [folder])


@pytest.mark.parametrize(
    "engine_record", [ABSENT, replace(BUILT_HERE, flavor="rtx"), replace(BUILT_HERE, device=ABSENT)]
)
def test_an_engine_of_another_kind_is_not_loaded(
    workspace: Workspace, the_gpu: Callable[[str], None], engine_record: Engine | Absent
) -> None:
    the_gpu("a GPU")
    with pytest.raises(VlmError, match="names no GPU of this kind of TensorRT"):
        subjects_of(workspace, [engine(workspace, engine=engine_record)])


@pytest.mark.parametrize("name", ["an-engine", "../../brought/artifacts/an-engine"])
def test_an_engine_that_brought_its_own_manifest_is_not_loaded(
    workspace: Workspace, tmp_path: Path, the_gpu: Callable[[str], None], name: str
) -> None:
    the_gpu("a GPU")
    brought = engine(Workspace(tmp_path / "brought"), artifact=name)
    with pytest.raises(VlmError, match="does not stand in the workspace that it was built in"):
        subjects_of(workspace, [brought])
    workspace.artifact("").mkdir(parents=True)
    workspace.artifact("an-engine").symlink_to(brought)
    assert [subject.used.format for subject in subjects_of(workspace, [])] == ["foreign engine"]
    with pytest.raises(VlmError, match="does not stand in the workspace"):
        subject_at(brought)


def test_an_engine_changed_after_it_was_built_is_not_loaded(
    workspace: Workspace, the_gpu: Callable[[str], None]
) -> None:
    the_gpu("a GPU")
    (engine(workspace) / "model.engine").write_bytes(b"other code")
    with pytest.raises(VlmError, match="not the file that its manifest describes"):
        subjects_of(workspace, [])


def test_an_engine_whose_sha256_was_named_may_be_loaded(
    workspace: Workspace, tmp_path: Path, the_gpu: Callable[[str], None]
) -> None:
    the_gpu("")
    path = tmp_path / "any.plan"
    path.write_bytes(NO_ENGINE)
    digest = sha256_of(path)
    with pytest.raises(VlmError, match="native code") as caught:
        subject_at(path, Trust(workspace))
    assert f"--trust-file {digest}" in caught.value.hint
    assert subject_at(path, Trust(workspace, [digest])).used.format == "engine"
    engine(workspace)
    assert [subject.used.format for subject in subjects_of(workspace, [], Trust(workspace, [digest]))] == ["engine"]


def test_the_nearest_artifact_is_named_where_there_is_none_of_that_name(workspace: Workspace) -> None:
    workspace.artifact("resnet50-digits.onnx-fp32").mkdir(parents=True)
    with pytest.raises(VlmError, match="did you mean resnet50-digits") as error:
        subjects.subjects_of(workspace, [Path("resnet50-digit.onnx-fp32")])
    assert error.value.hint == "--artifact resnet50-digits.onnx-fp32"


def test_a_workspace_that_is_not_there_is_not_called_empty(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="does not exist"):
        subjects.subjects_of(Workspace(tmp_path / "nowhere"), [])
