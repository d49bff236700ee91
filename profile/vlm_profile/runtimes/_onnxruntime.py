"""What the execution providers of ONNX Runtime share: a session, its tensors, and which provider runs which node."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.runtimes._base import PerThread, missing, shapes_of
from vlm_profile.runtimes._device_memory import no_driver

CPU = "CPUExecutionProvider"
SHOWN = 3  # kinds of node in a sentence
# Numbers of a tensor that ONNX Runtime calls small where it leaves the computing of shapes to the CPU, on purpose
# (onnxruntime/core/framework/fallback_cpu_capability.cc).
SMALL = 100
# Names of ONNX Runtime's element types that are not numpy's own.
_NUMPY_NAME = {"float": "float32", "double": "float64"}
_RECORD_NODES = {"session.record_ep_graph_assignment_info": "1"}  # read from 1.24 on; unknown entries are let be
# Around the cause in what ONNX Runtime says: its mark and number, the file once more, where its C++ stood.
_SIGNATURE = r"[^()\n]*::[^()\n]*\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[with [^\]]*\])? "
_AROUND = re.compile(
    "|".join(
        (
            r"\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?",
            r"^Error in execution: ",
            rf"\S+\.(?:cc|cpp|cu|cuh|h|hpp):\d+ (?:{_SIGNATURE})?",
            r"; (?:hostname|file|line|expr)=[^;\n]*",
        )
    )
)

Providers = Sequence[tuple[str, Mapping[str, str]]]


def import_library() -> None:
    import numpy  # noqa: F401
    import onnxruntime  # noqa: F401


@dataclass(frozen=True)
class Node:
    """One node of the graph that ran, and where."""

    name: str  # empty where it has none
    provider: str
    operator: str


def plain(error: Exception) -> Exception:
    """What ONNX Runtime says as a VlmError with the cause alone; other exceptions as they are."""
    said = str(error)
    return VlmError(" ".join(_AROUND.sub("", said).split())) if _AROUND.match(said) else error


def opened(model: Path, options: Any, providers: Sequence[Any]) -> Any:
    """An inference session. Raises VlmError with the cause where there can be none."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(model), options, providers=list(providers))
    except Exception as error:
        raise plain(error) from error


def session_options(threads: int, entries: Mapping[str, str]) -> Any:
    """Explicit threads, nothing but errors said, and configuration entries by ONNX Runtime's own names."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return options


def tensor_of(node: Any) -> TensorSpec:
    """A tensor as the session describes it; an unnamed dimension is named `?`."""
    if not node.type.startswith("tensor("):
        raise VlmError(f"{node.name!r} is a {node.type}; only tensors can be generated.")
    element = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in node.shape)
    return TensorSpec(node.name, shape, _NUMPY_NAME.get(element, element))


def unusable_on_gpu(provider: str) -> str:
    """Why a GPU's provider ("cuda", "tensorrt") cannot run here; the library is looked for, and not imported."""
    if sentence := no_driver() or missing("ort-gpu", onnxruntime="onnxruntime-gpu"):
        return sentence
    found = find_spec("onnxruntime")
    folders = (found.submodule_search_locations if found else None) or []
    if any((Path(folder) / "capi" / f"libonnxruntime_providers_{provider}.so").exists() for folder in folders):
        return ""
    return (
        f"the onnxruntime installed here has no {provider} provider: "
        "pip uninstall onnxruntime; pip install 'vlm-edge[ort-gpu]'"
    )


class GpuSession:
    """A session on a GPU, whose inputs and outputs keep their places there; each thread has places of its own."""

    def __init__(self, model: Path, threads: int, provider: str, options: Mapping[str, str]) -> None:
        self._model, self._threads, self.provider = model, threads, provider
        self._providers: Providers = ((provider, options), (CPU, {}))
        self._session = opened(model, session_options(threads, _RECORD_NODES), self._providers)
        self.ran_by = self._session.get_providers()[0]  # the CPU's where the other did not start, which is no error
        self._device = "cuda" if self.ran_by == provider else "cpu"
        self.inputs = tuple(map(tensor_of, self._session.get_inputs()))
        self.outputs = tuple(map(tensor_of, self._session.get_outputs()))
        self._places = PerThread(lambda: Places(self._session, self.inputs, self.outputs, self._device))
        self._last: Mapping[str, Any] = {}

    def close(self) -> None:
        del self._places, self._session

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        """Copy in, compute, copy out; the provider waits for its stream."""
        self._last = feed
        try:
            return self._places.mine().run(feed)
        except Exception as error:
            raise plain(error) from error

    def fallback(self) -> str:
        """In words, what ran on another provider than the one asked for; empty where nothing did.

        Nodes that compute shapes alone do not count: ONNX Runtime leaves them to the CPU because that is faster.
        """
        if self.ran_by != self.provider:
            return f"{self.provider} did not start; {self.ran_by} ran the whole model"
        others = [node for node in self._nodes() if node.provider != self.provider]
        return elsewhere(self.provider, others and self._not_of_shapes(others))

    def _nodes(self) -> list[Node]:
        if hasattr(self._session, "get_provider_graph_assignment_info"):
            return list(assigned_nodes(self._session))
        return [node for node, _ in profiled_nodes(self._model, self._threads, self._providers, self._last)]

    def _not_of_shapes(self, nodes: Sequence[Node]) -> list[Node]:
        """Those of the nodes that read or write more than shapes, as one inference on the CPU shows.

        The CPU alone, because a GPU's provider may take minutes to load a session. What it fuses is not excused, nor is
        anything in a model that it cannot run.
        """
        try:
            profiled = list(profiled_nodes(self._model, self._threads, ((CPU, {}),), self._last))
        except Exception:  # noqa: BLE001 (the exceptions of runtimes share no base)
            return list(nodes)
        of_shapes = {_key(node) for node, shapes_alone in profiled if shapes_alone}
        of_more = {_key(node) for node, shapes_alone in profiled if not shapes_alone}
        return [node for node in nodes if _key(node) not in of_shapes - of_more]


