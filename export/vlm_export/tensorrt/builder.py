"""From an ONNX graph to a TensorRT engine: the stage, read top to bottom."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import read_regular_file, write_whole
from vlm_contract.manifest import Engine
from vlm_export.tensorrt.api import Flavor, Precision, TensorRT
from vlm_export.tensorrt.device import identity

Tell: TypeAlias = Callable[[str], None]
Measure: TypeAlias = Callable[[bytes], tuple[float, npt.NDArray[Any]]]  # median latency in ms, outputs

GRAPH_LIMIT_BYTES = 2 * 2**30  # of a protobuf message
TIMINGS_LIMIT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Wanted:
    """What an engine shall be."""

    flavor: Flavor
    precision: Precision
    batches: tuple[int, int, int]  # least, the one to optimise for, most; of no effect on a graph with a fixed batch
    workspace_limit_bytes: int | None = None
    timing_cache: Path | None = None  # of this device; TensorRT-RTX keeps none
    builds: int = 1
    compute_capabilities: tuple[str, ...] = ()  # TensorRT-RTX: GPUs to build for, "75" for SM75; none: its default


@dataclass(frozen=True)
class Built:
    """An engine, and what is known of it."""

    engine: bytes
    layers: str | Absent  # JSON, of TensorRT's inspector
    record: Engine


@dataclass(frozen=True)
class Build:
    """One build, and what the builder noted."""

    engine: bytes
    build_s: float
    timings: bytes | None  # the timing cache after it
    weights_bytes: int | None
    activation_bytes: int | None


def engine_from_onnx(onnx: bytes | Path, wanted: Wanted, tell: Tell, measure: Measure | None = None) -> Built:
    """Build, several times if wanted, keep the fastest by `measure`, and describe it.

    TensorRT is native code: call this in a child process, as the first in it that touches CUDA. Raises CheckFailed with
    TensorRT's own words where it refuses the graph; VlmError where the package is missing, or a GPU to compare on.
    """
    api = TensorRT.installed(wanted.flavor)
    if wanted.builds > 1 and measure is None:
        raise VlmError(
            "Several builds are compared on the GPU they are for, and there is none here.", hint="--builds 1"
        )
    graph = onnx if isinstance(onnx, bytes) else read_regular_file(onnx, limit_bytes=GRAPH_LIMIT_BYTES)
    builds = [build(api, graph, wanted, tell) for _ in range(wanted.builds)]
    measured = [measure(one.engine) for one in builds] if measure and wanted.builds > 1 else []
    latencies = tuple(latency for latency, _ in measured)
    chosen = latencies.index(min(latencies)) if latencies else 0
    keep_timings(builds[chosen], wanted)
    return described(api, builds, chosen, latencies, output_spread([outputs for _, outputs in measured]), wanted)


def build(api: TensorRT, graph: bytes, wanted: Wanted, tell: Tell) -> Build:
    """Build once."""
    api.log.forget()
    builder = api.builder()
    network, config = network_and_config(api, builder, graph, wanted)
    if wanted.compute_capabilities:
        api.set_targets(config, wanted.compute_capabilities)
    add_profile(api, builder, network, config, wanted.batches)
    if keeps_timings(wanted):
        use_kept_timings(api, config, wanted, tell)
    began = time.perf_counter()
    engine = api.built(builder, network, config, tell)
    return Build(
        engine=engine,
        build_s=time.perf_counter() - began,
        timings=api.timings(config) if keeps_timings(wanted) else None,
        weights_bytes=api.log.bytes_of("Total Weights Memory"),
        activation_bytes=api.log.bytes_of("Total Activation Memory"),
    )


def network_and_config(api: TensorRT, builder: Any, graph: bytes, wanted: Wanted) -> tuple[Any, Any]:
    """The parsed graph; its precision comes from the graph where that carries it, else from the builder's flag.

    Raises CheckFailed where neither can give it: INT8 needs the graph's scales, and TensorRT 11 has no flags.
    """
    config = api.config(builder, wanted.precision, wanted.workspace_limit_bytes)
    flag, typed = api.precision_flag(wanted.precision), api.can_be_strongly_typed()
    network = api.parsed(builder, graph, strongly_typed=typed)
    carried = api.carries(network, wanted.precision)
    if not carried and (flag is None or wanted.precision == "int8"):
        precision = wanted.precision.upper()
        raise CheckFailed(f"{api.name} takes {precision} from the graph, and this graph is not {precision}.")
    if typed and carried:
        return network, config
    if flag is not None:
        config.set_flag(flag)
    return (api.parsed(builder, graph, strongly_typed=False) if typed else network), config


def add_profile(api: TensorRT, builder: Any, network: Any, config: Any, batches: tuple[int, int, int]) -> None:
    """Tell the builder which batches to expect at inputs with a dynamic first dimension; a fixed graph gets none."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    shapes = {one.name: tuple(one.shape) for one in inputs}
    dynamic = {name: shape[1:] for name, shape in shapes.items() if shape[:1] == (-1,)}
    for name, shape in shapes.items():
        if -1 in shape[1:]:
            raise VlmError(f"Input {name!r} is {list(shape)}: an engine takes a dynamic first dimension, and no other.")
    if not dynamic:
        return
    profile = api.tried("make an optimisation profile", builder.create_optimization_profile)
    for name, image in dynamic.items():
        try:
            profile.set_shape(name, *((batch, *image) for batch in batches))
        except ValueError as error:
            raise api.failure(f"take the batches {batches}", str(error)) from error
    api.tried("add the optimisation profile", config.add_optimization_profile, profile)


