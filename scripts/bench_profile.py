#!/usr/bin/env python3
"""vlm-profile beside a bare loop, Polygraphy, MLPerf's LoadGen and optimum-benchmark: same ONNX files, same CPUs.

Every tool runs in processes of its own, on as many CPUs as threads, in turns, so that other load meets all alike. The
spread is the largest less the smallest of a tool's figures over its runs, in percent of their median. The peers live in
environments of their own, which --peers names by their Python; what none of them has is named and left out.

python -m venv peers && peers/bin/pip install onnx onnxruntime polygraphy colored mlcommons-loadgen
python -m venv optimum && optimum/bin/pip install onnxruntime optimum-benchmark optimum==1.27.0 'transformers<4.54'
scripts/bench_profile.py --model model.onnx --peers peers/bin/python optimum/bin/python --runs 10 --hogged 20
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from vlm_contract.codec import Absent, known
from vlm_contract.console import plain_table
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Setup
from vlm_profile import loadgen
from vlm_profile.inputs import resolved
from vlm_profile.loops import back_to_back
from vlm_profile.process import run_worker, worker_variables
from vlm_profile.protocol import FULL
from vlm_profile.runtimes import runtimes
from vlm_profile.selftest import hog
from vlm_profile.worker import Spec
from vlm_targets.host import device_of

RUNTIME = "onnxruntime"
NOTHING = "—"
ROOTS = os.pathsep.join(str(Path(__file__).parents[1] / root) for root in ("contract", "profile", "targets"))
PACKAGES = {
    "polygraphy": "polygraphy",
    "mlperf_loadgen": "mlcommons-loadgen",
    "optimum_benchmark": "optimum-benchmark",
}
BARE = """
import json, statistics, sys, time
import numpy, onnxruntime
model, threads, seconds, shapes = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {name: numpy.random.default_rng(0).standard_normal(shape).astype(dtype) for name, shape, dtype in shapes}
def loop(seconds):
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        session.run(None, feed)
        samples.append(time.perf_counter() - begin)
    return samples
loop(seconds / 4)
print(json.dumps(1e3 * statistics.median(loop(seconds))))
"""
OPTIMUM = """
import json, sys
from unittest.mock import MagicMock
sys.modules["torch.onnx.symbolic_opset14"] = MagicMock()  # of an exporter that does not run here; torch 2.9 emptied it
from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, InlineConfig, ORTConfig
folder, threads, seconds, shapes = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
report = Benchmark.launch(BenchmarkConfig(
    name="bench",
    launcher=InlineConfig(),
    scenario=InferenceConfig(duration=max(1, round(seconds)), iterations=50, warmup_runs=50, input_shapes=shapes),
    backend=ORTConfig(
        model=folder, task="image-classification", library="transformers", device="cpu", export=False,
        session_options={"intra_op_num_threads": threads, "inter_op_num_threads": 1},
    ),
))
print(json.dumps(1e3 * report.forward.latency.p50))
"""


@dataclass(frozen=True)
class Job:
    """What every tool is given."""

    model: Path
    inputs: tuple[TensorSpec, ...]  # every dimension known
    threads: int
    seconds: float  # of a tool's timed loop; ours has its own rules
    mode: Sequence[str]  # options of vlm-profile
    peers: Mapping[str, str]  # Python by the module that it has


@dataclass(frozen=True)
class Run:
    """What a tool said, and how long it took."""

    ms: float
    says: str
    seconds: float = 0.0


@dataclass
class Series:
    """The runs of one tool."""

    figure: str
    runs: list[Run] = field(default_factory=list)

    @property
    def ms(self) -> float:
        return statistics.median(run.ms for run in self.runs)

    @property
    def spread_percent(self) -> float:
        values = [run.ms for run in self.runs]
        return 100 * (max(values) - min(values)) / self.ms

    @property
    def says(self) -> str:
        counts = {said: sum(run.says == said for run in self.runs) for said in dict.fromkeys(r.says for r in self.runs)}
        return ", ".join(f"{count} × {said}" for said, count in counts.items())


Tool = Callable[[Job], Run]
Beside = Callable[[], AbstractContextManager[None]]


def ours(job: Job) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "vlm_profile", "--workspace", folder, "--artifact", str(job.model), "--batch", "1", "--json"]
        words += ["--threads", str(job.threads), "--quiet", "--show-invalid", "--wait-quiet", "0", *job.mode]
        said = output_of([sys.executable, *words], may_end_with=(0, 1))
    (row,) = json.loads(said.splitlines()[-1])["measurements"]
    codes = ", ".join(verdict["code"] for verdict in row["verdicts"])
    if "latency_ms_p50" not in row["latency"]:
        raise CheckFailed(f"it has no figure: {row['latency']['absent']}")
    return Run(row["latency"]["latency_ms_p50"], f"{row['status']}: {codes}" if codes else row["status"])


def bare(job: Job) -> Run:
    shapes = json.dumps([(tensor.name, tensor.shape, tensor.dtype) for tensor in job.inputs])
    said = output_of([sys.executable, "-c", BARE, str(job.model), str(job.threads), str(job.seconds), shapes])
    return Run(float(said), "nothing")


def polygraphy(job: Job) -> Run:
    """It takes a number of iterations, and no number of threads: it finds as many CPUs as all tools do."""
    shapes = [f"{tensor.name}:[{','.join(map(str, tensor.shape))}]" for tensor in job.inputs]
    iterations = max(50, round(1e3 * job.seconds / bare(replace(job, seconds=0.2)).ms))
    program = str(Path(job.peers["polygraphy"]).parent / "polygraphy")
    words = ["--onnxrt", "--sequential-runners", "--warm-up", "50", "--iterations", str(iterations)]
    began = time.perf_counter()
    said = output_of([program, "run", str(job.model), *words, "--input-shapes", *shapes])
    if not (found := re.search(r"Average inference time: ([\d.]+) ms", said)):
        raise CheckFailed(f"it names no time: {said[-300:]!r}")
    return Run(float(found[1]), "PASSED" if "PASSED" in said else "FAILED", time.perf_counter() - began)


def mlperf(job: Job) -> Run:
    protocol = replace(FULL, measure_s=job.seconds)
    spec = replace(spec_of(job.model, job.threads), inputs=job.inputs, protocol=protocol, look=False)
    figures = loadgen.figures_of(spec, job.peers["mlperf_loadgen"], {"PYTHONPATH": ROOTS})
    return Run(figures["p50_ms"], figures["result"])


def optimum(job: Job) -> Run:
    """It takes a folder of the Hugging Face kind, whose model's input is called pixel_values and output logits."""
    (tensor,) = job.inputs
    names = ("batch_size", "num_channels", "height", "width")
    with tempfile.TemporaryDirectory() as folder:
        renamed(job.model, Path(folder))
        size = json.dumps(dict(zip(names, tensor.shape, strict=True)))
        words = ["-c", OPTIMUM, folder, str(job.threads), str(job.seconds), size]
        said = output_of([job.peers["optimum_benchmark"], *words])
    return Run(float(said.splitlines()[-1]), "nothing")


