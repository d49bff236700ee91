"""What rounding costs a network, beside networks whose rounding can be worked out."""

from typing import Any

import numpy as np
import pytest

from vlm_contract.card import Backbone
from vlm_export.yardstick import logits_of, rounded_logits, truth

BACKBONE = Backbone("double", "stock", {}, ("a", "b"), 2, 1, (0.0,), (1.0,), 0, 0)
PIXELS = np.array([255, 51, 102, 0], np.uint8).reshape(1, 2, 2, 1)  # 1, 0.2, 0.4, 0


def network(*layers: Any) -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Flatten(), *layers).eval()


def linear(weights: list[list[float]]) -> Any:
    import torch

    layer = torch.nn.Linear(4, len(weights), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
    return layer


def test_the_truth_is_computed_in_fp64_and_the_module_stays_fp32() -> None:
    module = network(linear([[1.0, 1e-9, 0.0, 0.0]]))
    assert truth(module, BACKBONE, PIXELS)[0, 0] == pytest.approx(1 + 0.2e-9, abs=1e-11)
    assert logits_of(module, BACKBONE, PIXELS)[0, 0] == 1
    assert next(module.parameters()).dtype.itemsize == 4


def test_fp16_rounds_weights_inputs_and_every_result() -> None:
    module = network(linear([[1.0, 0.1, 0.0, 0.0]]))
    exact = np.float16(0.1).astype(np.float32) * np.float16(0.2).astype(np.float32) + 1
    assert rounded_logits(module, BACKBONE, PIXELS, "fp16")[0, 0] in (np.float16(exact), np.float16(1.02))
    assert logits_of(module, BACKBONE, PIXELS)[0, 0] == pytest.approx(1.02, abs=1e-6)


def test_what_lies_beyond_fp16_is_left_as_it_is_for_the_graph_keeps_it_in_fp32() -> None:
    module = network(linear([[70000.0, 0.1, 0.0, 0.0]]))
    assert rounded_logits(module, BACKBONE, PIXELS, "fp16")[0, 0] == pytest.approx(70000.02, abs=0.01)


def test_int8_rounds_both_operands_and_scales_weights_by_output_channel() -> None:
    module = network(linear([[127.0, 0.4, 0.0, 0.0], [0.0, 1.27, 0.0, 0.0]]))
    found = rounded_logits(module, BACKBONE, PIXELS, "int8")[0]
    steps = np.round(0.2 * 127) / 127  # of the second pixel, at a scale of 1/127
    assert found == pytest.approx([127, 1.27 * steps], rel=1e-6)  # 0.4 is under half a step of its channel


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_module_is_left_as_it_was(precision: str) -> None:
    module = network(linear([[0.1, 0.2, 0.3, 0.4]]))
    before = [parameter.clone() for parameter in module.parameters()]
    rounded_logits(module, BACKBONE, PIXELS, precision)
    assert all((a == b).all() for a, b in zip(before, module.parameters(), strict=True))


def test_operators_that_work_in_place_and_views_are_rounded_once() -> None:
    import torch

    module = network(linear([[0.1, 0.2, 0.3, 0.4]] * 4), torch.nn.ReLU(inplace=True), torch.nn.Unflatten(1, (2, 2)))
    found = rounded_logits(module, BACKBONE, PIXELS, "fp16")
    assert (found == found.astype(np.float16)).all()


def test_attention_is_taken_apart() -> None:
    import torch

    class Attention(torch.nn.Module):
        """Its scores, some 2000, are rounded to whole numbers in FP16; computed as one operator they would not be."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            queries = images.reshape(1, 1, 2, 2) * 45
            return torch.nn.functional.scaled_dot_product_attention(queries, queries, images.reshape(1, 1, 2, 2))

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), Attention(), torch.nn.Flatten()).eval()
    with torch.no_grad():
        module[0].weight.fill_(1)
        module[0].bias.zero_()
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: set[str] = set()

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():  # type: ignore[no-untyped-call]
        rounded_logits(module, BACKBONE, PIXELS, "fp16")
    assert "aten.bmm.default" in seen
    assert not any("scaled_dot_product" in name for name in seen)
