"""Engines built on a board, over SSH, by the `trtexec` that JetPack ships."""

import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import printable
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import ArtifactManifest, Engine, TensorSpec
from vlm_export.gates import numbers
from vlm_export.place import Place
from vlm_export.tensorrt.api import largest_after, last_of
from vlm_export.tensorrt.builder import TIMINGS_LIMIT_BYTES, Built
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import BUILD_LIMIT_S, Made
from vlm_export.tensorrt.device import Identity
from vlm_export.wanted import Wanted
from vlm_targets.catalogue import Target, target_named
from vlm_targets.ssh import Board, Done

JETPACK_FOLDER = "/usr/src/tensorrt/bin"  # which is on no PATH
QUESTION_LIMIT_S = 120.0  # loading CUDA takes a Jetson Nano half a minute
ENGINE_LIMIT_BYTES = 4 * 2**30
LAYERS_LIMIT_BYTES = 256 * 2**20
ASSUMED_VERSION = "10.0"  # where the owner chooses
# Before 8.4 trtexec leaves tactics 16 MiB unless told otherwise, and most of the fast ones do not fit.
OLD_WORKSPACE_MIB = 1024
_FIND = 'for it in "$(command -v trtexec)" "$1/trtexec"; do [ -x "$it" ] && printf %s "$it" && exit; done; exit 1'
_DESCRIBE = r"cat /proc/device-tree/model | tr -d '\0'; echo; head -n 1 /etc/nv_tegra_release"


@dataclass(frozen=True)
class Tool:
    """The trtexec of a board."""

    path: str
    version: str  # "10.3.0"
    identity: Identity


@dataclass(frozen=True)
class Names:
    """The files of one build, as trtexec finds them."""

    onnx: str
    engine: str
    layers: str | None = None  # to write: what the engine's layers are
    timings: str | None = None  # to read and write


@contextmanager
def place_on_board(host: str, target: str = "host") -> Iterator[Place]:
    """The board at an address as a place where engines are built.

    Raises VlmError where it cannot be reached, has no TensorRT or no GPU, or where it is not the target.
    """
    with Board(host) as board:
        tool = tool_on(board)
        check_is_target(tool.identity, target_named(target), host)
        yield Place(
            tool.identity, lambda onnx, taken, order, _, tell: engine_on_board(onnx, taken, board, tool, order, tell)
        )


def tool_on(board: Board) -> Tool:
    """Find trtexec, and let it say its version and its GPU. Raises VlmError where either is missing.

    Asked to load an engine that is not there, every version from 8.2 to 11 names both before it fails. Source: main()
    in samples/trtexec/trtexec.cpp of https://github.com/NVIDIA/TensorRT.
    """
    path = board.run(["sh", "-c", _FIND, "sh", JETPACK_FOLDER], QUESTION_LIMIT_S).out
    if not path:
        raise VlmError(
            f"{board.address} has no trtexec, neither on its PATH nor in {JETPACK_FOLDER}.",
            hint=f"ssh {shlex.quote(board.address)} sudo apt install tensorrt",
        )
    said = board.run([path, f"--loadEngine={board.folder}/none.engine"], QUESTION_LIMIT_S)
    version, gpu, capability = (
        _found(pattern, said.out)
        for pattern in (r"\[TensorRT v(\d+)\]", r"Selected Device: (.+)", r"Capability: ([\d.]+)")
    )
    if not version or not gpu or not capability:
        raise VlmError(f"{path} on {board.address} names no GPU: {last_errors(said)}")
    described = board.run(["sh", "-c", _DESCRIBE], QUESTION_LIMIT_S).out
    numbered = version_in_banner(int(version))
    return Tool(path, numbered, Identity(f"TensorRT {numbered}", device_name(gpu, described), capability))


def version_in_banner(banner: int) -> str:
    """ "8.2.1" of the 8201 in `[TensorRT v8201]`, "10.3.0" of 100300. From 10 on each number has two digits."""
    major, rest = divmod(banner, 1000 if banner < 10000 else 10000)
    return ".".join(map(str, (major, *divmod(rest, 100))))


