"""What vlm-export writes, beside torch as the oracle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import read_record
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Accuracy, ArtifactManifest, Quantisation, RangeScan
from vlm_contract.workspace import Workspace
from vlm_export import Wanted, export_checkpoint

RUN = "tiny-digits-200-s0"
PRECISIONS = ("fp32", "fp16")


def model_file(root: Path, precision: str, suffix: str = "") -> Path:
    return Workspace(root).artifact(f"{RUN}.onnx-{precision}{suffix}") / "model.onnx"


def manifest_in(root: Path, precision: str, suffix: str = "") -> ArtifactManifest:
    return read_record(ArtifactManifest, model_file(root, precision, suffix).with_name("manifest.json"))


def outputs_of(file: Path, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def torch_outputs(root: Path, images: Any) -> Any:
    import torch

    from vlm_export.checkpoint import checkpoint_from_path

    with torch.inference_mode():
        return checkpoint_from_path(Path(RUN), Workspace(root)).module()(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("batch", [1, 2, 5, 33])
@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_an_artifact_answers_like_torch_at_every_batch(done: Path, precision: str, share: float, batch: int) -> None:
    images = np.random.default_rng(1).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    expected = torch_outputs(done, images)
    found = outputs_of(model_file(done, precision), images)
    assert np.abs(found - expected).max() < share * np.sqrt(np.mean(expected**2))


def test_fp16_weights_are_fp16_and_inputs_and_outputs_stay_fp32(done: Path) -> None:
    import onnx

    model = onnx.load(model_file(done, "fp16"))
    stored = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    assert stored == {onnx.TensorProto.FLOAT16}
    for spec in manifest_in(done, "fp16").inputs + manifest_in(done, "fp16").outputs:
        assert spec.dtype == "float32"
    assert manifest_in(done, "fp16").files[0].bytes < 0.6 * manifest_in(done, "fp32").files[0].bytes


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_manifest_holds_the_proof(done: Path, precision: str) -> None:
    import onnx

    manifest = manifest_in(done, precision)
    assert [(spec.name, spec.shape) for spec in manifest.inputs] == [("images", ("batch", 3, 32, 32))]
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [("logits", ("batch", 10))]
    assert manifest.opset == onnx.load(model_file(done, precision)).opset_import[0].version == 18
    assert [parity.origin.split(",")[0] for parity in manifest.parity] == [
        "validation images",
        "validation images",
        "random input",
    ]
    assert all(parity.passed and 0 < parity.max_abs_difference < parity.tolerance for parity in manifest.parity)
    assert manifest.refused == ()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_accuracy_is_that_of_the_whole_validation_set(done: Path, precision: str) -> None:
    from vlm_train.data import normalised, open_data

    _, splits = open_data("digits", 200, 0)
    images = normalised(splits.validation.pixels, (0.2, 0.3, 0.4), (0.3, 0.35, 0.4))
    accuracy = manifest_in(done, precision).accuracy
    assert isinstance(accuracy, Accuracy)
    assert accuracy.samples == len(splits.validation)
    for percent, logits in (
        (accuracy.artifact_percent, outputs_of(model_file(done, precision), images)),
        (accuracy.checkpoint_percent, torch_outputs(done, images)),
    ):
        assert percent == pytest.approx(100 * np.mean(logits.argmax(axis=1) == splits.validation.labels))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_alone_says_how_to_use_it(done: Path, precision: str) -> None:
    import onnx

    metadata = {entry.key: entry.value for entry in onnx.load(model_file(done, precision)).metadata_props}
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert json.loads(metadata["mean"]) == [0.2, 0.3, 0.4]
    assert json.loads(metadata["std"]) == [0.3, 0.35, 0.4]
    assert (metadata["image_size"], metadata["channels"], metadata["precision"]) == ("32", "3", precision)
    assert (metadata["run"], metadata["backbone"]) == (RUN, "test_resnet")
    assert metadata["checkpoint_sha256"] == manifest_in(done, precision).checkpoint_sha256


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_file_carries_no_path_and_no_stack_trace(done: Path, precision: str) -> None:
    import sys

    import timm

    content = model_file(done, precision).read_bytes()
    for word in (sys.prefix, str(Path(timm.__file__).parent), str(Path.home()), "stack_trace", "site-packages", ".py"):
        assert word.encode() not in content


def test_a_second_export_writes_the_same_bytes(done: Path, fresh: Path) -> None:
    export_checkpoint(Path(RUN), Workspace(fresh))
    for precision in PRECISIONS:
        assert model_file(fresh, precision).read_bytes() == model_file(done, precision).read_bytes()


@pytest.mark.parametrize("model", ["test_vit", "test_efficientnet", "test_convnext2"])
def test_other_families_pass_in_both_precisions(model: str, run_maker: Any, tmp_path: Path) -> None:
    for exported in export_checkpoint(run_maker(tmp_path, model, "other-digits-200-s0"), Workspace(tmp_path)):
        assert exported.manifest.refused == ()


def test_a_layer_beyond_fp16_stays_fp32_and_the_artifact_passes(fresh: Path) -> None:
    """The second stem's normalisation gives 10^5 times as much, the convolution after it takes as much less."""
    from safetensors.torch import load_file, save_file

    from vlm_contract.files import sha256_of

    weights, card = (fresh / "runs" / RUN / name for name in ("model.safetensors", "checkpoint.json"))
    state, before = load_file(weights), sha256_of(weights)
    for name, factor in (("conv1.4.weight", 1e5), ("conv1.4.bias", 1e5), ("conv1.6.weight", 1e-5)):
        state[name] *= factor
    save_file(state, weights)
    card.write_text(card.read_text().replace(before, sha256_of(weights)))
    (exported,) = export_checkpoint(Path(RUN), Workspace(fresh), Wanted(("fp16",)))
    assert exported.manifest.refused == ()
    scan = exported.manifest.range_scan
    assert isinstance(scan, RangeScan)
    assert "conv1.3/Conv" in [layer.layer for layer in scan.overflowing]
    assert {"conv1.3/Conv", "conv1.6/Conv"} <= set(scan.kept_fp32)


