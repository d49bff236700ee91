"""What the execution providers of ONNX Runtime share: a session, its tensors, and which provider runs which node."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.runtimes._base import PerThread, missing, shapes_of
from vlm_profile.runtimes._device_memory import no_driver

CPU = "CPUExecutionProvider"
SHOWN = 3  # kinds of node in a sentence
# Names of ONNX Runtime's element types that are not numpy's own.
_NUMPY_NAME = {"float": "float32", "double": "float64"}
_RECORD_NODES = {"session.record_ep_graph_assignment_info": "1"}  # read from 1.24 on; unknown entries are let be

Providers = Sequence[tuple[str, Mapping[str, str]]]


def import_library() -> None:
    import numpy  # noqa: F401
    import onnxruntime  # noqa: F401


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
        import onnxruntime

        self._model, self._threads, self.provider = model, threads, provider
        self._providers: Providers = ((provider, options), (CPU, {}))
        self._session = onnxruntime.InferenceSession(
            str(model), session_options(threads, _RECORD_NODES), providers=list(self._providers)
        )
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
        return self._places.mine().run(feed)

    def fallback(self) -> str:
        """In words, what ran on another provider than the one asked for; empty where nothing did."""
        if self.ran_by != self.provider:
            return f"{self.provider} did not start; {self.ran_by} ran the whole model"
        return elsewhere(self.provider, self._nodes())

    def _nodes(self) -> Iterator[tuple[str, str]]:
        if hasattr(self._session, "get_provider_graph_assignment_info"):
            return assigned_nodes(self._session)
        return profiled_nodes(self._model, self._threads, self._providers, self._last)


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


def elsewhere(provider: str, nodes: Iterator[tuple[str, str]]) -> str:
    """In words, which of the nodes, each a provider and an operator, ran on another provider; empty where none did."""
    counts = Counter((other, operator) for other, operator in nodes if other != provider)
    if not counts:
        return ""
    kinds = [f"{count} {operator} on {other}" for (other, operator), count in counts.most_common(SHOWN)]
    more = [f"{len(counts) - SHOWN} more kinds of node"] if len(counts) > SHOWN else []
    return f"{counts.total()} nodes ran elsewhere than on {provider}: {', '.join(kinds + more)}"


def assigned_nodes(session: Any) -> Iterator[tuple[str, str]]:
    """Provider and operator of each node, as a session of ONNX Runtime 1.24 and later recorded its partitioning."""
    for part in session.get_provider_graph_assignment_info():
        yield from ((part.ep_name, node.op_type) for node in part.get_nodes())


def profiled_nodes(
    model: Path, threads: int, providers: Providers, feed: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The same from the profile of one inference in another session: profiling would slow down the timed one."""
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="vlm-profile-") as folder:
        options = session_options(threads, {})
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        session = onnxruntime.InferenceSession(str(model), options, providers=list(providers))
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            yield event["args"]["provider"], event["args"]["op_name"]