def device_name(gpu: str, described: str) -> str:
    """The GPU, and the board that it is on: "Orin" is the GPU of eight modules.

    `described` has the device tree's model in its first line, and the first one of /etc/nv_tegra_release in its second.
    """
    model, _, release = described.partition("\n")
    numbered = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    known = [model.strip(), f"L4T {numbered[1]}.{numbered[2]}" if numbered else ""]
    words = ", ".join(word for word in known if word)
    return printable(f"{gpu.strip()} ({words})" if words else gpu.strip())[:200]


def check_is_target(identity: Identity, target: Target, host: str) -> None:
    """Raise VlmError where a board's GPU is another than the target's."""
    expected = target.compute_capability
    if isinstance(expected, str) and expected != identity.compute_capability:
        raise VlmError(
            f"{host} is not {target.title}, whose compute capability is {expected}: "
            f"it has {identity.device}, of {identity.compute_capability}.",
            hint="--target with the name of that board, or --host with the address of another",
        )


def engine_on_board(
    onnx: Path, taken: TensorSpec, board: Board, tool: Tool, order: Order, tell: Callable[[str], None]
) -> Made:
    """Send a graph that takes such images, build once, fetch the engine.

    Raises CheckFailed with trtexec's own words where it fails, and VlmError where the connection is lost.
    """
    folder = board.folder
    names = Names(f"{folder}/model.onnx", f"{folder}/model.engine", f"{folder}/layers.json", f"{folder}/timings")
    tell(f"sending {onnx.name} to {board.address}")
    board.push(onnx, names.onnx)
    if order.timing_cache is not None and order.timing_cache.exists():
        board.push(order.timing_cache, f"{folder}/timings")
    tell(f"{board.address} builds with {tool.identity.runtime}")
    began = time.perf_counter()
    done = board.run(build_command(tool.path, names, order, taken, tool.version), BUILD_LIMIT_S)
    if done.code != 0:
        raise _not_built(done, tool, board)
    tell(f"fetching the engine from {board.address}")
    return _fetched(board, tool, order, names, done, time.perf_counter() - began)


def build_command(trtexec: str, names: Names, order: Order, images: TensorSpec, version: str) -> list[str]:
    """The words that make trtexec of a version build one engine, and not measure it.

    Flags by version: `trtexec --help` of 8.2, 8.4, 8.5, 8.6 and 10.6; from 8 to 10 and from 10 to 11,
    https://docs.nvidia.com/deeplearning/tensorrt/latest/api/migration/tensorrt-8x-to-10x-trtexec.html and -10x-to-11x-.
    """
    since = numbers(version)
    words = [trtexec, f"--onnx={names.onnx}", f"--saveEngine={names.engine}"]
    words += _precision_flags(order.precision, since)
    words += _shape_flags(images, order.batches)
    words += _workspace_flags(order.workspace_limit_bytes, since)
    if names.timings:
        words.append(f"--timingCacheFile={names.timings}")
    if names.layers and since >= (8, 4):
        words += ["--profilingVerbosity=detailed", f"--exportLayerInfo={names.layers}"]
    return [*words, "--skipInference" if since >= (8, 6) else "--buildOnly"]


def build_script(graph: ArtifactManifest, wanted: Wanted) -> str:
    """A shell script that builds an engine from the ONNX file beside it, for a target that is not here."""
    target = target_named(wanted.target)
    version = target.tensorrt if isinstance(target.tensorrt, str) else ASSUMED_VERSION
    limit = wanted.workspace_mib
    order = Order(
        flavor="tensorrt",
        precision=graph.precision,
        batches=wanted.profile,
        workspace_limit_bytes=limit and limit * 2**20,
    )
    names = Names(graph.files[0].name, "model.engine", "layers.json")
    command = " \\\n    ".join(map(shlex.quote, build_command("trtexec", names, order, graph.inputs[0], version)))
    return f"""#!/bin/sh
# Builds the TensorRT engine of {graph.artifact} on {target.title}, whose TensorRT is taken to be {version}.
# Run it there, in a folder with {names.onnx}: an engine is of use on the device and version alone that built it.
set -eu
PATH=$PATH:{JETPACK_FOLDER}
{command}
"""


