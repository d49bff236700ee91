"""One code path over the Python APIs of TensorRT 8.5 to 11 and of TensorRT-RTX.

What a version offers is looked up by name on its module, never by the number of its version or of a flag: the numbers
behind the flags differ. A call that fails answers None or False and writes to the log; `TensorRT.tried` makes an error
of it.
"""

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from vlm_contract.console import require_extra
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.progress import monitor_of

Flavor: TypeAlias = Literal["tensorrt", "rtx"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

_MODULES = {"tensorrt": ("tensorrt", "trt"), "rtx": ("tensorrt_rtx", "trt-rtx")}
_NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}
_FLAGS = {"fp16": "FP16", "int8": "INT8"}  # of BuilderFlag, gone in TensorRT 11
_SHOWN = 3  # lines of the log in an error


class Log:
    """What TensorRT said, gathered for the next error."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.notes: list[str] = []

    def write(self, severity: str, text: str) -> None:
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(text)
        elif severity == "INFO":
            self.notes.append(text)

    def forget(self) -> None:
        self.errors.clear()
        self.notes.clear()

    def last_errors(self) -> str:
        """The last errors as one line, each once."""
        return last_of(self.errors)

    def bytes_of(self, title: str) -> int | None:
        """The largest figure that the builder's notes give after `title`, such as "Total Weights Memory"."""
        return largest_after(title, "\n".join(self.notes))


def last_of(errors: Sequence[str]) -> str:
    """The last errors of a log as one line, each once; empty where there are none."""
    return "; ".join(" ".join(text.split()) for text in dict.fromkeys(errors[-_SHOWN:]))


def largest_after(title: str, log: str) -> int | None:
    """The largest figure that a log gives after a title: tactics are tried, and each has its own."""
    return max(map(int, re.findall(rf"{title}: (\d+)", log)), default=None)


