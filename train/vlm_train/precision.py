"""What training steps are computed in, and why: chosen by the hardware, a probe of speed and a self-test. Needs torch.

Evaluation is in FP32 whatever is chosen here.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vlm_contract.errors import CheckFailed, VlmError

WORDS = {None: "FP32", torch.bfloat16: "bf16", torch.float16: "FP16"}
ASKED = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# On a CPU a probe of few images ends as one of 128 does (of 32, ResNet50: bf16 1.31 against 1.44 times as fast,
# MobileNetV3: 0.45 against 0.36) in a fraction of the time. A GPU is timed on all: a part would not fill it.
CPU_IMAGES = 16
PROBED_STEPS = 3  # timed for each candidate after one that warms up; the shortest counts
PROBE_S = 1.0  # no further round of timed steps begins after so many seconds
# A candidate must make so many times the steps of those before it: the clock's noise decides nothing, and the
# rounding of autocast is not taken on for a trifle.
GAIN_OF_LAYOUT, GAIN_OF_AUTOCAST = 1.03, 1.1
# RMS difference of autocast's outputs from FP32's, as a share of FP32's RMS; outputs that are wrong differ by 100 %
# (zeros) or more. Rounding alone makes 0.1 to 24 % of untrained backbones at 32 px, and 34 % of a stock ResNet50, whose
# last batch norms see one pixel an image: 53 % and more with 32 images, so the test takes a batch of the usual size.
TOLERANCE = 0.5

Clock = Callable[[], float]


@dataclass(frozen=True)
class Candidate:
    dtype: torch.dtype | None  # that autocast computes in; None is FP32
    channels_last: bool

    def __str__(self) -> str:
        return f"{WORDS[self.dtype]}, {self.layout}"

    @property
    def layout(self) -> str:
        return "channels_last" if self.channels_last else "contiguous"


@dataclass(frozen=True)
class Precision:
    """The choice. A run that is resumed takes the one that it began with: a probe may end otherwise each time."""

    dtype: torch.dtype | None  # that autocast computes in; None is FP32
    scale: bool  # the loss is scaled by a GradScaler
    channels_last: bool  # the memory format of the module and of its inputs; contiguous otherwise
    reason: str  # one sentence for the user

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context of a step's forward pass and loss; without effect for FP32."""
        return _autocast(device, self.dtype)


@dataclass(frozen=True)
class SelfTest:
    """A model's outputs under autocast beside those in FP32."""

    deviation: float  # RMS of the difference as a share of FP32's RMS, the larger of training and evaluation mode
    problem: str  # why the model must not train so; empty where it may


def choose_precision(
    ask: str, module: torch.nn.Module, inputs: Tensor, labels: Tensor, clock: Clock = time.perf_counter
) -> Precision:
    """The precision asked for, one of auto, fp32, bf16, fp16, once this module has passed its self-test in it.

    `inputs` are normalised images, float32 [n, c, h, w], on the device of the module, which must not be compiled or
    wrapped yet; `labels` are classes [n]. The module and the state of all random generators stay as they are.
    What is asked for by name depends on no clock: channels_last always. Auto takes up to 12 steps on this batch, on a
    CPU on its first CPU_IMAGES; a GPU that multiplies bf16 needs no clock either.
    Raises CheckFailed where a precision asked for by name gives wrong outputs, VlmError for one that cannot be.
    """
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
        if ask == "auto":
            return _fastest(module, inputs, labels, clock)
        return _as_asked(ask, module, inputs, labels)


