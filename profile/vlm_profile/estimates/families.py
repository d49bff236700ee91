"""Runtimes by what they cost beside the kernels: how much they fuse, and what a launch takes."""

import re
from dataclasses import dataclass
from typing import Any

from vlm_profile.estimates.processors import core_of
from vlm_targets.catalogue import Hardware


@dataclass(frozen=True)
class Family:
    """Runtimes that behave alike. A text is the name of a constant (priors.py), a number is taken as it is."""

    name: str
    runtime: str  # those of one kind are judged together
    is_one_engine: bool = False  # whichever program starts it: what one measured holds for the others
    launch_cycles: str | float = 0.0  # of the clock, for each kernel; on a CPU for each thread
    launch_us: str | float = 0.0
    repacks: str | float = 0.0  # positions of an image for which it uses a weight as long as it puts it in order
    passes: str | float = 0.0  # over a convolution's output, in further kernels: normalisation, activation
    layouts: str | float = 0.0  # over a convolution's input and output, to other orders of channels
    product_passes: str | float = 0.0  # over a matrix product's output
    norm_passes: str | float = 1.0  # over a normalisation's input and output, the first included


IN_A_GRAPH = " in a CUDA graph"  # ends the name of a runtime whose kernels are launched as one
_EAGER: dict[str, Any] = {
    "launch_us": 5.0,
    "passes": "passes eager",
    "product_passes": "products eager",
    "norm_passes": "norm eager",
}
FAMILIES = (
    Family("TensorRT on a board", "TensorRT", is_one_engine=True, launch_us="launch board"),
    Family("TensorRT on a card", "TensorRT", is_one_engine=True, launch_us="launch card"),
    Family("TensorRT in a CUDA graph", "TensorRT", is_one_engine=True, launch_cycles="launch graph"),
    Family("an engine on an Arm CPU", "CPU", launch_cycles="launch arm"),
    Family("an engine on an x86 CPU", "CPU", launch_cycles="launch x86"),
    Family("torch.compile on a CPU", "CPU", launch_us="launch torch CPU", repacks="repacks torch CPU"),
    Family(
        "torch.compile on a GPU",
        "torch on a GPU",
        launch_us=5.0,
        passes="passes compiled",
        norm_passes="norm compiled",
    ),
    Family("torch eager, channels first", "torch on a GPU", layouts="layouts eager", **_EAGER),
    Family("torch eager, channels last", "torch on a GPU", **_EAGER),
)
_ENGINES = "Arm NN|OpenCV DNN|TFLite|Tengine|TVM|XNNPACK|ncnn CPU|PyTorch qnnpack"  # of published rows on CPUs
# What runtimes are called, this toolkit's own and those of published rows, and on what; the first that fits.
_NAMED = (
    ("gpu", r"^PyTorch .* eager nhwc$", "torch eager, channels last"),
    ("gpu", r"^PyTorch .* eager |^torch-cuda$", "torch eager, channels first"),
    ("gpu", rf"^PyTorch .* torch\.compile|^torch-compile-cuda(?:{IN_A_GRAPH})?$", "torch.compile on a GPU"),
    ("gpu", rf"MLPerf harness|^(?:tensorrt|trtexec|onnxruntime-tensorrt){IN_A_GRAPH}$", "TensorRT in a CUDA graph"),
    ("gpu", r"^TensorRT\b|^(?:tensorrt|trtexec|onnxruntime-tensorrt)$", "TensorRT on a {place}"),
    ("cpu", r"^PyTorch .* torch\.compile|^torch-compile$", "torch.compile on a CPU"),
    ("cpu", rf"^(?:onnxruntime|openvino)$|^(?:{_ENGINES})\b", "an engine on an {core} CPU"),
)


def family_of(runtime: str, hardware: Hardware) -> Family | None:
    """The family of a runtime by its name, "TensorRT (torch2trt)"; None of one that nothing is known of there.

    So is a runtime that computes on something else: what ran on a board's CPU says nothing of its GPU.
    """
    words = {
        "place": "board" if hardware.shared_memory else "card",
        "core": "Arm" if core_of(hardware) == "arm" else "x86",
    }
    fitting = (name for kind, pattern, name in _NAMED if kind == hardware.kind and re.search(pattern, runtime))
    name = next(fitting, "").format(**words)
    return next((family for family in FAMILIES if family.name == name), None)


def usual_runtime(hardware: Hardware) -> str:
    """What would run there where nobody says: on a Jetson JetPack's own trtexec."""
    if hardware.kind == "cpu":
        return "onnxruntime"
    return "trtexec" if hardware.shared_memory else "tensorrt"
