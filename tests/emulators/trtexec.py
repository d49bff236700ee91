"""An emulator of trtexec: it needs no GPU, builds nothing and measures nothing, and its device is named "emulator".

With the setting `computes` its engines hold their ONNX file, and ONNX Runtime computes the outputs: true ones, which
the setting `change` makes wrong.

It takes the flags that its version has, and no others; what it prints and writes is worded as trtexec's own. Flags:
`trtexec --help` of each version. Traces: exportJSONTrace() of samples/common/sampleReporting.cpp, and the loop of
sampleInference.cpp, in https://github.com/NVIDIA/TensorRT.

`install` puts it into a folder, as `trtexec`, with its settings in `trtexec.json`. Each call is noted in `called`.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

BUILDING = (
    "--onnx",
    "--saveEngine",
    "--loadEngine",
    "--minShapes",
    "--optShapes",
    "--maxShapes",
    "--noTF32",
    "--timingCacheFile",
)
MEASURING = (
    *("--shapes", "--loadInputs", "--iterations", "--warmUp", "--duration", "--sleepTime", "--avgRuns", "--percentile"),
    *("--idleTime", "--exposeDMA", "--threads", "--exportTimes", "--exportOutput", "--device", "--noDataTransfers"),
    *("--useCudaGraph", "--useSpinWait"),
)
COMMON = (*BUILDING, *MEASURING)
LAYERS = ("--profilingVerbosity", "--exportLayerInfo")
# What each version takes of the flags that the versions differ in.
ACCEPTED = {
    "8.2.1": ("--workspace", "--fp16", "--int8", "--buildOnly", "--streams"),
    "8.4.1": (*LAYERS, "--workspace", "--memPoolSize", "--fp16", "--int8", "--buildOnly", "--streams"),
    "8.5.2": (*LAYERS, "--workspace", "--memPoolSize", "--fp16", "--int8", "--buildOnly", "--streams"),
    "8.6.1": (
        *LAYERS,
        *("--workspace", "--memPoolSize", "--fp16", "--int8", "--skipInference", "--infStreams"),
    ),
    "10.3.0": (
        *LAYERS,
        *("--memPoolSize", "--fp16", "--int8", "--stronglyTyped", "--skipInference", "--infStreams"),
    ),
    "11.4.1": (
        *LAYERS,
        *("--memPoolSize", "--stronglyTyped", "--skipInference", "--infStreams"),
        *("--includeDataTransfers", "--noSpinWait", "--noCudaGraph"),
    ),
}
BANNERS = {"8.2.1": 8201, "8.4.1": 8401, "8.5.2": 8502, "8.6.1": 8601, "10.3.0": 100300, "11.4.1": 110401}
SETTINGS = {
    "gpu": "emulator",
    "capability": "8.7",
    "behaviour": "",  # lines of sh, done before anything is built or measured; an exit code other than 0 ends all
    "compute_ms": 2.0,
    "copy_ms": 0.1,  # in, and a quarter of it out
    "host_ms": 0.05,  # between two calls
    "enqueue_share": 0.2,  # of compute
    "drift": 0.0,  # by which calls grow from the first to the last
    "times": None,  # text in place of the times
    "outputs": None,  # text in place of the outputs' numbers
    "exported": None,  # text in place of the whole file of outputs; no file where it is empty
    "computes": False,  # an engine's outputs are those of its graph
    "change": "outputs",  # Python: what becomes of the outputs [n, classes] that were computed
    "refuses_graph": False,  # the engine cannot be captured in a CUDA graph
    "deaf_to": (),  # flags that are taken and do nothing
}


def install(folder: Path, version: str = "10.3.0", **settings: object) -> Path:
    """Put the emulator of one version into a folder; the path of its `trtexec`."""
    assert settings.keys() <= SETTINGS.keys()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trtexec.json").write_text(json.dumps({**SETTINGS, **settings, "version": version}))
    tool = folder / "trtexec"
    tool.write_text(f'#!/bin/sh\n# An emulator of trtexec.\nexec "{sys.executable}" "{Path(__file__)}" "$0" "$@"\n')
    tool.chmod(0o755)
    return tool


def say(text: str, level: str = "I") -> None:
    """What is graver than a note goes to stderr, as trtexec's own logger has it."""
    print(f"[01/01/2025-00:00:00] [{level}] {text}", file=sys.stdout if level == "I" else sys.stderr, flush=True)


def complain(text: str) -> int:
    say(text, "E")
    return 1