def self_test(module: torch.nn.Module, inputs: Tensor, labels: Tensor, dtype: torch.dtype) -> SelfTest:
    """Compare autocast with FP32 in training mode, then in evaluation mode, where FP16 failed first on GTX 16xx."""
    rehearsed = _without_chance(module)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    deviation = 0.0
    for mode in ("training", "evaluation"):
        rehearsed.train(mode == "training")
        rehearsed.zero_grad()
        low = _outputs(rehearsed, inputs, labels, dtype, backwards=mode == "training")
        gradients = [p.grad for p in rehearsed.parameters() if p.grad is not None]
        full = _outputs(rehearsed, inputs, labels, None, backwards=False)
        if not full.isfinite().all():
            return SelfTest(deviation, f"FP32 itself gives values that are not finite in {mode}")
        if not low.isfinite().all() or not all(gradient.isfinite().all() for gradient in gradients):
            return SelfTest(deviation, f"{WORDS[dtype]} gives NaN or infinite values in {mode}")
        deviation = max(deviation, _rms(low - full) / max(_rms(full), torch.finfo(torch.float32).tiny))
        if deviation > TOLERANCE:
            problem = f"{WORDS[dtype]}'s outputs in {mode} differ from FP32's by {_percent(deviation)} of their scale"
            return SelfTest(deviation, f"{problem}, more than {_percent(TOLERANCE)}")
    return SelfTest(deviation, "")


def low_precision_of(device: torch.device) -> tuple[torch.dtype | None, str]:
    """What autocast may compute in on this device, None for nothing but FP32, and the reason in words."""
    if device.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return low_precision_of_gpu(
            torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device), bool(bf16)
        )
    if cpu_multiplies_bf16():
        return torch.bfloat16, "this CPU multiplies bf16"
    return None, "this CPU does not multiply bf16"


def low_precision_of_gpu(capability: tuple[int, int], name: str, bf16: bool) -> tuple[torch.dtype | None, str]:
    """As `low_precision_of`, from compute capability, name, and whether bf16 is in hardware."""
    if bf16 and capability >= (8, 0):
        return torch.bfloat16, f"{name} multiplies bf16"
    if capability == (7, 5) and "GTX 16" in name:  # TU11x; pytorch issues 58123 and 77955
        return None, f"on {name} FP16 convolutions give NaN with some versions of cuDNN"
    if capability >= (7, 0):
        return torch.float16, f"{name} multiplies FP16 in tensor cores"
    return None, f"{name} has no tensor cores"


def cpu_multiplies_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the kernel names bf16 among the CPU's features; torch emulates it elsewhere, several times slower."""
    try:
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(cpuinfo.read_text().split())
    except OSError:
        return False


def fastest(seconds: dict[Candidate, float]) -> Candidate:
    """The candidate of the shortest step; one that stands earlier keeps its place against a lesser gain."""
    choice, *others = seconds
    for other in others:
        needed = GAIN_OF_LAYOUT if other.dtype is None else GAIN_OF_AUTOCAST
        if seconds[other] * needed <= seconds[choice]:
            choice = other
    return choice


def _as_asked(ask: str, module: torch.nn.Module, inputs: Tensor, labels: Tensor) -> Precision:
    choice = Candidate(ASKED[ask], channels_last=True)
    if choice.dtype is None:
        return _precision(choice, "as asked for")
    if choice.dtype == torch.float16 and inputs.device.type == "cpu":
        raise VlmError(
            "FP16 steps need a GPU: on a CPU they take tens of times longer than FP32's.", hint="--precision auto"
        )
    tested = self_test(module, inputs, labels, choice.dtype)
    if tested.problem:
        raise CheckFailed(f"This model cannot train in {ask} here: {tested.problem}.", hint="--precision fp32")
    return _precision(choice, f"as asked for; {_in_words(tested)}")


def _fastest(module: torch.nn.Module, inputs: Tensor, labels: Tensor, clock: Clock) -> Precision:
    device = inputs.device
    dtype, why = low_precision_of(device)
    if device.type == "cuda" and dtype == torch.bfloat16:
        tested = self_test(module, inputs, labels, dtype)
        if not tested.problem:
            return _precision(Candidate(dtype, channels_last=True), f"{why}; {_in_words(tested)}")
        dtype, why = None, tested.problem
    timed = slice(CPU_IMAGES if device.type == "cpu" else None)
    seconds = _shortest_steps(_candidates(dtype), module, inputs[timed], labels[timed], clock)
    full = fastest({each: taken for each, taken in seconds.items() if each.dtype is None})
    choice = fastest(seconds)
    if choice.dtype is None:
        return _precision(full, _why_fp32(seconds, full, device, why))
    tested = self_test(module, inputs, labels, choice.dtype)
    if tested.problem:
        return _precision(full, tested.problem)
    gain = seconds[full] / seconds[choice]
    return _precision(choice, f"{gain:.2f} times FP32's steps a second on {_this(device)}; {_in_words(tested)}")