class Places:
    """Where one thread's tensors stand on the device. A shape not seen before gives them new places."""

    def __init__(self, session: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str) -> None:
        self._session, self._device = session, device
        self._inputs, self._outputs = inputs, outputs
        self._shapes: tuple[tuple[int, ...], ...] | None = None

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        if shapes_of(feed) != self._shapes:
            self._bind(feed)
        for name, value in self._values.items():
            value.update_inplace(feed[name])
        for name in self._unplaced:  # each run leaves its answer bound, and the next may be of another shape
            self._binding.bind_output(name, self._device)
        self._session.run_with_iobinding(self._binding)
        outputs: list[Any] = self._binding.copy_outputs_to_cpu()
        return outputs

    def _bind(self, feed: Mapping[str, Any]) -> None:
        """Fixed places, but for outputs whose shapes the inputs do not tell."""
        import numpy
        from onnxruntime import OrtValue

        self._shapes, self._binding = shapes_of(feed), self._session.io_binding()
        place = OrtValue.ortvalue_from_shape_and_type  # one made from an array may be that very array
        self._values = {name: place(array.shape, array.dtype, self._device, 0) for name, array in feed.items()}
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)
        sizes: dict[int | str, int] = {
            name: size
            for tensor in self._inputs
            for name, size in zip(tensor.shape, feed[tensor.name].shape, strict=True)
            if isinstance(name, str) and name != "?"
        }
        shapes = {t: tuple(sizes.get(size, size) for size in t.shape) for t in self._outputs}
        self._unplaced = [t.name for t, shape in shapes.items() if any(isinstance(size, str) for size in shape)]
        for tensor, shape in shapes.items():
            if tensor.name not in self._unplaced:  # a CUDA graph needs a fixed place
                value = place(shape, numpy.dtype(tensor.dtype), self._device, 0)
                self._binding.bind_ortvalue_output(tensor.name, value)


def elsewhere(provider: str, nodes: Iterable[Node]) -> str:
    """In words, which of the nodes ran on another provider; empty where none did."""
    counts = Counter((node.provider, node.operator) for node in nodes if node.provider != provider)
    if not counts:
        return ""
    kinds = [f"{count} {operator} on {other}" for (other, operator), count in counts.most_common(SHOWN)]
    more = [f"{len(counts) - SHOWN} more kinds of node"] if len(counts) > SHOWN else []
    return f"{counts.total()} nodes ran elsewhere than on {provider}: {', '.join(kinds + more)}"


def assigned_nodes(session: Any) -> Iterator[Node]:
    """Every node, as a session of ONNX Runtime 1.24 and later recorded its partitioning."""
    for part in session.get_provider_graph_assignment_info():
        yield from (Node(node.name, part.ep_name, node.op_type) for node in part.get_nodes())


def profiled_nodes(
    model: Path, threads: int, providers: Providers, feed: Mapping[str, Any]
) -> Iterator[tuple[Node, bool]]:
    """Every node, and whether it computes shapes alone, from the profile of one inference.

    In another session: profiling would slow down the timed one. Fusions are kept out of it, so that nodes keep names.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="vlm-profile-") as folder:
        options = session_options(threads, {})
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        session = opened(model, options, providers)
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            said = event["args"]
            name = event["name"].removesuffix("_kernel_time")
            unnamed = name == f"{said['op_name']}_{said.get('node_index')}"  # ONNX Runtime makes a name up
            yield Node("" if unnamed else name, said["provider"], said["op_name"]), _shapes_alone(said)


def _shapes_alone(said: Mapping[str, Any]) -> bool:
    """Whether all that a node read and wrote were a few numbers in a row, as shapes are and images are not."""
    tensors = [*said.get("input_type_shape", []), *said.get("output_type_shape", [])]
    shapes = [shape for tensor in tensors for shape in tensor.values()]
    return bool(shapes) and all(len(shape) <= 1 and prod(shape) <= SMALL for shape in shapes)


def _key(node: Node) -> str:
    """By which a node is found in another session: its name, or its operator where it has none."""
    return node.name or f" {node.operator}"