def main(tool: Path, words: list[str]) -> int:
    settings = json.loads((tool.parent / "trtexec.json").read_text())
    version = settings["version"]
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{BANNERS[version]}] # an emulator", flush=True)
    given = dict(word.partition("=")[::2] for word in words)
    if unknown := [flag for flag in given if flag not in (*COMMON, *ACCEPTED[version])]:
        return complain(f"Unknown option: {unknown[0]}")
    given = {flag: value for flag, value in given.items() if flag not in settings["deaf_to"]}
    measures = "--buildOnly" not in given and "--skipInference" not in given
    if measures:
        tell_inference_options(given, version)
    if not settings["gpu"]:
        return complain("Cuda failure: no CUDA-capable device is detected")
    say(f"Selected Device: {settings['gpu']}")
    say(f"Compute Capability: {settings['capability']}")
    engine = given.get("--loadEngine", "")
    if engine and not Path(engine).exists():
        return complain(f"Error opening engine file: {engine}")
    (tool.parent / "called").write_text("\n".join(words) + "\n")
    if code := subprocess.run(["sh", "-c", settings["behaviour"]]).returncode:
        os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
    if "--onnx" in given:
        build(given, computes=settings["computes"])
    if measures and (code := measure(given, settings)):
        return code
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v{BANNERS[version]}] # an emulator")
    return 0


def build(given: dict[str, str], *, computes: bool) -> None:
    say("[TRT] Total Activation Memory: 4096 bytes")
    say("[TRT] Total Activation Memory: 1024 bytes")
    say("[TRT] Total Weights Memory: 512 bytes")
    say("Engine built in 1.25 sec.")
    graph = Path(given["--onnx"]).read_bytes()
    told = f"engine of an emulator, from {hashlib.sha256(graph).hexdigest()}\n"
    takes = f"at most {given.get('--maxShapes', 'its own')}\n"
    Path(given["--saveEngine"]).write_bytes(told.encode() + (takes.encode() + graph if computes else b""))
    if layers := given.get("--exportLayerInfo"):
        Path(layers).write_text('{"Layers": []}\n')
    if timings := given.get("--timingCacheFile"):
        with open(timings, "a") as file:
            file.write("again\n")