def _precision_flags(precision: str, since: tuple[int, ...]) -> list[str]:
    """From 10 on the graph's own types can be taken, and from 11 on are; before, a flag allows a precision."""
    if precision == "fp32":
        return ["--noTF32"]
    if since >= (11,):
        return []
    return ["--stronglyTyped"] if since >= (10,) else [f"--{precision}"]


def _shape_flags(images: TensorSpec, batches: tuple[int, int, int]) -> list[str]:
    """None for a fixed batch: trtexec refuses shapes for a model that has its own."""
    if isinstance(images.shape[0], int):
        return []
    rest = "x".join(map(str, images.shape[1:]))
    kinds = zip(("min", "opt", "max"), batches, strict=True)
    return [f"--{kind}Shapes={images.name}:{batch}x{rest}" for kind, batch in kinds]


def _workspace_flags(limit_bytes: int | None, since: tuple[int, ...]) -> list[str]:
    """In MiB, by the pool's name since 8.4."""
    if since < (8, 4):
        return [f"--workspace={(limit_bytes or OLD_WORKSPACE_MIB * 2**20) // 2**20}"]
    return [f"--memPoolSize=workspace:{limit_bytes // 2**20}"] if limit_bytes else []


def _fetched(board: Board, tool: Tool, order: Order, names: Names, done: Done, seconds: float) -> Made:
    with tempfile.TemporaryDirectory(prefix="vlm-engine-") as folder:
        engine, layers = Path(folder) / "engine", Path(folder) / "layers"
        board.pull(names.engine, engine, ENGINE_LIMIT_BYTES)
        if order.timing_cache is not None:
            _pull_if_written(board, names.timings, order.timing_cache, TIMINGS_LIMIT_BYTES)
        written = _pull_if_written(board, names.layers, layers, LAYERS_LIMIT_BYTES)
        told = layers.read_text(errors="replace") if written else Absent(f"trtexec {tool.version} wrote none")
        return Made(Built(engine.read_bytes(), told, _record(tool, order, done, seconds)), tool.identity, None)


def _pull_if_written(board: Board, remote: str | None, path: Path, limit_bytes: int) -> bool:
    """Whether the board has that file; then it is at `path`."""
    if remote is None or board.run(["test", "-s", remote], QUESTION_LIMIT_S).code != 0:
        return False
    board.pull(remote, path, limit_bytes)
    return True


def _record(tool: Tool, order: Order, done: Done, seconds: float) -> Engine:
    limit, cache = order.workspace_limit_bytes, order.timing_cache
    built = _found(r"Engine built in ([\d.]+) sec", done.out)
    return Engine(
        flavor="tensorrt",
        built_by="trtexec",
        device=tool.identity.device,
        weights_bytes=_bytes_of("Total Weights Memory", done, tool),
        activation_bytes=_bytes_of("Total Activation Memory", done, tool),
        workspace_limit_bytes=Absent("no limit was asked for") if limit is None else limit,
        timing_cache=Absent("no timings are kept") if cache is None else str(cache),
        build_s=(float(built) if built else seconds,),
        latency_ms=Absent("built once"),
        output_spread=Absent("built once"),
        chosen=0,
    )


def _bytes_of(title: str, done: Done, tool: Tool) -> int | Absent:
    found = largest_after(title, done.out)
    return Absent(f"trtexec {tool.version} told nothing of it") if found is None else found


def _not_built(done: Done, tool: Tool, board: Board) -> CheckFailed:
    who = f"trtexec {tool.version} on {board.address}"
    if done.code == 128 + 9:
        return CheckFailed(
            f"{who} was killed, as is done to what takes the last of a board's memory.",
            hint="--batch with smaller ones, --workspace-mib with less, or end what else runs there",
        )
    return CheckFailed(f"{who} could not build the engine (code {done.code}): {last_errors(done)}")


def last_errors(done: Done) -> str:
    """The last errors of trtexec's log; where it has none, its last lines."""
    errors = re.findall(r"\[E\] (.+)", done.out + done.err) or (done.err or done.out).strip().splitlines()
    return last_of(errors)[:600] or "it gave no reason"


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