TOOLS: Mapping[str, tuple[str, Tool, str]] = {
    "vlm-profile": ("median", ours, ""),
    "bare loop": ("median", bare, ""),
    "Polygraphy": ("mean", polygraphy, "polygraphy"),
    "LoadGen": ("median", mlperf, "mlperf_loadgen"),
    "optimum-benchmark": ("median", optimum, "optimum_benchmark"),
}


def renamed(model: Path, folder: Path) -> None:
    """The same graph under the names that optimum's classes ask for, with a configuration as they know it."""
    import onnx

    graph = onnx.load(model)
    names = {graph.graph.input[0].name: "pixel_values", graph.graph.output[0].name: "logits"}
    for node in graph.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.graph.input, *graph.graph.output):
        value.name = names.get(value.name, value.name)
    onnx.save(graph, folder / "model.onnx")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "resnet", "architectures": ["ResNetForImageClassification"]})
    )


def output_of(words: Sequence[str], *, may_end_with: Sequence[int] = (0,)) -> str:
    """What a process printed. Raises CheckFailed with its last words."""
    ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    if ran.returncode not in may_end_with:
        said = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        raise CheckFailed(f"{' '.join(words)[:100]!r} ended with exit code {ran.returncode}: {''.join(said)}")
    return ran.stdout


def spec_of(model: Path, threads: int) -> Spec:
    """For our worker and for LoadGen, of a look at the model."""
    setup = Setup(1, threads, 1, runtimes()[RUNTIME].scope, Absent("one call after the other"), {})
    memory = known(device_of().memory_bytes)
    return Spec(
        RUNTIME, str(model), setup, max(8 * 2**30, memory), os.getpid(), (), FULL, 0, order=0, attempt=1, look=True
    )


def turns(tools: Mapping[str, Tool], job: Job, runs: int, beside: Beside) -> dict[str, Series]:
    """`runs` of each tool, in an order that moves on by one each time; a tool that fails is named, and left out."""
    series = {name: Series(TOOLS[name][0]) for name in tools}
    for turn in range(runs):
        names = list(series)
        first = turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            try:
                with beside():
                    run = tools[name](job)
            except (CheckFailed, subprocess.TimeoutExpired, ValueError, LookupError) as error:
                print(f"left out: {name}, which did not run, or said nothing that can be read: {error}")
                del series[name]
                continue
            series[name].runs.append(replace(run, seconds=run.seconds or time.perf_counter() - began))
            print(f"{name}: {run.ms:.3f} ms, {run.says}", file=sys.stderr)
    return series


def quiet_rows(series: Mapping[str, Series]) -> Iterator[list[str]]:
    """A ratio needs the tool that it is to: without it there is none."""
    base = series["bare loop"].ms if "bare loop" in series else 0.0
    least = series["vlm-profile"].spread_percent if "vlm-profile" in series else 0.0
    for name, each in series.items():
        seconds = statistics.median(run.seconds for run in each.runs)
        spread = each.spread_percent
        row = [name, each.figure, f"{each.ms:.3f}", f"{each.ms / base:.3f}" if base else NOTHING, f"{spread:.1f}"]
        yield [*row, f"{spread / least:.1f}" if least else NOTHING, f"{seconds:.1f}", each.says]