def since(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def understood(given: dict[str, str], version: str) -> dict[str, bool]:
    """TensorRT 11 turned three defaults round, and made the flags that ask for them do nothing."""
    if since(version) >= (11,):
        transfers, spins, graph = (
            "--includeDataTransfers" in given,
            "--noSpinWait" not in given,
            "--noCudaGraph" not in given,
        )
    else:
        transfers, spins, graph = (
            "--noDataTransfers" not in given,
            "--useSpinWait" in given,
            "--useCudaGraph" in given,
        )
    return {
        "ExposeDMA": "--exposeDMA" in given,
        "Data transfers": transfers,
        "Spin-wait": spins,
        "Multithreading": "--threads" in given,
        "CUDA Graph": graph,
    }


def tell_inference_options(given: dict[str, str], version: str) -> None:
    say("=== Inference Options ===")
    say(f"Iterations: {given.get('--iterations', 10)}")
    say(f"Duration: {given.get('--duration', 3)}s (+ {given.get('--warmUp', 200)}ms warm up)")
    name = "Inference Streams" if since(version) >= (8, 6) else "Streams"
    say(f"{name}: {given.get('--infStreams', given.get('--streams', 1))}")
    for option, on in understood(given, version).items():
        say(f"{option}: {'Enabled' if on else 'Disabled'}")


def measure(given: dict[str, str], settings: dict) -> int:
    version = settings["version"]
    say("Engine loaded in 0.01 sec.")
    say("[TRT] Loaded engine size: 6 MiB")
    say(
        "[TRT] [MemUsageChange] TensorRT-managed allocation in engine deserialization: "
        "CPU +0, GPU +6, now: CPU 0, GPU 6 (MiB)"
    )
    say("Engine deserialized in 0.25 sec.")
    say(
        "[TRT] [MemUsageChange] TensorRT-managed allocation in IExecutionContext creation: "
        "CPU +0, GPU +2, now: CPU 0, GPU 8 (MiB)"
    )
    if since(version) >= (10,):
        say("Created execution context with device memory size: 1.5 MiB")
    if understood(given, version)["CUDA Graph"] and settings["refuses_graph"]:
        say("The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.", "W")
    say("Starting inference")
    rows = trace(given, settings)
    enqueue = median(row["endEnqMs"] - row["startEnqMs"] for row in rows)
    say(f"Enqueue Time: min = {enqueue:g} ms, max = {enqueue:g} ms, mean = {enqueue:g} ms, median = {enqueue:g} ms")
    if path := given.get("--exportTimes"):
        Path(path).write_text(settings["times"] or as_json(rows, old=since(version) <= (8, 4, 99)))
    if path := given.get("--exportOutput"):
        try:
            export_outputs(Path(path), given, settings)
        except ValueError as error:
            return complain(str(error))
    return 0


def export_outputs(path: Path, given: dict[str, str], settings: dict) -> None:
    """Raises ValueError where the engine does not take such inputs."""
    dimensions, numbers = "1x3", settings["outputs"] or "0.25, -1.5, 3"
    if settings["computes"] and not settings["outputs"]:
        outputs = computed(given, settings["change"])
        dimensions = "x".join(map(str, outputs.shape))
        numbers = ", ".join(f"{value:.6g}" for value in outputs.ravel().tolist())
    text = f'[\n  {{ "name" : "logits"\n  , "dimensions" : "{dimensions}"\n  , "values" : [ {numbers} ]\n  }}\n]\n'
    if settings["exported"] != "":
        path.write_text(settings["exported"] or text)


def computed(given: dict[str, str], change: str) -> Any:
    """The graph's outputs for the inputs that are given, by ONNX Runtime, then changed. Raises ValueError."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would leave a file in TMPDIR
    import numpy as np
    import onnxruntime

    _, takes, graph = Path(given["--loadEngine"]).read_bytes().split(b"\n", 2)
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (expected,) = session.get_inputs()
    name, _, shape = given.get("--shapes", f"{expected.name}:").partition(":")
    dimensions = [int(size) for size in shape.split("x")] if shape else expected.shape
    largest = takes.decode().rpartition(":")[2].partition("x")[0]
    if largest.isdigit() and dimensions[0] > int(largest):
        raise ValueError(f"Cannot set dynamic shape {shape} of {name}: the profile ends at {largest}")
    kind = np.float16 if expected.type == "tensor(float16)" else np.float32
    file = given.get("--loadInputs", ":").partition(":")[2]
    inputs = np.fromfile(file, kind) if file else np.random.default_rng().random(dimensions).astype(kind)
    if inputs.size != np.prod(dimensions):
        raise ValueError(f"Unexpected file size for input file: {file}. Expected: {np.prod(dimensions)} numbers")
    outputs = session.run(None, {expected.name: inputs.reshape(dimensions)})[0]
    return eval(change, {"np": np, "outputs": outputs})


def trace(given: dict[str, str], settings: dict) -> list[dict[str, float]]:
    """Streams side by side: one call after the other with --exposeDMA, and without it the next one's copy beside."""
    version, generator = settings["version"], random.Random(os.getpid())
    serial = understood(given, version)["ExposeDMA"]
    warm_up_ms = float(given.get("--warmUp", 200))
    end_ms, least = warm_up_ms + 1e3 * float(given.get("--duration", 3)), int(given.get("--iterations", 10))
    rows = []
    for stream in range(int(given.get("--infStreams", given.get("--streams", 1)))):
        at, done = 0.5 + 0.1 * stream, 0
        while at < end_ms or done < least:
            grown = 1 + settings["drift"] * at / max(at, end_ms) + generator.uniform(-0.01, 0.01)
            row = call(at, settings["compute_ms"] * grown, settings)
            rows.append(row)
            done += at >= warm_up_ms
            at = row["endD2hMs"] + settings["host_ms"] if serial else row["endComputeMs"] - settings["copy_ms"]
    if since(version) > (8, 4, 99):
        rows = [row for row in rows if row["startComputeMs"] >= warm_up_ms]
    return sorted(rows, key=lambda row: row["startH2dMs"])


def call(at: float, compute: float, settings: dict) -> dict[str, float]:
    copy, out = settings["copy_ms"], settings["copy_ms"] / 4
    return {
        "startEnqMs": at + 0.02,
        "endEnqMs": at + 0.02 + settings["enqueue_share"] * compute,
        "startH2dMs": at,
        "endH2dMs": at + copy,
        "startComputeMs": at + copy,
        "endComputeMs": at + copy + compute,
        "startD2hMs": at + copy + compute,
        "endD2hMs": at + copy + compute + out,
        "h2dMs": copy,
        "computeMs": compute,
        "d2hMs": out,
        "latencyMs": copy + compute + out,
    }


def as_json(rows: list[dict[str, float]], *, old: bool) -> str:
    """With six digits, as C++ streams print a float: times after 1 s are whole hundredths of a millisecond."""
    lines = []
    for row in rows:
        row = {**row, "endToEndMs": row["endD2hMs"] - row["startH2dMs"]} if old else row
        lines.append("{ " + ", ".join(f'"{name}" : {value:.6g}' for name, value in row.items()) + " }\n")
    return "[\n  " + ", ".join(lines) + "]\n"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
