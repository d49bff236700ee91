"""Engines built on a board, over SSH, by the `trtexec` that JetPack ships."""

import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest, Engine, TensorSpec
from vlm_export.board_outputs import CALLS, outputs_on_board
from vlm_export.place import Images, Place, Tell
from vlm_export.tensorrt.api import largest_after
from vlm_export.tensorrt.builder import TIMINGS_LIMIT_BYTES, Built
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import BUILD_LIMIT_S, Made
from vlm_export.tensorrt.device import Identity
from vlm_export.tensorrt.printed import DIGITS
from vlm_export.tensorrt.trtexec import (
    JETPACK_FOLDER,
    QUESTION_LIMIT_S,
    Names,
    Tool,
    build_command,
    found,
    not_built,
    tool_on,
)
from vlm_export.wanted import Wanted
from vlm_targets.catalogue import Target, target_named
from vlm_targets.host import check_is_target
from vlm_targets.lock import locked
from vlm_targets.mirror import mirrored
from vlm_targets.ssh import Board, Done

ENGINE_LIMIT_BYTES = 4 * 2**30
LAYERS_LIMIT_BYTES = 256 * 2**20
ASSUMED_VERSION = "10.0"  # where the owner chooses


@contextmanager
def place_on_board(host: str, target: str = "host") -> Iterator[Place]:
    """The board at an address as a place where engines are built, and run on images.

    Raises VlmError where it cannot be reached, is in use, has no TensorRT or no GPU, or where it is not the target.
    """
    known = target_named(target)
    with Board(host) as board, locked(board, 0.0, LiveLine(quiet=True)):
        if known.name != "host":  # then nobody said what it is
            check_is_board_of(board, known)
        tool = tool_on(board)
        check_capability(tool.identity, known, host)
        yield Place(tool.identity, partial(engine_on_board, board, tool), CALLS)


def check_is_board_of(board: Board, target: Target) -> None:
    """Raise VlmError where a board's own files say that it is another: one GPU is that of several boards."""
    with tempfile.TemporaryDirectory(prefix="vlm-mirror-") as folder:
        check_is_target(board, target, mirrored(board, Path(folder)))


def check_capability(identity: Identity, target: Target, host: str) -> None:
    """Raise VlmError where a board's GPU is another than the target's, of which its files need say nothing."""
    expected = target.compute_capability
    if isinstance(expected, str) and expected != identity.compute_capability:
        raise VlmError(
            f"{host} is not {target.title}, whose compute capability is {expected}: "
            f"it has {identity.device}, of {identity.compute_capability}.",
            hint="--target with the name of that board, or --host with the address of another",
        )


def engine_on_board(
    board: Board, tool: Tool, onnx: Path, taken: TensorSpec, order: Order, images: Images, tell: Tell
) -> Made:
    """Send a graph that takes such images, build once, fetch the engine, and let it answer normalised images.

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
        raise not_built(done, tool, f"the engine on {board.address}")
    tell(f"fetching the engine from {board.address}")
    made = _fetched(board, tool, order, names, done, time.perf_counter() - began)
    outputs = outputs_on_board(images, board, tool, names.engine, taken, order.batches, tell)
    return replace(made, outputs=outputs, digits=DIGITS)


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
    built = found(r"Engine built in ([\d.]+) sec", done.out)
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
    size = largest_after(title, done.out)
    return Absent(f"trtexec {tool.version} told nothing of it") if size is None else size
