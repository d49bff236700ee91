"""The choice of what steps are computed in."""

import copy
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from vlm_contract.errors import CheckFailed, VlmError
from vlm_train import precision
from vlm_train.precision import (
    ASKED,
    Candidate,
    Clock,
    Precision,
    choose_precision,
    cpu_multiplies_bf16,
    fastest,
    low_precision_of_gpu,
    self_test,
)
from vlm_train.recipe import PRECISIONS

CHANNELS_LAST, CONTIGUOUS = Candidate(None, True), Candidate(None, False)
BF16 = Candidate(torch.bfloat16, True)


class Overflowing(nn.Module):
    """Finite in FP32. In bf16 its product with itself overflows where `at` is the mode."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.linear, self.at = nn.Linear(12, 2), at

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs.flatten(1))
        if self.training == (self.at == "training") and outputs.dtype != torch.float32:
            return outputs * torch.inf
        return outputs


class Wrong(Overflowing):
    """Finite everywhere, but zero in autocast."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs.flatten(1))
        return outputs if outputs.dtype == torch.float32 else outputs * 0


def batch(size: int = 32, n: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 3, size, size, generator=generator), torch.randint(2, (n,), generator=generator)


def clock_of(*seconds: float) -> Clock:
    """A clock under which the steps of the candidates take these seconds, warm-ups three times as long."""

    def readings() -> Iterator[float]:
        now = 0.0
        for factor in (3, 1, 1.2, 1.1):
            for taken in seconds:
                yield now
                now += factor * taken
                yield now

    return readings().__next__


@pytest.fixture
def bf16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: True)


@pytest.fixture
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: False)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
@pytest.mark.usefixtures("bf16_cpu")
def test_bf16_is_chosen_where_it_is_faster_and_right(model: str) -> None:
    arguments = {"img_size": 32} if model == "test_vit" else {}
    module = timm.create_model(model, num_classes=2, **arguments)
    choice = choose_precision("auto", module, *batch(), clock=clock_of(0.141, 0.15, 0.1))
    assert (choice.dtype, choice.scale, choice.channels_last) == (torch.bfloat16, False, True)
    assert choice.reason.startswith(
        "bf16, channels_last: 1.41 times FP32's steps a second on this CPU; outputs differ by "
    )
    assert choice.reason.endswith(" % of their scale")


@pytest.mark.usefixtures("bf16_cpu")
def test_bf16_is_not_chosen_for_less_than_a_tenth() -> None:
    choice = choose_precision(
        "auto", nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), *batch(2), clock_of(0.108, 0.135, 0.1)
    )
    assert (choice.dtype, choice.scale, choice.channels_last) == (None, False, True)
    assert choice.reason == (
        "FP32, channels_last: 1.25 times the steps a second of contiguous on this CPU; "
        "bf16 makes 1.08 times its steps, 1.1 are asked for"
    )


@pytest.mark.usefixtures("plain_cpu")
def test_a_cpu_without_bf16_chooses_a_layout() -> None:
    choice = choose_precision("auto", nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), *batch(2), clock_of(0.15, 0.1))
    assert (choice.dtype, choice.channels_last) == (None, False)
    assert choice.memory_format == torch.contiguous_format
    assert choice.reason == (
        "FP32, contiguous: 1.50 times the steps a second of channels_last on this CPU; this CPU does not multiply bf16"
    )


@pytest.mark.usefixtures("plain_cpu")
def test_a_slow_model_is_probed_by_one_step_of_each_layout() -> None:
    clock = clock_of(15, 10)
    choose_precision("auto", nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), *batch(2), clock=clock)
    assert clock() == 4 * (15 + 10)


def test_equal_times_leave_the_usual_choice() -> None:
    assert fastest({CHANNELS_LAST: 1.0, CONTIGUOUS: 1.0, BF16: 1.0}) == CHANNELS_LAST
    assert fastest({CHANNELS_LAST: 1.0, CONTIGUOUS: 0.98, BF16: 0.92}) == CHANNELS_LAST
    assert fastest({CHANNELS_LAST: 1.0, CONTIGUOUS: 0.9, BF16: 0.85}) == CONTIGUOUS
    assert fastest({CHANNELS_LAST: 1.0, CONTIGUOUS: 2.0, BF16: 0.9}) == BF16


@pytest.mark.parametrize("mode", ["training", "evaluation"])
@pytest.mark.usefixtures("bf16_cpu")
def test_a_model_that_overflows_in_autocast_trains_in_fp32(mode: str) -> None:
    choice = choose_precision("auto", Overflowing(mode), *batch(2), clock=clock_of(0.2, 0.2, 0.1))
    assert choice.dtype is None
    assert choice.reason == f"FP32, channels_last: bf16 gives NaN or infinite values in {mode}"


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_precision_asked_for_is_refused_where_the_model_overflows(mode: str) -> None:
    with pytest.raises(CheckFailed, match=f"cannot train in bf16 here: bf16 gives NaN .* in {mode}") as caught:
        choose_precision("bf16", Overflowing(mode), *batch(2))
    assert caught.value.hint == "--precision fp32"


def test_outputs_that_are_finite_but_wrong_are_refused() -> None:
    with pytest.raises(
        CheckFailed, match=r"outputs in training differ from FP32's by 100.0 % of their scale, more than 50.0 %"
    ):
        choose_precision("bf16", Wrong(""), *batch(2))