class TensorRT:
    """One version of TensorRT, and what it can do by the names that it has."""

    def __init__(self, flavor: Flavor, module: Any) -> None:
        self.flavor = flavor
        self.module = module
        self.name = f"{_NAMES[flavor]} {module.__version__}"
        self.log, self._logger = _logger(module)
        self._timing_cache: Any = None

    @classmethod
    def installed(cls, flavor: Flavor) -> "TensorRT":
        """The version that can be imported here. Raises VlmError naming the extra where there is none."""
        module, extra = _MODULES[flavor]
        try:
            return cls(flavor, importlib.import_module(module))
        except ImportError as error:
            if error.name == module:
                raise require_extra(extra, error) from None
            raise VlmError(
                f"{_NAMES[flavor]} cannot be imported: {error}.", hint=f"pip install 'vlm-edge[{extra}]'"
            ) from None

    def tried(self, doing: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call returns. Raises CheckFailed with TensorRT's own last errors where it failed.

        A constructor that gives null is a TypeError of pybind11.
        """
        try:
            result = call(*arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise self.failure(doing, str(error)) from error
        if result is None or result is False or (type(result) is int and result < 0):
            raise self.failure(doing)
        return result

    def failure(self, doing: str, fallback: str = "it gave no reason") -> CheckFailed:
        """The error for something that TensorRT did not do."""
        return CheckFailed(f"{self.name} could not {doing}: {self.log.last_errors() or fallback}")

    def builder(self) -> Any:
        return self.tried("start a builder", self.module.Builder, self._logger)

    def can_be_strongly_typed(self) -> bool:
        """Whether a network can take its precisions from the graph."""
        return hasattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def precision_flag(self, precision: Precision) -> Any:
        """The builder's flag for a precision; None where there is none, or none is needed."""
        return getattr(self.module.BuilderFlag, _FLAGS.get(precision, ""), None)

    def parsed(self, builder: Any, onnx: bytes, *, strongly_typed: bool) -> Any:
        """A network with the graph in it. Raises CheckFailed with the parser's words and the node."""
        wanted = ["EXPLICIT_BATCH", "STRONGLY_TYPED"] if strongly_typed else ["EXPLICIT_BATCH"]
        flags = self.module.NetworkDefinitionCreationFlag
        bits = [1 << int(getattr(flags, name)) for name in wanted if hasattr(flags, name)]
        network = self.tried("make a network", builder.create_network, sum(bits))
        parser = self.tried("start its ONNX parser", self.module.OnnxParser, network, self._logger)
        if not parser.parse(onnx):
            self.log.errors = [_complaint(parser.get_error(i)) for i in range(parser.num_errors)] or self.log.errors
            raise self.failure("read the graph")
        return network

    def carries(self, network: Any, precision: Precision) -> bool:
        """Whether a parsed graph is itself in a precision: FP16 tensors, or quantising layers."""
        layers = [network.get_layer(i) for i in range(network.num_layers)]
        if precision == "int8":
            return any(layer.type == self.module.LayerType.QUANTIZE for layer in layers)
        half = self.module.DataType.HALF
        outputs = (layer.get_output(i) for layer in layers for i in range(layer.num_outputs))
        return precision == "fp32" or any(output.dtype == half for output in outputs)

    def config(self, builder: Any, precision: Precision, workspace_limit_bytes: int | None) -> Any:
        """A builder's configuration that keeps all layer information. FP32 means FP32: TF32 is switched off there."""
        config = self.tried("make a configuration", builder.create_builder_config)
        config.profiling_verbosity = self.module.ProfilingVerbosity.DETAILED
        if precision == "fp32":
            config.clear_flag(self.module.BuilderFlag.TF32)
        if workspace_limit_bytes is not None:
            config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, workspace_limit_bytes)
        return config

    def set_targets(self, config: Any, capabilities: Sequence[str]) -> None:
        """Build for GPUs that are not here, by compute capability ("75"). Raises VlmError where that cannot be."""
        if not hasattr(self.module, "ComputeCapability"):
            raise VlmError(f"{self.name} builds for the GPU that it runs on, and for no other.", hint="--flavor rtx")
        known = [name for name in self.module.ComputeCapability.__members__ if name.startswith("SM")]
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            if f"SM{capability}" not in known:
                raise VlmError(
                    f"{self.name} builds for {', '.join(known)}; it knows no SM{capability}.",
                    hint="name a compute capability without its dot, such as 75",
                )
            target = getattr(self.module.ComputeCapability, f"SM{capability}")
            self.tried(f"build for SM{capability}", config.set_compute_capability, target, index)

    def use_timings(self, config: Any, timings: bytes) -> bool:
        """Give a configuration a timing cache; whether `timings` fitted this device and version.

        Where they did not, the cache starts empty. TensorRT does not own it: it must outlive the build.
        """
        for content in (timings, b""):
            # False: a cache of another device is refused, where True would take its timings for this one's.
            with suppress(CheckFailed):
                self._timing_cache = self.tried("read the timing cache", config.create_timing_cache, content)
                self.tried("use the timing cache", config.set_timing_cache, self._timing_cache, False)
                return content == timings
        raise self.failure("make a timing cache")

    def timings(self, config: Any) -> bytes:
        """The timing cache of a configuration, as it stands after a build."""
        return bytes(self.tried("write the timing cache", config.get_timing_cache().serialize))

    def built(self, builder: Any, network: Any, config: Any, tell: Callable[[str], None]) -> bytes:
        """The engine. Raises CheckFailed with the builder's last errors.

        TensorRT calls back into Python, and swallows a KeyboardInterrupt that is raised there. So it builds in a
        thread, where none can arise, and an interrupt cancels the build where the version can (10 and later).
        """
        monitor = monitor_of(self.module, tell)
        if monitor is not None:
            config.progress_monitor = monitor
        with ThreadPoolExecutor(1) as pool:
            try:
                building = pool.submit(builder.build_serialized_network, network, config)
                return bytes(self.tried("build the engine", building.result))
            except KeyboardInterrupt:
                if monitor is not None:
                    monitor.cancelled = True
                raise

    def loaded(self, engine: bytes) -> Any:
        """The engine on this machine's GPU; it may hold no code for the CPU. Raises CheckFailed without a GPU."""
        runtime = self.tried("start its runtime", self.module.Runtime, self._logger)
        return self.tried("load the engine", runtime.deserialize_cuda_engine, engine)

    def layers(self, engine: Any) -> str:
        """What a loaded engine's layers are, as JSON text."""
        inspector = self.tried("inspect the engine", engine.create_engine_inspector)
        json_format = self.module.LayerInformationFormat.JSON
        return str(self.tried("inspect the engine", inspector.get_engine_information, json_format))

    def activation_bytes(self, engine: Any) -> int:
        """Device memory that one execution context of a loaded engine needs."""
        newest = "device_memory_size_v2"
        return int(getattr(engine, newest) if hasattr(engine, newest) else engine.device_memory_size)

    def weights_bytes(self, engine: Any) -> int | None:
        """Weights of a loaded engine; None before TensorRT 11, where only the builder's notes tell."""
        if not hasattr(engine, "get_engine_stat"):
            return None
        found = int(engine.get_engine_stat(self.module.EngineStat.TOTAL_WEIGHTS_SIZE))
        return found if found > 0 else None


def _complaint(error: Any) -> str:
    """A parser's error with the node it speaks of; 8.x knows the node's number only."""
    if hasattr(error, "node_operator") and error.node_operator():
        return f"{error.node_operator()} {error.node_name()!r}: {error.desc()}"
    return f"node {error.node()}: {error.desc()}" if error.node() >= 0 else str(error.desc())


@functools.cache
def _logger(module: Any) -> tuple[Log, Any]:
    """A module's one logger: TensorRT keeps the first that it is given, and ignores every later one."""
    log = Log()

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # pybind11 refuses super().__init__() in a class with a trampoline

        def log(self, severity: Any, msg: str) -> None:
            log.write(severity.name, msg)

    return log, Logger()