def keeps_timings(wanted: Wanted) -> bool:
    """TensorRT-RTX compiles on the user's device, so it times no tactics; its timing cache does nothing."""
    return wanted.flavor == "tensorrt" and wanted.timing_cache is not None


def use_kept_timings(api: TensorRT, config: Any, wanted: Wanted, tell: Tell) -> None:
    """Start from the timings of an earlier build, unless several are wanted: they would make all of those the same."""
    timings = b"" if wanted.builds > 1 else kept_timings(wanted.timing_cache, tell)
    if not api.use_timings(config, timings):
        tell(f"{wanted.timing_cache} is of another device or version and is not used")
        api.log.forget()


def kept_timings(file: Path | None, tell: Tell) -> bytes:
    """What the timing cache holds; empty where it cannot be read."""
    if file is None or not file.exists():
        return b""
    try:
        return read_regular_file(file, limit_bytes=TIMINGS_LIMIT_BYTES)
    except VlmError as error:
        tell(f"{error} It is not used.")
        return b""


def keep_timings(build: Build, wanted: Wanted) -> None:
    """Write the timings of the engine that is kept: the next build that starts from them gives the same tactics."""
    if wanted.timing_cache is not None and build.timings is not None:
        write_whole(wanted.timing_cache, build.timings)


def output_spread(outputs: Sequence[npt.NDArray[Any]]) -> float | Absent:
    """The largest difference of one logit between builds, all run on the same images."""
    if not outputs:
        return Absent("built once")
    return float(np.ptp(np.stack(outputs).astype(np.float64), axis=0).max())


def described(
    api: TensorRT,
    builds: Sequence[Build],
    chosen: int,
    latencies: tuple[float, ...],
    spread: float | Absent,
    wanted: Wanted,
) -> Built:
    """The build that is kept: what the loaded engine tells, or the builder's notes where it cannot be loaded."""
    kept = builds[chosen]
    here = identity(api)
    layers: str | Absent
    api.log.forget()
    try:
        engine = api.loaded(kept.engine)
        layers, weights, activations = api.layers(engine), api.weights_bytes(engine), api.activation_bytes(engine)
    except CheckFailed as error:
        layers, weights, activations = Absent(str(error)), None, None
    unknown = Absent(f"{api.name} told nothing of it")
    limit, cache = wanted.workspace_limit_bytes, wanted.timing_cache
    record = Engine(
        flavor=wanted.flavor,
        built_by="python",
        device=ahead_of_time(wanted) or here.device,
        weights_bytes=weights or kept.weights_bytes or unknown,
        activation_bytes=activations or kept.activation_bytes or unknown,
        workspace_limit_bytes=Absent("no limit was asked for") if limit is None else limit,
        timing_cache=str(cache) if keeps_timings(wanted) else Absent("no timings are kept"),
        build_s=tuple(one.build_s for one in builds),
        latency_ms=latencies or Absent("built once"),
        output_spread=spread,
        chosen=chosen,
    )
    return Built(kept.engine, layers, record)


def ahead_of_time(wanted: Wanted) -> Absent | None:
    """Why no GPU built an engine for TensorRT-RTX, which compiles what is left of it on the device."""
    targets = ", ".join(f"SM{capability}" for capability in wanted.compute_capabilities) or "its default GPUs"
    return Absent(f"built ahead of time, for {targets}") if wanted.flavor == "rtx" else None