def test_what_cannot_be_made_does_not_hide_what_was(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlm_export import half

    def fail(*_: Any) -> Any:
        raise CheckFailed("a double that fails")

    monkeypatch.setattr(half, "range_scan", fail)
    placed: list[Any] = []
    with pytest.raises(CheckFailed, match=rf"{RUN}.onnx-fp16 was not made: a double that fails"):
        export_checkpoint(Path(RUN), Workspace(fresh), Wanted(("fp16", "fp32")), placed=placed.append)
    assert [exported.manifest.precision for exported in placed] == ["fp32"]


# Mutations: each wrong model must be refused, and by its outputs.


def scale_a_weight(model: Any) -> None:
    from onnx import numpy_helper

    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.05), weight.name))


def flip_a_sign(model: Any) -> None:
    from onnx import numpy_helper

    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.dims))
    values = numpy_helper.to_array(weight).copy()
    values[0] = -values[0]
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def drop_a_layer(model: Any) -> None:
    """Whatever read the last activation reads what went into it instead."""
    relu = [node for node in model.graph.node if node.op_type == "Relu"][-1]
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == relu.output[0]:
                node.input[i] = relu.input[0]
    model.graph.node.remove(relu)


def fix_the_batch(model: Any) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def make_infinite(model: Any) -> None:
    from onnx import numpy_helper

    weight = model.graph.initializer[0]
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] = np.inf
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def use_another_opset(model: Any) -> None:
    model.opset_import[0].version = 17


def mutate_the_trace(monkeypatch: pytest.MonkeyPatch, done: Path, mutate: Any) -> None:
    """Let the exporter come out with a model that `mutate` has changed."""
    import onnx

    from vlm_export import drafts

    model = onnx.load(model_file(done, "fp32"))
    mutate(model)
    monkeypatch.setattr(drafts, "onnx_from_module", lambda *_: model)


