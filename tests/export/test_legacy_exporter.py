"""Graphs of torch's older exporter, beside the module that they are from."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed
from vlm_contract.workspace import Workspace
from vlm_export.checkpoint import Checkpoint, checkpoint_from_path
from vlm_export.export import silenced
from vlm_export.graph import check_graph, opset_of, tensor_specs
from vlm_export.legacy_exporter import attention_in_steps, onnx_by_legacy_exporter, sizes_as_numbers

MODELS = ("test_resnet", "test_vit", "test_convnext2")
OPSETS = (13, 16)
each_graph = pytest.mark.parametrize(("model", "opset"), [(model, opset) for model in MODELS for opset in OPSETS])


@pytest.fixture(scope="module")
def checkpoints(run_maker: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """One of each model, with weights that were moved."""
    root = tmp_path_factory.mktemp("legacy")
    return {model: checkpoint_from_path(run_maker(root, model, model), Workspace(root)) for model in MODELS}


@pytest.fixture(scope="module")
def graph_of(checkpoints: dict[str, Checkpoint]) -> Callable[[str, int], Any]:
    """The graph of a model in an opset, with a dynamic batch; made once. Do not change it."""
    made: dict[tuple[str, int], Any] = {}

    def graph(model: str, opset: int) -> Any:
        if (model, opset) not in made:
            made[model, opset] = exported(checkpoints[model], opset)
        return made[model, opset]

    return graph


def exported(checkpoint: Checkpoint, opset: int, batch: int | None = None) -> Any:
    with silenced():
        return onnx_by_legacy_exporter(checkpoint.module(), checkpoint.backbone, opset, batch)


def outputs_of(model: Any, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def truth_of(checkpoint: Checkpoint, images: Any) -> Any:
    """The checkpoint in FP64."""
    import torch

    with torch.no_grad():
        return copy.deepcopy(checkpoint.module()).double()(torch.from_numpy(images).double()).numpy()


def layers_of(model: Any) -> dict[str, str]:
    """The part of each node's name before its operator, by the whole name."""
    return {node.name: node.name.rpartition("/")[0] for node in model.graph.node}


@each_graph
def test_the_opset_is_the_one_that_was_asked_for(graph_of: Any, model: str, opset: int) -> None:
    graph = graph_of(model, opset)
    assert opset_of(graph) == opset
    assert [imported.domain for imported in graph.opset_import] == [""]
    assert check_graph(graph, None) == ()


@each_graph
@pytest.mark.parametrize("batch", [1, 3])
def test_it_answers_like_torch_in_fp64(
    graph_of: Any, checkpoints: dict[str, Checkpoint], model: str, opset: int, batch: int
) -> None:
    images = np.random.default_rng(1).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    truth = truth_of(checkpoints[model], images)
    found = outputs_of(graph_of(model, opset), images)
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < 1e-5 * np.sqrt(np.mean(truth**2))


@each_graph
def test_nodes_are_named_by_layers_of_the_module_and_no_two_alike(
    graph_of: Any, checkpoints: dict[str, Checkpoint], model: str, opset: int
) -> None:
    names = [node.name for node in graph_of(model, opset).graph.node]
    assert len(set(names)) == len(names)
    known = dict(checkpoints[model].module().named_modules())
    assert {layer for layer in layers_of(graph_of(model, opset)).values() if layer not in known} == set()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("test_resnet", "layer1.0.conv1/Conv"),
        ("test_vit", "blocks.0.attn.qkv/MatMul"),
        ("test_convnext2", "stages.0.blocks.0.conv_dw/Conv"),
    ],
)
def test_a_layer_with_weights_is_named_by_it(graph_of: Any, model: str, name: str) -> None:
    assert name in layers_of(graph_of(model, 13))


def test_layers_with_weights_have_the_names_that_the_newer_exporter_gives(graph_of: Any, done: Path) -> None:
    import onnx

    newer = onnx.load(done / "artifacts" / "tiny-digits-200-s0.onnx-fp32" / "model.onnx")
    names = [
        {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
        for model in (newer, graph_of("test_resnet", 13))
    ]
    assert names[0] == names[1]


@each_graph
def test_the_file_carries_no_path_and_no_stack_trace(graph_of: Any, model: str, opset: int) -> None:
    import timm

    content = graph_of(model, opset).SerializeToString()
    for word in (sys.prefix, str(Path(timm.__file__).parent), str(Path.home()), "site-packages", "vlm-onnx-", ".py"):
        assert word.encode() not in content


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_a_second_export_gives_the_same_bytes(graph_of: Any, checkpoints: dict[str, Checkpoint], model: str) -> None:
    first, second = graph_of(model, 13), exported(checkpoints[model], 13)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_a_fixed_batch_is_the_only_one_and_leaves_no_arithmetic_on_shapes(checkpoints: dict[str, Checkpoint]) -> None:
    graph = exported(checkpoints["test_vit"], 13, batch=4)
    assert [spec.shape for spec in tensor_specs([*graph.graph.input, *graph.graph.output])] == [(4, 3, 32, 32), (4, 10)]
    assert not {node.op_type for node in graph.graph.node} & {"Shape", "Expand", "ConstantOfShape"}


# What is changed while a network is traced, and must be as before


def tensor_is_as_before() -> bool:
    """Nothing of ours is on torch.Tensor: both names come from the class below it."""
    import torch

    tensor = torch.zeros(2, 3)
    return not {"shape", "size"} & set(vars(torch.Tensor)) and type(tensor.shape) is type(tensor.size()) is torch.Size


def test_a_tensors_sizes_are_as_before_after_an_export(checkpoints: dict[str, Checkpoint]) -> None:
    exported(checkpoints["test_resnet"], 13)
    assert tensor_is_as_before()


def test_a_tensors_sizes_read_the_same_while_a_network_is_traced() -> None:
    import torch

    tensor = torch.zeros(2, 3, 4)
    with sizes_as_numbers():
        assert (tensor.shape, tensor.size(), tensor.size(-1), tensor.size(dim=1)) == ((2, 3, 4), (2, 3, 4), 4, 3)
        assert torch.zeros(()).shape == ()
    assert tensor_is_as_before()


def failing(how: str) -> Any:
    """A module of one attention that cannot be exported."""
    import torch

    class Failing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fused_attn = True

        def forward(self, images: Any) -> Any:
            if how == "raises":
                raise ValueError("no images are good enough")
            return torch.fft.fft(images).real

    return Failing().eval()


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("has no operator", CheckFailed, "torch cannot export test_resnet to ONNX of opset 13: .*fft"),
        ("raises", ValueError, "good enough"),
    ],
)
def test_a_failed_export_leaves_everything_as_before(
    how: str, error: type[Exception], says: str, checkpoints: dict[str, Checkpoint]
) -> None:
    module = failing(how)
    with silenced(), pytest.raises(error, match=says):
        onnx_by_legacy_exporter(module, checkpoints["test_resnet"].backbone, 13)
    assert tensor_is_as_before()
    assert module.fused_attn is True


def test_attention_is_fused_again_where_it_was(checkpoints: dict[str, Checkpoint]) -> None:
    module = checkpoints["test_vit"].module()
    attentions = [each for each in module.modules() if hasattr(each, "fused_attn")]
    attentions[0].fused_attn = False
    before = [each.fused_attn for each in attentions]
    assert any(before)
    with attention_in_steps(module):
        assert not any(each.fused_attn for each in attentions)
    assert [each.fused_attn for each in attentions] == before
