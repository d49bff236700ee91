"""The flags of one measuring run, all of them explicit: TensorRT 11 turned the defaults of three round.

Sources: `trtexec --help` of 8.2, 8.5, 8.6, 10.6 and 11.0; samples/common/sampleOptions.cpp and sampleInference.cpp of
https://github.com/NVIDIA/TensorRT.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_contract.manifest import TensorSpec
from vlm_export.tensorrt.trtexec import numbers, quoted

ALL_AVERAGED = 1_000_000  # calls to a line of averages: of fewer, the log of a fast model has thousands of lines


@dataclass(frozen=True)
class Dialect:
    """What a range of versions calls things."""

    first: tuple[int, ...]  # version of the range
    streams: str
    always: tuple[str, ...]  # copies in and out, and a CPU that spins while it waits
    graph: tuple[str, ...]  # with a CUDA graph
    no_graph: tuple[str, ...]  # without


DIALECTS = (
    Dialect((0,), "--streams", ("--useSpinWait",), ("--useCudaGraph",), ()),
    Dialect((8, 6), "--infStreams", ("--useSpinWait",), ("--useCudaGraph",), ()),
    Dialect((11,), "--infStreams", ("--includeDataTransfers",), (), ("--noCudaGraph",)),
)


@dataclass(frozen=True)
class Loop:
    """How long to measure, and how."""

    warmup_s: float
    seconds: float  # at least, after the warm-up
    iterations: int  # at least
    streams: int
    cuda_graph: bool


@dataclass(frozen=True)
class Files:
    """Of one run, as trtexec finds them."""

    engine: str
    inputs: tuple[str, ...]  # of raw numbers, in the order of the model's inputs
    times: str  # to write
    outputs: str  # to write


def measure_command(trtexec: str, version: str, files: Files, inputs: Sequence[TensorSpec], loop: Loop) -> list[str]:
    """The words that make trtexec of a version time an engine with these inputs, every dimension of them known.

    --exposeDMA has each stream wait for the end of a call before it begins the next one; without it trtexec copies the
    next input meanwhile, and calls overlap. Several streams have a thread each, so that none waits for another.
    """
    dialect = dialect_of(version)
    values = zip(inputs, files.inputs, strict=True)
    return [
        trtexec,
        f"--loadEngine={files.engine}",
        f"--shapes={','.join(shape_of(tensor) for tensor in inputs)}",
        f"--loadInputs={','.join(f'{quoted(tensor.name)}:{path}' for tensor, path in values)}",
        f"--warmUp={round(loop.warmup_s * 1e3)}",
        f"--duration={loop.seconds:g}",
        f"--iterations={loop.iterations}",
        f"{dialect.streams}={loop.streams}",
        *(["--threads"] if loop.streams > 1 else []),
        "--exposeDMA",
        *dialect.always,
        *(dialect.graph if loop.cuda_graph else dialect.no_graph),
        "--sleepTime=0",
        "--idleTime=0",
        f"--avgRuns={ALL_AVERAGED}",
        "--percentile=99",
        f"--exportTimes={files.times}",
        f"--exportOutput={files.outputs}",
    ]


def dialect_of(version: str) -> Dialect:
    """The newest range that a version is in."""
    return max((each for each in DIALECTS if each.first <= numbers(version)), key=lambda each: each.first)


def shape_of(tensor: TensorSpec) -> str:
    """ "images:8x3x32x32"; a scalar has nothing behind the colon."""
    return f"{quoted(tensor.name)}:{'x'.join(map(str, tensor.shape))}"


def misunderstood(log: str, loop: Loop) -> str:
    """What trtexec says that it does, where that is not what it was told; empty where it is.

    It lists its options before it begins. One that it no longer lists cannot be checked.
    """
    expected = {
        "ExposeDMA": "Enabled",
        "Data transfers": "Enabled",
        "Spin-wait": "Enabled",
        "CUDA Graph": "Enabled" if loop.cuda_graph else "Disabled",
        "(?:Inference )?Streams": str(loop.streams),
    }
    said = {name: re.search(rf"\] ({name}: (\S+))$", log, re.MULTILINE) for name in expected}
    return ", ".join(found[1] for name, found in said.items() if found and found[2] != expected[name])
