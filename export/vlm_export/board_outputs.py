"""What an engine answers on its board: images go there as raw files, its outputs come back as trtexec prints them."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlm_contract.console import printable
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_export.parity import Logits
from vlm_export.place import Images
from vlm_export.tensorrt.printed import LIMIT_BYTES, Printed, printed_outputs
from vlm_export.tensorrt.trtexec import QUESTION_LIMIT_S, Tool, last_errors, numbers, quoted
from vlm_targets.reach import Machine

CALLS = 16  # processes of trtexec, one a batch: each takes a Jetson seconds to load CUDA and the engine
RUN_LIMIT_S = 600.0
HERE = "this machine"


def outputs_on_board(
    images: Images,
    board: Machine,
    tool: Tool,
    engine: str,
    taken: TensorSpec,
    batches: tuple[int, int, int],
    tell: Callable[[str], None],
) -> Logits:
    """Outputs [n, classes] for normalised images [n, c, h, w], in batches as large as the engine takes.

    The last batch is filled by repeating. Raises CheckFailed where the engine does not run there, or where what comes
    back is no output of such images; and VlmError where the connection is lost.
    """
    batch = max(batches[0], min(batches[-1], len(images)))
    starts, parts = range(0, len(images), batch), []
    for number, start in enumerate(starts, 1):
        tell(f"{board.address or HERE} runs the engine on {len(images)} images, {number} of {len(starts)}")
        part = images[start : start + batch]
        filled = np.resize(part, (batch, *part.shape[1:])).astype(taken.dtype)
        parts.append(_outputs_of(filled, board, tool, engine, taken, number)[: len(part)])
    if len({part.shape[1] for part in parts}) > 1:
        raise CheckFailed(f"The engine on {board.address or HERE} gave outputs of several shapes for batches of one.")
    return np.concatenate(parts)


def run_command(tool: Tool, engine: str, taken: TensorSpec, batch: int, inputs: str, outputs: str) -> list[str]:
    """The words that make trtexec run an engine once on a file of images, and write down its outputs.

    No CUDA graph, and copies both ways: TensorRT 11 turned both defaults round. One call is made where at least one is
    asked for, in no time: inferenceLoop() in samples/common/sampleInference.cpp of https://github.com/NVIDIA/TensorRT.
    """
    since = numbers(tool.version)
    name = quoted(taken.name)
    words = [tool.path, f"--loadEngine={engine}", f"--loadInputs={name}:{inputs}", f"--exportOutput={outputs}"]
    if not isinstance(taken.shape[0], int):
        words.append(f"--shapes={name}:{'x'.join(map(str, (batch, *taken.shape[1:])))}")
    words += ["--iterations=1", "--warmUp=0", "--duration=0", "--infStreams=1" if since >= (8, 6) else "--streams=1"]
    return [*words, *(("--includeDataTransfers", "--noCudaGraph") if since >= (11,) else ())]


def _outputs_of(
    images: npt.NDArray[np.generic], board: Machine, tool: Tool, engine: str, taken: TensorSpec, number: int
) -> npt.NDArray[np.float64]:
    """Of one batch that the engine takes whole. Each call writes a file of its own: none reads the last one's."""
    there, remote = f"{board.folder}/images.raw", f"{board.folder}/outputs-{number}.json"
    with tempfile.TemporaryDirectory(prefix="vlm-outputs-") as folder:
        here = Path(folder)
        (here / "images.raw").write_bytes(np.ascontiguousarray(images).tobytes())
        board.push(here / "images.raw", there)
        done = board.run(run_command(tool, engine, taken, len(images), there, remote), RUN_LIMIT_S)
        if done.code != 0:
            raise CheckFailed(
                f"trtexec {tool.version} could not run the engine on {board.address or HERE} (code {done.code}): "
                f"{printable(last_errors(done))}",
                hint="--batch with smaller ones, where memory ran out",
            )
        if board.run(["test", "-s", remote], QUESTION_LIMIT_S).code != 0:
            raise CheckFailed(
                f"trtexec {tool.version} ran the engine on {board.address or HERE}, and wrote no outputs."
            )
        board.pull(remote, here / "outputs.json", LIMIT_BYTES)
        return _rows_of(printed_outputs(here / "outputs.json"), len(images))


def _rows_of(outputs: tuple[Printed, ...], count: int) -> npt.NDArray[np.float64]:
    """[count, classes]. Raises CheckFailed where there is not one output of so many rows."""
    shapes = [output.shape for output in outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != count or not shapes[0][1]:
        said = ", ".join("x".join(map(str, shape)) for shape in shapes[:4])
        raise CheckFailed(f"The engine gave outputs of {said} for {count} images; expected one of {count}xCLASSES.")
    return np.array(outputs[0].values).reshape(shapes[0])
