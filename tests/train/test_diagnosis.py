"""Where a loss that is not finite comes from."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from vlm_train.diagnosis import first_nonfinite, what_to_try


class Root(nn.Module):
    """The square root of its input. Below zero it is NaN; at zero its gradient is infinite."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.sqrt()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs) / 0
        return outputs


def inputs_and_targets() -> tuple[Tensor, Tensor]:
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) + 1, torch.arange(6) % 4


def test_the_first_layer_that_breaks_is_named_with_its_class() -> None:
    module = nn.Sequential(nn.Identity(), Root(), nn.Linear(4, 4))
    inputs, targets = inputs_and_targets()
    inputs[0, :3] = -1
    assert first_nonfinite(module, inputs, targets) == "first in 1 (Root), whose output has 3 of 24 values not finite"


def test_what_breaks_between_layers_is_named_by_the_block_around_it() -> None:
    module = nn.Sequential(nn.Linear(4, 4), Block())
    found = first_nonfinite(module, *inputs_and_targets())
    assert found == "first in 1 (Block), whose output has 24 of 24 values not finite"


def test_what_breaks_in_no_layer_is_named_by_the_model() -> None:
    assert first_nonfinite(Block(), *inputs_and_targets()).startswith("first in Block, whose output has 24 of 24")


def test_a_layer_with_broken_weights_says_so() -> None:
    module = timm.create_model("test_resnet", num_classes=4)
    with torch.no_grad():
        module.layer2[0].conv1.weight[0, 0, 0, 0] = torch.nan
    found = first_nonfinite(module, torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    assert found.startswith("first in layer2.0.conv1 (Conv2d), whose output has ")
    assert found.endswith("; its weight has 1 of 13824 values not finite")


def test_a_parameter_that_no_output_shows_is_named() -> None:
    module = nn.Sequential(nn.Linear(4, 4))
    module.register_parameter("unused", nn.Parameter(torch.tensor([1.0, torch.inf])))
    found = first_nonfinite(module, *inputs_and_targets())
    assert found == "first in the parameter unused, which has 1 of 2 values not finite"


def test_a_gradient_that_is_not_finite_is_named_from_the_loss_backwards() -> None:
    zeros = nn.Linear(4, 4)
    for parameter in zeros.parameters():
        nn.init.zeros_(parameter)
    module = nn.Sequential(nn.Linear(4, 4), zeros, Root())
    found = first_nonfinite(module, *inputs_and_targets())
    assert found.startswith("first in the gradient of 1.bias, which has ")


def test_a_loss_of_finite_outputs_is_named_itself() -> None:
    class Certain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 4))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ self.weight + torch.tensor([3e38, -3e38, 0, 0])

    found = first_nonfinite(Certain(), inputs_and_targets()[0], torch.ones(6, dtype=torch.int64))
    assert found == "in the loss itself: the outputs are finite"


def test_a_batch_that_is_not_finite_is_named_before_any_layer() -> None:
    inputs, targets = inputs_and_targets()
    inputs[2, 1] = torch.inf
    assert first_nonfinite(nn.Linear(4, 4), inputs, targets) == (
        "first in the batch itself, which has 1 of 24 values not finite"
    )


def test_a_sound_step_is_not_accused() -> None:
    assert first_nonfinite(nn.Linear(4, 4), *inputs_and_targets()).startswith("a second pass over this batch gives")


def test_autocast_around_the_call_is_seen() -> None:
    class Near(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs / (inputs.dtype != torch.bfloat16)

    module, data = nn.Sequential(nn.Linear(4, 4), Near()), inputs_and_targets()
    with torch.autocast("cpu", torch.bfloat16):
        assert first_nonfinite(module, *data).startswith("first in 1 (Near)")
    assert "a second pass" in first_nonfinite(module, *data)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_stays_as_it_is(training: bool) -> None:
    module = timm.create_model("test_resnet", num_classes=4, drop_rate=0.5).train(training)
    inputs, targets = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    before, generator = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    first_nonfinite(module, inputs, targets)
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert module.training == training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(layer._forward_hooks for layer in module.modules())
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_hint_follows_the_situation() -> None:
    assert what_to_try(torch.bfloat16, 1e-3, clipped=False) == "--precision fp32 --overwrite"
    assert what_to_try(None, 3e-3, clipped=False) == "--lr 0.001 --overwrite, or --clip-norm 1 --overwrite"
    assert what_to_try(None, 3e-3, clipped=True) == "--lr 0.001 --overwrite"