@pytest.mark.parametrize("precision", [*PRECISIONS, "int8"])
@pytest.mark.parametrize("mutate", [scale_a_weight, flip_a_sign, drop_a_layer])
def test_a_wrong_model_is_refused_and_kept_aside(
    mutate: Any, precision: str, done: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate_the_trace(monkeypatch, done, mutate)
    (exported,) = export_checkpoint(Path(RUN), Workspace(fresh), Wanted((precision,)))
    assert any("over the tolerance" in sentence for sentence in exported.manifest.refused)
    assert exported.folder == model_file(fresh, precision, ".refused").parent
    assert manifest_in(fresh, precision, ".refused") == exported.manifest
    assert not model_file(fresh, precision).exists()


BROKEN = [
    (fix_the_batch, "takes batch 2, asked for any"),
    (make_infinite, "NaN or infinity"),
    (use_another_opset, "ONNX Runtime cannot open"),
]


@pytest.mark.parametrize(("mutate", "reason"), BROKEN)
def test_a_broken_model_is_refused_with_the_reason(
    mutate: Any, reason: str, done: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate_the_trace(monkeypatch, done, mutate)
    (exported,) = export_checkpoint(Path(RUN), Workspace(fresh), Wanted(("fp32",)))
    assert any(reason in sentence for sentence in exported.manifest.refused)


@pytest.mark.parametrize("mutate", [mutate for mutate, _ in BROKEN])
def test_a_broken_model_is_not_made_fp16(mutate: Any, done: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate_the_trace(monkeypatch, done, mutate)
    with pytest.raises(CheckFailed):
        export_checkpoint(Path(RUN), Workspace(fresh), Wanted(("fp16",)))
    assert not list(fresh.glob("artifacts/*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_weight_tensor_off_by_5_percent_is_refused(
    precision: str, done: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import numpy_helper

    names = [t.name for t in onnx.load(model_file(done, "fp32")).graph.initializer if len(t.dims) > 1]
    for name in names:

        def scale(model: Any, name: str = name) -> None:
            (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.05), name))

        with monkeypatch.context() as patch:
            mutate_the_trace(patch, done, scale)
            (exported,) = export_checkpoint(Path(RUN), Workspace(fresh), Wanted((precision,)))
        assert exported.manifest.refused, name
        (exported.folder / "model.onnx").unlink()  # or the refusal is kept


def test_a_swapped_normalisation_is_refused(done: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlm_export import graph

    describe = graph.describe

    def swap(model: Any, *rest: Any) -> None:
        describe(model, *rest)
        for entry in model.metadata_props:
            entry.key = {"mean": "std", "std": "mean"}.get(entry.key, entry.key)

    mutate_the_trace(monkeypatch, done, lambda model: None)
    monkeypatch.setattr(graph, "describe", swap)
    (exported,) = export_checkpoint(Path(RUN), Workspace(fresh), Wanted(("fp32",)))
    assert "over the tolerance" in exported.manifest.refused[0]


def test_a_refused_artifact_takes_the_place_of_an_accepted_one_and_back(
    done: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = exported / "runs" / RUN / "checkpoint.json"
    card.write_text(card.read_text() + "\n")  # another recipe
    with monkeypatch.context() as patch:
        mutate_the_trace(patch, done, flip_a_sign)
        export_checkpoint(Path(RUN), Workspace(exported), Wanted(("fp32",)))
    assert not model_file(exported, "fp32").exists()
    model_file(exported, "fp32", ".refused").unlink()  # or the refusal is kept
    mutate_the_trace(monkeypatch, done, lambda model: None)
    export_checkpoint(Path(RUN), Workspace(exported), Wanted(("fp32",)))
    assert model_file(exported, "fp32").exists()
    assert not model_file(exported, "fp32", ".refused").parent.exists()


@pytest.mark.slow
def test_a_batch_larger_than_the_images_at_hand_is_scanned_and_calibrated_with_repeated_ones(fresh: Path) -> None:
    wanted = Wanted(("fp16", "int8"), batches=(32,))
    half, int8 = (exported.manifest for exported in export_checkpoint(Path(RUN), Workspace(fresh), wanted))
    assert half.refused == int8.refused == ()
    assert isinstance(half.range_scan, RangeScan) and isinstance(int8.quantisation, Quantisation)
    assert (half.range_scan.images, int8.quantisation.images) == (20, 160)
    assert half.range_scan.largest[0].max_abs > 0


def test_a_network_that_torch_cannot_export_says_so() -> None:
    import torch

    from vlm_contract.card import Backbone
    from vlm_export.export import silenced
    from vlm_export.graph import onnx_from_module

    class DependsOnValues(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum() > 0 else 2 * images

    backbone = Backbone("depends", "stock", {}, ("a",), 4, 3, (0.5,) * 3, (0.5,) * 3, 0, 0)
    with pytest.raises(CheckFailed, match="torch cannot export depends to ONNX: "), silenced():
        onnx_from_module(DependsOnValues().eval(), backbone, 18)