def test_a_model_that_fp32_cannot_compute_is_not_blamed_on_autocast() -> None:
    linear = nn.Linear(12, 2)
    nn.init.constant_(linear.weight, torch.nan)
    module = nn.Sequential(nn.Flatten(), linear)
    assert self_test(module, *batch(2), torch.bfloat16).problem.startswith("FP32 itself gives")


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
def test_sound_models_pass_the_self_test(model: str) -> None:
    torch.manual_seed(0)
    arguments = {"img_size": 32} if model == "test_vit" else {}
    tested = self_test(timm.create_model(model, num_classes=2, **arguments), *batch(), torch.bfloat16)
    assert tested.problem == ""
    assert 0 < tested.deviation < 0.3


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_dropout_and_stochastic_depth_do_not_fail_the_self_test(model: str) -> None:
    torch.manual_seed(0)
    arguments = {"img_size": 32} if model == "test_vit" else {}
    module = timm.create_model(model, num_classes=2, drop_rate=0.5, drop_path_rate=0.5, **arguments)
    assert self_test(module, *batch(), torch.bfloat16).deviation < 0.1


def test_outputs_of_zero_pass_the_self_test() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    assert self_test(module, *batch(2), torch.bfloat16) == precision.SelfTest(0.0, "")


@pytest.mark.parametrize("ask", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.usefixtures("bf16_cpu")
def test_the_module_and_the_generators_stay_as_they_are(ask: str, training: bool) -> None:
    module = timm.create_model("test_resnet", num_classes=2, drop_rate=0.5).train(training)
    inputs, labels = batch()
    module(inputs).sum().backward()
    before = copy.deepcopy(module.state_dict())
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    strides = [parameter.stride() for parameter in module.parameters()]
    generator, given = torch.get_rng_state(), inputs.clone()
    choose_precision(ask, module, inputs, labels)
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(inputs, given)
    assert module.training == training
    assert module.drop_rate == 0.5
    assert [parameter.stride() for parameter in module.parameters()] == strides
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), gradients, strict=True))
    assert all(layer.momentum == 0.1 for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))


def test_what_is_asked_for_needs_no_clock() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    choice = choose_precision("fp32", module, *batch(2), clock=clock_of())
    assert choice == Precision(None, False, True, "FP32, channels_last: as asked for")
    choice = choose_precision("bf16", module, *batch(2), clock=clock_of())
    assert choice.reason.startswith("bf16, channels_last: as asked for; outputs differ by ")


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(VlmError, match="FP16 steps need a GPU") as caught:
        choose_precision("fp16", nn.Flatten(), *batch(2))
    assert caught.value.hint == "--precision auto"


def test_what_can_be_asked_for_is_what_can_be_chosen() -> None:
    assert ("auto", *ASKED) == PRECISIONS


def test_a_choice_survives_a_resume_file() -> None:
    choice = Precision(torch.bfloat16, False, True, "why")
    buffer = io.BytesIO()
    torch.save(asdict(choice), buffer)
    buffer.seek(0)
    assert Precision(**torch.load(buffer, weights_only=True)) == choice


def test_the_context_of_a_step_computes_in_the_choice() -> None:
    layer, inputs, cpu = nn.Linear(3, 2), torch.ones(1, 3), torch.device("cpu")
    for dtype, seen in ((None, torch.float32), (torch.bfloat16, torch.bfloat16)):
        with Precision(dtype, False, True, "").autocast(cpu):
            assert layer(inputs).dtype == seen


@pytest.mark.parametrize(
    ("capability", "name", "bf16", "expected"),
    [
        ((9, 0), "NVIDIA H100", True, torch.bfloat16),
        ((8, 7), "Orin", True, torch.bfloat16),
        ((7, 5), "NVIDIA GeForce GTX 1660 Ti", False, None),
        ((7, 5), "NVIDIA GeForce GTX 1650", False, None),
        ((7, 5), "NVIDIA GeForce RTX 2060", False, torch.float16),
        ((7, 0), "Tesla V100", False, torch.float16),
        ((6, 1), "NVIDIA GeForce GTX 1060 6GB", False, None),
    ],
)
def test_each_generation_of_gpus_has_its_low_precision(
    capability: tuple[int, int], name: str, bf16: bool, expected: torch.dtype | None
) -> None:
    dtype, why = low_precision_of_gpu(capability, name, bf16)
    assert dtype == expected
    assert name in why


def test_the_kernel_says_whether_a_cpu_multiplies_bf16(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert not cpu_multiplies_bf16(cpuinfo)
    for text, expected in (
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("flags\t\t: fpu avx512_bf16 gfni\n", True),
        ("Features\t: fp asimd i8mm bf16\n", True),
    ):
        cpuinfo.write_text(text)
        assert cpu_multiplies_bf16(cpuinfo) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("ask", ["auto", "bf16", "fp16"])
def test_a_gpu_trains_in_what_was_chosen(ask: str) -> None:
    module = timm.create_model("test_resnet", num_classes=2).cuda()
    inputs, labels = (part.cuda() for part in batch())
    generator = torch.cuda.get_rng_state()
    choice = choose_precision(ask, module, inputs, labels)
    assert torch.equal(torch.cuda.get_rng_state(), generator)
    assert choice.scale == (choice.dtype == torch.float16)
    with choice.autocast(inputs.device):
        assert module(inputs).isfinite().all()
