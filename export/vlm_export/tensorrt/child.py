"""An engine built in a process of its own: TensorRT is native code, and CUDA is lost after its first error."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_contract.codec import Absent, decode, encode
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import Engine
from vlm_export.tensorrt.builder import Built, Wanted, engine_from_onnx
from vlm_export.tensorrt.device import Identity

BUILD_LIMIT_S = 4 * 3600.0  # a network in many precisions on a small GPU takes most of an hour
CODE = "from vlm_export.tensorrt.child import main; main()"


@dataclass(frozen=True)
class Made:
    """What a child process, or a board, made."""

    built: Built
    identity: Identity
    outputs: npt.NDArray[Any] | None  # logits of the images that it was given; None where no GPU is
    digits: int | None = None  # of each output that came as text; None where they came as they were


def engine_from_child(onnx: Path, wanted: Wanted, images: npt.NDArray[np.float32], tell: Callable[[str], None]) -> Made:
    """Build an engine, and run it on images [n, c, h, w], no more than it takes at once, where a GPU is.

    Raises what `engine_from_onnx` raises, and CheckFailed where the process dies or takes more than BUILD_LIMIT_S.
    """
    with tempfile.TemporaryDirectory(prefix="vlm-engine-") as name:
        folder = Path(name)
        np.save(folder / "images.npy", images)
        timings = wanted.timing_cache and str(wanted.timing_cache.absolute())
        asked = {"onnx": str(onnx.absolute()), "timings": timings, "parent": os.getpid()}
        asked["wanted"] = encode(replace(wanted, timing_cache=None))
        (folder / "asked.json").write_text(json.dumps(asked))
        _run(folder, tell)
        reply = json.loads((folder / "reply.json").read_text())
        if "error" in reply:
            raise (CheckFailed if reply["check"] else VlmError)(reply["error"], hint=reply["hint"])
        outputs = folder / "outputs.npy"
        layers = decode(str | Absent, reply["layers"])
        return Made(
            Built((folder / "engine").read_bytes(), layers, decode(Engine, reply["record"])),
            decode(Identity, reply["identity"]),
            np.load(outputs, allow_pickle=False) if outputs.exists() else None,
        )


def _run(folder: Path, tell: Callable[[str], None]) -> None:
    """Let the child work, passing on its progress. Raises CheckFailed unless it leaves a reply."""
    command = [sys.executable, "-c", CODE, str(folder)]
    with open(folder / "said", "w+b") as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True, text=True
        )
        began, alarm = time.monotonic(), _killed_after(BUILD_LIMIT_S, child)
        try:
            assert child.stdout is not None
            for line in child.stdout:
                tell(line.rstrip("\n"))
            code = child.wait()
        finally:
            alarm.cancel()
            child.kill()
            child.wait()
        if code == -signal.SIGKILL and time.monotonic() - began >= BUILD_LIMIT_S:
            raise CheckFailed(f"The engine was not built in {BUILD_LIMIT_S / 3600:g} hours.", hint="--batch with fewer")
        if code or not (folder / "reply.json").exists():
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-300:]
            raise CheckFailed(f"The process that builds the engine {how}: {words or 'it said nothing'}")


def _killed_after(seconds: float, child: "subprocess.Popen[str]") -> Any:
    from threading import Timer

    timer = Timer(seconds, child.kill)
    timer.daemon = True
    timer.start()
    return timer


def main() -> None:
    """The child: its folder holds what is asked, and takes the reply."""
    from vlm_contract.processes import die_with

    folder = Path(sys.argv[1])
    asked = json.loads((folder / "asked.json").read_text())
    die_with(asked["parent"])
    try:
        timings = asked["timings"] and Path(asked["timings"])
        reply = _made(folder, Path(asked["onnx"]), replace(decode(Wanted, asked["wanted"]), timing_cache=timings))
    except VlmError as error:
        reply = {"error": str(error), "hint": error.hint, "check": isinstance(error, CheckFailed)}
    (folder / "reply.json").write_text(json.dumps(reply))


def _made(folder: Path, onnx: Path, wanted: Wanted) -> dict[str, Any]:
    from vlm_export.tensorrt.api import TensorRT
    from vlm_export.tensorrt.device import identity, measured_on_device

    api = TensorRT.installed(wanted.flavor)
    here = identity(api)
    measure = None
    if wanted.flavor == "tensorrt" and not isinstance(here.device, Absent):
        measure = measured_on_device(api, np.load(folder / "images.npy", allow_pickle=False))
    built = engine_from_onnx(onnx, wanted, lambda text: print(text, flush=True), measure)
    (folder / "engine").write_bytes(built.engine)
    if measure is not None:
        np.save(folder / "outputs.npy", measure(built.engine)[1])
    return {"layers": encode(built.layers), "record": encode(built.record), "identity": encode(here)}
