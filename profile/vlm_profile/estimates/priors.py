"""The constants of the roofline before any row is seen: what each is, what it is thought to be, and how surely."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prior:
    """A constant's logarithm is taken for normal about `middle`; the fit moves it as far as rows ask."""

    middle: float
    spread: float  # standard deviation of the natural logarithm
    most: float  # an efficiency is at most 1
    meaning: str


_NO_LIMIT = float("inf")
_EFFICIENT = 0.95

PRIORS: dict[str, Prior] = {
    "efficiency tensor fp16": Prior(0.6, 0.3, _EFFICIENT, "share of the peak of a large product on tensor cores"),
    "efficiency tensor int8": Prior(0.5, 0.3, _EFFICIENT, "the same in INT8"),
    "efficiency cuda": Prior(0.45, 0.1, _EFFICIENT, "share of the peak on CUDA cores, FP32; two cards, scaled, 0.43"),
    "efficiency half2": Prior(0.5, 0.1, _EFFICIENT, "the same in packed FP16"),
    "efficiency dp4a": Prior(0.5, 0.3, _EFFICIENT, "the same in INT8 by DP4A"),
    "efficiency cpu": Prior(0.8, 0.3, _EFFICIENT, "share of the peak of one CPU core's vector units, FP32"),
    "efficiency cpu int8": Prior(0.5, 0.3, _EFFICIENT, "the same in INT8"),
    "depth tensor": Prior(40, 0.5, _NO_LIMIT, "terms of a sum at which tensor cores reach half their rate"),
    "depth cuda": Prior(20, 0.5, _NO_LIMIT, "the same of CUDA cores"),
    "depth cpu": Prior(20, 0.5, _NO_LIMIT, "the same of CPU cores"),
    "width tensor": Prior(40, 0.5, _NO_LIMIT, "channels out at which tensor cores reach half their rate"),
    "width cuda": Prior(20, 0.5, _NO_LIMIT, "the same of CUDA cores"),
    "width cpu": Prior(20, 0.5, _NO_LIMIT, "the same of CPU cores"),
    "depthwise tensor": Prior(0.2, 0.4, 1.0, "share of the CUDA cores' peak that depthwise convolutions reach, FP16"),
    "depthwise cuda": Prior(0.2, 0.4, 1.0, "the same without tensor cores"),
    "depthwise cpu": Prior(0.3, 0.4, 1.0, "share of a CPU's peak that depthwise convolutions reach"),
    "bandwidth tensor": Prior(0.75, 0.15, _EFFICIENT, "share of the memory's bandwidth, FP16 and INT8"),
    "bandwidth cuda": Prior(0.75, 0.15, _EFFICIENT, "the same without tensor cores"),
    "bandwidth x86": Prior(0.6, 0.3, _EFFICIENT, "the same of an x86 CPU"),
    "bandwidth arm": Prior(0.35, 0.3, _EFFICIENT, "the same of an Arm CPU"),
    "wave tensor": Prior(6000, 0.3, _NO_LIMIT, "outputs that fill one multiprocessor's tensor cores"),
    "wave cuda": Prior(2000, 0.3, _NO_LIMIT, "outputs that fill one multiprocessor's CUDA cores"),
    "repacks torch CPU": Prior(15, 0.5, _NO_LIMIT, "positions of an image that loading and ordering a weight costs"),
    "attention tokens": Prior(400, 0.5, _NO_LIMIT, "tokens at which attention reaches half the rate of a product"),
    "launch board": Prior(15, 0.2, _NO_LIMIT, "microseconds between two kernels, launched by a board's own CPU"),
    "launch card": Prior(5, 0.4, _NO_LIMIT, "the same, by a workstation's CPU"),
    "launch graph": Prior(3000, 0.3, _NO_LIMIT, "clock cycles of the GPU between two kernels of a CUDA graph"),
    "launch arm": Prior(15e3, 0.5, _NO_LIMIT, "clock cycles between two kernels, for each thread of an Arm CPU"),
    "launch x86": Prior(4e3, 0.5, _NO_LIMIT, "the same of an x86 CPU: no published row; from trials of this toolkit"),
    "launch torch CPU": Prior(3, 0.5, _NO_LIMIT, "microseconds of torch.compile, for each thread that waits"),
    "sharing gpu": Prior(1e-9, 1e-6, _NO_LIMIT, "none: a GPU is one processor here"),
    "sharing x86": Prior(0.03, 0.5, _NO_LIMIT, "how far each further core slows all: shared caches, power, waiting"),
    "sharing arm": Prior(0.27, 0.3, _NO_LIMIT, "the same: four Cortex-A17 are 2.2 times one (ncnn's RK3288)"),
    "passes compiled": Prior(1, 0.3, _NO_LIMIT, "kernels after a convolution that torch.compile leaves apart"),
    "passes eager": Prior(2, 0.3, _NO_LIMIT, "the same of eager torch: normalisation and activation"),
    "layouts eager": Prior(1, 0.4, _NO_LIMIT, "passes that turn channels first into channels last and back"),
    "products eager": Prior(1, 0.4, _NO_LIMIT, "kernels after a matrix product"),
    "norm compiled": Prior(1, 0.3, _NO_LIMIT, "passes over a normalisation's input"),
    "norm eager": Prior(2, 0.5, _NO_LIMIT, "the same: eager torch normalises in FP32"),
}