def _candidates(dtype: torch.dtype | None) -> list[Candidate]:
    """The usual choice first."""
    full = [Candidate(None, channels_last=True), Candidate(None, channels_last=False)]
    return full if dtype is None else [*full, Candidate(dtype, channels_last=True)]


def _why_fp32(seconds: dict[Candidate, float], full: Candidate, device: torch.device, why: str) -> str:
    ratios = {each: taken / seconds[full] for each, taken in seconds.items() if each != full}
    for low in (each for each in ratios if each.dtype is not None):
        why = f"{WORDS[low.dtype]} makes {1 / ratios[low]:.2f} times its steps, {GAIN_OF_AUTOCAST} are asked for"
    other = next(each for each in ratios if each.dtype is None)
    return f"{ratios[other]:.2f} times the steps a second of {other.layout} on {_this(device)}; {why}"


def _shortest_steps(
    candidates: list[Candidate], module: torch.nn.Module, inputs: Tensor, labels: Tensor, clock: Clock
) -> dict[Candidate, float]:
    """Seconds of a forward and a backward pass. The candidates take turns, so that other load meets them all."""
    steps = {each: _rehearsal(each, module, inputs, labels) for each in candidates}
    times: dict[Candidate, list[float]] = {each: [] for each in candidates}
    for rounds in range(1 + PROBED_STEPS):
        if rounds > 1 and sum(map(sum, times.values())) > PROBE_S:
            break
        for each, step in steps.items():
            started = clock()
            step()
            times[each].append(clock() - started)
    return {each: min(taken[1:]) for each, taken in times.items()}


def _rehearsal(candidate: Candidate, module: torch.nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    """A step of a copy of the module, ended when the device has ended it."""
    memory_format = torch.channels_last if candidate.channels_last else torch.contiguous_format
    copied = copy.deepcopy(module).to(memory_format=memory_format).train()
    laid_out = inputs.contiguous(memory_format=memory_format)

    def step() -> None:
        copied.zero_grad()
        _outputs(copied, laid_out, labels, candidate.dtype, backwards=True)
        if inputs.is_cuda:
            torch.cuda.synchronize(inputs.device)

    return step


def _outputs(
    module: torch.nn.Module, inputs: Tensor, labels: Tensor, dtype: torch.dtype | None, *, backwards: bool
) -> Tensor:
    """The outputs, float32 [n, classes]; the gradients of a backward pass stay in the module."""
    with torch.set_grad_enabled(backwards), _autocast(inputs.device, dtype):
        outputs: Tensor = module(inputs).float()
        loss = functional.cross_entropy(outputs, labels)
    if backwards:
        torch.autograd.backward(loss)
    return outputs.detach()


def _without_chance(module: torch.nn.Module) -> torch.nn.Module:
    """A copy without dropout, which draws other masks in another dtype, and whose batch norms evaluate by the last
    batch: the running statistics of an untrained network let its activations grow without bound.
    """
    rehearsed = copy.deepcopy(module).to(memory_format=torch.channels_last)
    layers: Iterable[Any] = rehearsed.modules()
    for layer in layers:
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        elif isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = 1.0
        for chance in {"drop_prob", "drop_rate"} & vars(layer).keys():  # timm's stochastic depth and functional dropout
            setattr(layer, chance, 0.0)
    return rehearsed


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def _precision(choice: Candidate, why: str) -> Precision:
    return Precision(choice.dtype, choice.dtype == torch.float16, choice.channels_last, f"{choice}: {why}")


def _in_words(tested: SelfTest) -> str:
    return f"outputs differ by {_percent(tested.deviation)} of their scale"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _this(device: torch.device) -> str:
    return "this CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()
