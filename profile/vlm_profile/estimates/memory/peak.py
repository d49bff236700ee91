"""What a model takes of memory: its weights, what lives at once between operators, and what a runtime adds to both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_profile.estimates.memory.arena import Arena, Event, live_bytes, planned_bytes
from vlm_profile.estimates.memory.buffers import buffer_events
from vlm_profile.estimates.processors import BYTES
from vlm_profile.graph.costs import shapes_given
from vlm_profile.graph.fusion import Fused, fused
from vlm_profile.graph.kinds import CONVOLUTION_KINDS
from vlm_profile.graph.steps import Steps, steps_of
from vlm_profile.inputs import Shapes
from vlm_profile.onnxfile.check import model_of

SOURCES = {
    "weights": "weights, once, in their precision",
    "weight_copies": "weights in other layouts or precisions, and what loading leaves behind",
    "activations": "the most that lives at once between operators",
    "allocator": "what the runtime's allocator touches beyond that",
    "inputs_and_outputs": "images and answers",
    "runtime_context": "the runtime itself: assumed, whatever the model",
}
EDGE_BYTES = 4  # images and logits are FP32 in every precision
ONNXRUNTIME, TENSORRT = "onnxruntime", "tensorrt"
# Assumed of a runtime: its code and threads; of TensorRT, libraries, CUDA's context and kernels, for which NVIDIA names
# some 800 MB (https://forums.developer.nvidia.com/t/79158, TensorRT 5); versions that load kernels lazily take less.
CONTEXT_BYTES = {ONNXRUNTIME: 21_900_000, TENSORRT: 800_000_000}


@dataclass(frozen=True)
class Held:
    """Bytes that ONNX Runtime holds on a CPU for one element."""

    convolution_weight: float
    other_weight: float
    blocked: float  # an activation between convolutions
    plain: float  # any other


# FP32 and the context are fitted to VmHWM after 28 loads of the seven backbones, the worst off by 17 % (2026-11-25,
# ONNX Runtime 1.32, x86-64: scripts/check_memory_estimate.py --fit); FP16 and INT8 are set after three and two of them.
# A convolution's weights are there as the file has them, reordered into blocks, and as the session's own copy; those of
# a product are packed one by one, and what that frees partly stays. A CPU computes FP16 in FP32: it holds weights in
# both, and what passes between convolutions too, with neither blocks nor anything written over its input.
HELD: Mapping[str, Held] = {
    "fp32": Held(4 * 2.52, 4 * 1.22, 4, 4),
    "fp16": Held(4 * 2.50, 4 * 1.70, 8, 4.5),
    "int8": Held(1.7, 1.7, 1, 4),
}


def memory_of(
    model: Path,
    batch: int,
    precision: str,
    runtime: str = ONNXRUNTIME,
    context_bytes: int | None = None,
    shapes: Shapes | None = None,
) -> dict[str, int]:
    """Bytes by SOURCES that a process takes to run a model; their sum is the estimate.

    `context_bytes` replaces what is assumed of the runtime; `shapes` are those of inputs that the file leaves open.
    Raises VlmError for what is no model, and for a precision or a runtime that nothing is known of.
    """
    if precision not in BYTES or runtime not in CONTEXT_BYTES:
        raise VlmError(
            f"There is no estimate of the memory of {runtime} in {precision}.",
            hint=f"one of {', '.join(CONTEXT_BYTES)} in {', '.join(BYTES)}",
        )
    read = model_of(model)
    graph = steps_of(read, shapes_given(read, shapes or {}))
    found = _of_onnxruntime(graph, batch, precision) if runtime == ONNXRUNTIME else _of_engine(graph, batch, precision)
    edges = sum(graph.elements[name] for name in (*graph.inputs, *graph.outputs))
    context = CONTEXT_BYTES[runtime] if context_bytes is None else context_bytes
    return {
        **found,
        "inputs_and_outputs": EDGE_BYTES * edges * batch // graph.batch,
        "runtime_context": context,
    }


def input_bytes(model: Path, batch: int) -> int:
    """Of the images alone, which whoever measures a runtime makes before it loads."""
    graph = steps_of(model_of(model))
    return EDGE_BYTES * sum(graph.elements[name] for name in graph.inputs) * batch // graph.batch


def _of_onnxruntime(graph: Steps, batch: int, precision: str) -> dict[str, int]:
    """On a CPU: two inferences, the first of which allocates each tensor by itself, the second one block for all."""
    held, (convolutions, others) = HELD[precision], weights_of(graph)
    events = buffer_events(graph, batch, held.plain, held.blocked)
    arena = Arena()
    arena.replay(events)
    block = planned_bytes(events)
    arena.replay([(-1, block), (-1, 0)])
    weights, live = BYTES[precision] * (convolutions + others), live_bytes(events)
    in_all = convolutions * held.convolution_weight + others * held.other_weight
    return {
        "weights": weights,
        "weight_copies": round(in_all) - weights,
        "activations": live,
        "allocator": arena.touched_bytes() - live,
    }


def _of_engine(graph: Steps, batch: int, precision: str) -> dict[str, int]:
    """A TensorRT engine: weights once, and one block that its builder lays out for the largest batch."""
    events = kernel_events(graph, fused(graph), BYTES[precision] * batch / graph.batch)
    live = live_bytes(events)
    return {
        "weights": BYTES[precision] * sum(weights_of(graph)),
        "weight_copies": 0,
        "activations": live,
        "allocator": planned_bytes(events) - live,
    }


def weights_of(graph: Steps) -> tuple[int, int]:
    """Elements of the weights of convolutions, and of all others; each once, however many steps read it."""
    found: tuple[dict[str, int], dict[str, int]] = {}, {}
    for step in graph.steps:
        found[step.kind not in CONVOLUTION_KINDS].update(step.weights)
    return sum(found[0].values()), sum(found[1].values())


def kernel_events(graph: Steps, kernels: Sequence[Fused], bytes_of_element: float) -> list[Event]:
    """The birth and death of each tensor between kernels."""
    names = [name for kernel in kernels for name in kernel.outputs]
    numbers = {name: number for number, name in enumerate(names)}
    last = {name: len(kernels) for name in graph.outputs}
    for at, kernel in enumerate(kernels):
        last.update({name: max(at, last.get(name, 0)) for name in (*kernel.outputs, *kernel.inputs)})
    events: list[Event] = []
    for at, kernel in enumerate(kernels):
        events += [(numbers[name], max(1, round(graph.elements[name] * bytes_of_element))) for name in kernel.outputs]
        ends = dict.fromkeys(name for name in (*kernel.inputs, *kernel.outputs) if name in numbers)
        events += [(numbers[name], 0) for name in ends if last[name] == at]
    return events
