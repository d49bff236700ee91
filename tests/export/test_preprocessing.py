"""Images prepared in the graph and outside it: Pillow is the oracle, ONNX Runtime runs the graph."""

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_export.preprocessing import embed_preprocessing, preprocessed, probabilities_and_labels

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[Any]]

CLASSES = 7
SIZES = ((32, 32), (64, 64), (105, 105), (16, 16), (10, 32), (32, 39), (39, 32), (96, 161), (1, 1), (300, 7))


def backbone_of(size: int = 32, channels: int = 3) -> Backbone:
    """Unlike by channel, so that a swap shows."""
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    return Backbone("linear", "stock", {}, tuple("abcdefg"), size, channels, mean, std, 0, 0)


def linear_model(backbone: Backbone, opset: int = 18, batch: int | str = "batch", half: bool = False) -> Any:
    """A stand-in for a network: one product of all pixels with seeded weights."""
    size, channels = backbone.image_size, backbone.channels
    inside = np.float16 if half else np.float32
    weights = np.random.RandomState(3).randn(channels * size * size, CLASSES).astype(inside) / size
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=helper.np_dtype_to_tensor_dtype(np.dtype(inside))),
        helper.make_node("Flatten", ["cast"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Cast", ["product"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, channels, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, {"backbone": "linear"})
    return model


def run(model: Any, feeds: Outputs, *more: str) -> Outputs:
    """All outputs, and the values inside the graph that are named."""
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in more)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def pictures(height: int, width: int, channels: int = 3) -> Pixels:
    """A smooth picture, and noise: [2, h, w, c]."""
    random = np.random.RandomState(height * 1000 + width)
    coarse = Image.fromarray(random.randint(0, 256, (5, 5, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    noise = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
    return np.stack([smooth, noise])[..., :channels]


def levels_between(found: npt.NDArray[Any], expected: npt.NDArray[Any], backbone: Backbone) -> npt.NDArray[Any]:
    """Differences of normalised images in levels of 255."""
    return np.asarray(np.abs(found - expected) * 255 * np.reshape(backbone.std, (-1, 1, 1)))


@pytest.mark.parametrize("channels", [3, 1])
def test_images_that_fit_reach_the_model_exactly_as_from_outside(channels: int) -> None:
    backbone = backbone_of(channels=channels)
    pixels = pictures(32, 32, channels)
    found = run(embed_preprocessing(linear_model(backbone), backbone), {"pixels": pixels}, "images")
    assert np.array_equal(found["images"], preprocessed(pixels, backbone))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", SIZES)
def test_other_images_reach_the_model_within_one_level_of_a_few_pixels(size: tuple[int, int], channels: int) -> None:
    backbone = backbone_of(channels=channels)
    pixels = pictures(*size, channels)
    found = run(embed_preprocessing(linear_model(backbone), backbone), {"pixels": pixels}, "images")
    levels = levels_between(found["images"], preprocessed(pixels, backbone), backbone)
    assert levels.max() < 1.01
    assert np.mean(levels > 0.5) < 0.2  # a side of 96 is 3 × 32: many means of ninths and halves lie midway


@pytest.mark.parametrize("size", SIZES)
def test_images_are_prepared_as_those_of_a_folder_are_for_training(size: tuple[int, int]) -> None:
    from vlm_train.data import normalised
    from vlm_train.sources._decoder import decoded

    backbone, file = backbone_of(), io.BytesIO()
    (picture, _) = pictures(*size)
    Image.fromarray(picture).save(file, "PNG")
    expected = normalised(decoded(file.getvalue(), 32)[None], backbone.mean, backbone.std)
    assert np.array_equal(preprocessed(picture[None], backbone), expected)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (105, 105)])
def test_probabilities_and_labels_are_those_of_the_same_steps_outside(size: tuple[int, int], half: bool) -> None:
    backbone = backbone_of()
    model, pixels = linear_model(backbone, half=half), pictures(*size)
    found = run(embed_preprocessing(model, backbone), {"pixels": pixels})
    logits = run(model, {"images": preprocessed(pixels, backbone)})["logits"]
    probabilities, labels = probabilities_and_labels(logits)
    assert list(found) == ["probabilities", "labels"]
    assert (found["probabilities"].dtype, found["labels"].dtype) == (np.float32, np.int64)
    assert np.abs(found["probabilities"] - probabilities).max() < (1e-6 if size == (32, 32) else 0.01)
    assert np.array_equal(found["labels"], labels)
    assert found["probabilities"].sum(axis=1) == pytest.approx(1)


def test_one_graph_takes_images_of_any_size_and_number() -> None:
    import onnxruntime

    backbone = backbone_of()
    model = embed_preprocessing(linear_model(backbone), backbone).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for count, size in ((1, (32, 32)), (3, (480, 640)), (2, (5, 9))):
        pixels = np.resize(pictures(*size), (count, *size, 3))
        assert session.run(["labels"], {"pixels": pixels})[0].shape == (count,)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_the_whole_is_sound_in_every_opset(opset: int) -> None:
    backbone = backbone_of()
    model = embed_preprocessing(linear_model(backbone, opset), backbone)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert "Resize" not in {node.op_type for node in model.graph.node}
    pixels = pictures(64, 64)
    found = run(model, {"pixels": pixels}, "images")["images"]
    assert np.array_equal(found, preprocessed(pixels, backbone))


def test_older_operators_are_refused() -> None:
    with pytest.raises(VlmError, match="uses opset 12; preprocessing can be put into one of opset 13 or later"):
        embed_preprocessing(linear_model(backbone_of(), 12), backbone_of())


@pytest.mark.parametrize("batch", ["batch", 2])
def test_the_interface_says_what_to_give(batch: int | str) -> None:
    from vlm_export.graph import tensor_specs

    model = embed_preprocessing(linear_model(backbone_of(), batch=batch), backbone_of())
    (pixels,) = tensor_specs(model.graph.input)
    assert (pixels.name, pixels.shape, pixels.dtype) == ("pixels", (batch, "height", "width", 3), "uint8")
    outputs = [(spec.name, spec.shape, spec.dtype) for spec in tensor_specs(model.graph.output)]
    assert outputs == [("probabilities", (batch, CLASSES), "float32"), ("labels", (batch,), "int64")]


def test_the_given_graph_stays_as_it_was_and_its_metadata_go_along() -> None:
    model = linear_model(backbone_of())
    before = model.SerializeToString(deterministic=True)
    whole = embed_preprocessing(model, backbone_of())
    assert model.SerializeToString(deterministic=True) == before
    assert whole.metadata_props == model.metadata_props
    again = embed_preprocessing(model, backbone_of())
    assert again.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)


def test_a_large_logit_overflows_nowhere() -> None:
    probabilities, labels = probabilities_and_labels(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32))
    assert probabilities.tolist() == [[1, 0], [0, 1]]
    assert labels.tolist() == [0, 1]