def hogged_rows(quiet: Mapping[str, Series], hogged: Mapping[str, Series]) -> Iterator[list[str]]:
    for name, each in hogged.items():
        if name not in quiet:
            continue
        yield [name, f"{each.ms:.3f}", f"{each.ms / quiet[name].ms:.2f}", f"{each.spread_percent:.0f}", each.says]


def overhead_us(seconds: float) -> float:
    """Of our loop for a call: around a call that does nothing, less that call between two looks at the clock."""
    clock = time.perf_counter_ns
    protocol = replace(FULL, measure_s=seconds, measure_s_max=2 * seconds)

    def nothing(feed: object) -> None:
        pass

    loop = back_to_back(nothing, itertools.cycle([{}]), protocol, clock)
    calls, begin = range(len(loop.ns)), clock()
    for _ in calls:
        clock()
        nothing({})
        clock()
    return (1e9 * loop.seconds - (clock() - begin)) / len(loop.ns) / 1e3


def seconds_of(words: Sequence[str], times: int) -> float:
    """The median over processes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        output_of([sys.executable, "-m", "vlm_profile", *words], may_end_with=(0, 1))
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def own_rows(model: Path, seconds: float) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "--workspace",
            folder,
            "--artifact",
            str(model),
            "--batch",
            "1",
            "--quick",
            "--wait-quiet",
            "0",
            "--quiet",
        ]
        yield ["overhead of an inference", f"{overhead_us(seconds):.2f} µs", "under 2 µs"]
        yield ["vlm-profile --help", f"{seconds_of(['--help'], 5):.3f} s", "under 0.15 s"]
        yield ["vlm-profile --quick", f"{seconds_of(words, 1):.1f} s", "under 12 s"]


def peers_at(pythons: Sequence[str]) -> dict[str, str]:
    """By module, the first Python that has it; says what none has."""
    found: dict[str, str] = {}
    code = f"import importlib.util as u; print(*(m for m in {list(PACKAGES)!r} if u.find_spec(m)))"
    for python in pythons:
        for module in output_of([python, "-c", code]).split():
            found.setdefault(module, python)
        theirs = output_of([python, "-c", "import onnxruntime; print(onnxruntime.__version__)"]).strip()
        if theirs != version("onnxruntime"):
            print(f"{python} has onnxruntime {theirs}, and we {version('onnxruntime')}: no fair comparison")
    for module in PACKAGES.keys() - found.keys():
        print(f"left out: {PACKAGES[module]}, which no Python of --peers has")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, nargs="+", required=True, help="ONNX files with one input of images")
    add("--peers", nargs="*", default=[], metavar="PYTHON", help="of environments that hold the other tools")
    add("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS), help="which to run (default: all there are)")
    add("--threads", type=int, default=1, help="and CPUs (default: %(default)s)")
    add("--runs", type=int, default=10, help="of each tool (default: %(default)s)")
    add("--hogged", type=int, default=0, metavar="N", help="further runs of each beside a process that hogs a CPU")
    add("--seconds", type=float, default=10.0, help="of the others' timed loops (default: %(default)s)")
    add("--quick", action="store_true", help="run vlm-profile in its quick mode")
    options = parser.parse_args()

    cpus = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cpus)
    os.environ |= worker_variables(options.threads)
    device = device_of()
    print(f"{device.cpu}, CPUs {cpus}, load {os.getloadavg()[0]:.1f}, onnxruntime {version('onnxruntime')}")
    peers = peers_at(options.peers)
    wanted = {"vlm-profile", "bare loop", *options.tools}
    tools = {
        name: tool for name, (_, tool, module) in TOOLS.items() if name in wanted and (not module or module in peers)
    }
    for model in options.model:
        inputs = resolved(run_worker(spec_of(model, options.threads)).inputs, 1, {})
        mode = ["--quick"] if options.quick else []
        job = Job(model, inputs, options.threads, options.seconds, mode, peers)
        quiet = turns(tools, job, options.runs, nullcontext)
        header = [model.name, "figure", "ms", "÷ bare", "spread %", "÷ ours", "seconds", "says"]
        print(f"\n{plain_table(header, list(quiet_rows(quiet)))}")
        if options.hogged:
            hogged = turns(tools, job, options.hogged, lambda: hog(cpus[0]))
            header = [f"{model.name}, beside a hog", "ms", "÷ quiet", "spread %", "says"]
            print(f"\n{plain_table(header, list(hogged_rows(quiet, hogged)))}")
    own = list(own_rows(options.model[0], min(2.0, options.seconds)))
    print(f"\n{plain_table(['vlm-profile', 'took', 'to be'], own)}")


if __name__ == "__main__":
    main()
