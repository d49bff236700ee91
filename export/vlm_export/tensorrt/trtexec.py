"""What `trtexec` is: where it stands, what its versions take, and how its log is read. Nothing here needs TensorRT."""

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_contract.console import printable
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import TensorSpec
from vlm_export.tensorrt.api import last_of

if TYPE_CHECKING:
    from vlm_export.tensorrt.builder import Wanted as Order
    from vlm_export.tensorrt.device import Identity
    from vlm_targets.reach import Machine
    from vlm_targets.ssh import Done

JETPACK_FOLDER = "/usr/src/tensorrt/bin"  # which is on no PATH
INSTALL = "sudo apt install tensorrt"
QUESTION_LIMIT_S = 120.0  # loading CUDA takes a Jetson Nano half a minute
# Before 8.4 trtexec leaves tactics 16 MiB unless told otherwise, and most of the fast ones do not fit.
OLD_WORKSPACE_MIB = 1024
FORBIDDEN = ",'*\""  # in a tensor's name: trtexec splits its words there
_FIND = 'for it in "$(command -v trtexec)" "$1/trtexec"; do [ -x "$it" ] && printf %s "$it" && exit; done; exit 1'
_DESCRIBE = r"cat /proc/device-tree/model | tr -d '\0'; echo; head -n 1 /etc/nv_tegra_release"


@dataclass(frozen=True)
class Tool:
    """The trtexec of a machine."""

    path: str
    version: str  # "10.3.0"
    identity: "Identity"


@dataclass(frozen=True)
class Names:
    """The files of one build, as trtexec finds them."""

    onnx: str
    engine: str
    layers: str | None = None  # to write: what the engine's layers are
    timings: str | None = None  # to read and write


def tool_on(machine: "Machine") -> Tool:
    """Find trtexec, and let it say its version and its GPU. Raises VlmError where either is missing.

    Asked to load an engine that is not there, every version from 8.2 to 11 names both before it fails. Source: main()
    in samples/trtexec/trtexec.cpp of https://github.com/NVIDIA/TensorRT.
    """
    from vlm_export.tensorrt.device import Identity

    where = machine.address or "this machine"
    path = machine.run(["sh", "-c", _FIND, "sh", JETPACK_FOLDER], QUESTION_LIMIT_S).out
    if not path:
        raise VlmError(
            f"{where} has no trtexec, neither on its PATH nor in {JETPACK_FOLDER}.",
            hint=f"ssh {shlex.quote(machine.address)} {INSTALL}" if machine.address else INSTALL,
        )
    said = machine.run([path, f"--loadEngine={machine.folder}/none.engine"], QUESTION_LIMIT_S)
    version, gpu, capability = (
        found(pattern, said.out)
        for pattern in (r"\[TensorRT v(\d+)\]", r"Selected Device: (.+)", r"Capability: ([\d.]+)")
    )
    if not version or not gpu or not capability:
        raise VlmError(f"{path} on {where} names no GPU: {last_errors(said)}")
    described = machine.run(["sh", "-c", _DESCRIBE], QUESTION_LIMIT_S).out
    numbered = version_in_banner(int(version))
    return Tool(path, numbered, Identity(f"TensorRT {numbered}", device_name(gpu, described), capability))


def numbers(version: str) -> tuple[int, ...]:
    """(8, 2, 1) of "8.2.1"."""
    return tuple(map(int, version.split(".")))


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


def build_command(trtexec: str, names: Names, order: "Order", images: TensorSpec, version: str) -> list[str]:
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
    return [f"--{kind}Shapes={quoted(images.name)}:{batch}x{rest}" for kind, batch in kinds]


def quoted(name: str) -> str:
    """A tensor's name as trtexec takes it in a list. Raises VlmError where it cannot."""
    if not name or any(character in FORBIDDEN for character in name):
        raise VlmError(
            f"trtexec cannot be told of an input named {name!r}.",
            hint="another name for it in the graph; or, to measure on the machine itself, --runtime tensorrt",
        )
    return f"'{name}'" if ":" in name else name


def _workspace_flags(limit_bytes: int | None, since: tuple[int, ...]) -> list[str]:
    """In MiB, by the pool's name since 8.4."""
    if since < (8, 4):
        return [f"--workspace={(limit_bytes or OLD_WORKSPACE_MIB * 2**20) // 2**20}"]
    return [f"--memPoolSize=workspace:{limit_bytes // 2**20}"] if limit_bytes else []


def not_built(done: "Done", tool: Tool, what: str) -> CheckFailed:
    """The error for a build that failed, with trtexec's own words: `what` is "the engine on jetson"."""
    who = f"trtexec {tool.version}"
    if done.code == 128 + 9:
        return CheckFailed(
            f"{who} was killed over {what}, as is done to what takes the last of a board's memory.",
            hint="--batch with smaller ones, --workspace-mib with less, or end what else runs there",
        )
    return CheckFailed(f"{who} could not build {what} (code {done.code}): {printable(last_errors(done))}")


def last_errors(done: "Done") -> str:
    """The last errors of trtexec's log; where it has none, its last lines."""
    errors = re.findall(r"\[E\] (.+)", done.out + done.err) or (done.err or done.out).strip().splitlines()
    return last_of(errors)[:600] or "it gave no reason"


def found(pattern: str, text: str) -> str:
    """The first group of a pattern in a text; empty where it is not there."""
    match = re.search(pattern, text)
    return match[1] if match else ""
