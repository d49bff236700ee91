"""TensorRT engines."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import (
    BOTH_WAYS,
    CUDA_GRAPH,
    Base,
    PerThread,
    check_options,
    first_installed,
    missing,
    shapes_of,
    version_of,
)
from vlm_profile.runtimes._cuda import Cuda, installed_cuda, no_package
from vlm_profile.runtimes._device_memory import DeviceMemory, no_driver

if TYPE_CHECKING:
    from vlm_export.tensorrt.api import TensorRT

# Of TensorRT's element types, those that numpy has. By name: the numbers differ between versions.
_NUMPY_NAME = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}


class Runtime(Base):
    """An engine on the first GPU. It is native code: whoever asks for this has checked its sha256.

    A call copies in, computes and copies out on one stream, by way of locked memory, and waits for the end. A CUDA
    graph holds the computing alone.
    """

    name: ClassVar[str] = "tensorrt"
    distribution: ClassVar[str] = first_installed("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
    extra: ClassVar[str] = "trt"
    formats: ClassVar[tuple[str, ...]] = ("engine",)
    device: ClassVar[str] = "cuda"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        from vlm_export.tensorrt.api import TensorRT

        check_options(self.name, options, (CUDA_GRAPH,))
        self._graph = bool(options.get(CUDA_GRAPH, False))
        self._taken = DeviceMemory()
        with ExitStack() as held:
            self._api = TensorRT.installed("tensorrt")
            self._cuda = installed_cuda()
            held.callback(self._cuda.close)
            self._context_bytes, free = self._taken.taken(), self._cuda.free_bytes()
            self._engine = self._api.loaded(model.read_bytes())
            held.callback(self.__dict__.pop, "_engine")
            self._loaded_bytes = free - self._cuda.free_bytes()
            self.inputs, self.outputs = specs_of(self._api, self._engine)
            self._held = held.pop_all()
        self._lanes = PerThread(self._lane)
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, self._api.module.__version__),
            provider=self._api.name,
            options={CUDA_GRAPH: self._graph, "cuda": self._cuda.name},
        )

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @staticmethod
    def import_library() -> None:
        import numpy  # noqa: F401
        import tensorrt  # noqa: F401

    @staticmethod
    def unusable() -> str:
        return no_driver() or missing("trt", tensorrt="tensorrt") or no_package()

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._lanes.mine().run(feed)

    def device_ns(self) -> int | None:
        return self._lanes.mine().device_ns()

    def memory(self) -> Mapping[str, int]:
        found = {
            "engine weights": self._api.weights_bytes(self._engine),
            "engine activations": self._api.activation_bytes(self._engine),
            "engine as loaded, by free memory": self._loaded_bytes,
            "inputs and outputs": self._lanes.mine().bytes,
            "CUDA context": self._context_bytes,
        }
        return {**{source: size for source, size in found.items() if size is not None}, **self._taken.peak()}

    def _lane(self) -> "Lane":
        lane = Lane(self._api, self._cuda, self._engine, (self.inputs, self.outputs), graph=self._graph)
        self._held.callback(lane.close)
        return lane


class Lane:
    """One thread's execution context, with its stream, its events, and places for one shape of inputs at a time."""

    def __init__(
        self,
        api: "TensorRT",
        cuda: Cuda,
        engine: Any,
        tensors: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        *,
        graph: bool,
    ) -> None:
        self._api, self._cuda, self._graph = api, cuda, graph
        self._inputs, self._outputs = tensors
        self._held, self._places = ExitStack(), ExitStack()
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        self.bytes = 0  # on the device, of inputs and outputs
        self._context = api.tried("make an execution context", engine.create_execution_context)
        self._held.callback(self.__dict__.pop, "_context")
        self._stream = self._held.enter_context(cuda.stream())
        self._begin, self._end = (self._held.enter_context(cuda.event()) for _ in range(2))

    def close(self) -> None:
        self._places.close()
        self._held.close()

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        """One inference."""
        if shapes_of(feed) != self._shapes:
            self._prepare(feed)
        cuda, stream = self._cuda, self._stream
        for tensor in self._inputs:
            array = self._arrays[tensor.name]
            array[...] = feed[tensor.name]
            cuda.to_device(self._addresses[tensor.name], array, stream)
        cuda.record(self._begin, stream)
        self._compute()
        cuda.record(self._end, stream)
        for tensor in self._outputs:
            cuda.to_host(self._arrays[tensor.name], self._addresses[tensor.name], stream)
        cuda.wait(stream)
        return [self._arrays[tensor.name].copy() for tensor in self._outputs]  # locked memory goes with the lane

    def device_ns(self) -> int:
        return self._cuda.elapsed_ns(self._begin, self._end)

    def _prepare(self, feed: Mapping[str, Any]) -> None:
        """Places for these shapes, in which the engine has run once; then a graph, where one is wanted."""
        self._places.close()
        self._shapes, self._compute = None, self._enqueue
        self._arrays, self._addresses = dict[str, Any](), dict[str, int]()
        for tensor in self._inputs:
            shape = feed[tensor.name].shape
            self._api.tried(f"take {tensor.name!r} {shape}", self._context.set_input_shape, tensor.name, shape)
        for tensor in (*self._inputs, *self._outputs):
            self._place(tensor)
        self.bytes = sum(array.nbytes for array in self._arrays.values())
        self._enqueue()
        self._cuda.wait(self._stream)
        if self._graph:
            self._compute = self._places.enter_context(self._cuda.graph(self._stream, self._enqueue))
        self._shapes = shapes_of(feed)

    def _place(self, tensor: TensorSpec) -> None:
        """Locked host memory and device memory for one tensor. Raises CheckFailed where its shape is not known."""
        shape = tuple(self._context.get_tensor_shape(tensor.name))
        if any(size < 0 for size in shape):
            raise CheckFailed(f"The shape of {tensor.name!r} depends on the data: {shape}; it has no place to stand.")
        array = self._places.enter_context(self._cuda.host_memory(shape, tensor.dtype))
        address = self._places.enter_context(self._cuda.device_memory(array.nbytes))
        self._arrays[tensor.name], self._addresses[tensor.name] = array, address
        self._api.tried("bind its tensors", self._context.set_tensor_address, tensor.name, address)

    def _enqueue(self) -> None:
        self._api.tried("run the engine", self._context.execute_async_v3, self._cuda.handle(self._stream))


def specs_of(api: "TensorRT", engine: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs, in the engine's order. A dynamic first dimension is the batch; engines keep no names."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == api.module.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]
    return tuple(_specs(engine, inputs)), tuple(_specs(engine, outputs))


def _specs(engine: Any, names: list[str]) -> Iterator[TensorSpec]:
    for name in names:
        sizes = tuple(engine.get_tensor_shape(name))
        shape = tuple(size if size >= 0 else "?" if axis else "batch" for axis, size in enumerate(sizes))
        element = engine.get_tensor_dtype(name).name
        if element not in _NUMPY_NAME:
            raise CheckFailed(f"Tensor {name!r} holds {element}, which numpy has not.")
        yield TensorSpec(name, shape, _NUMPY_NAME[element])
