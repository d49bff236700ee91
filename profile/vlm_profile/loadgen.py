"""MLPerf's LoadGen driving a runtime, one query after the other: `python -m vlm_profile.loadgen` in a fresh process.

The specification is a worker's, as JSON on stdin; the answer is one line of JSON on stdout. Needs `mlcommons-loadgen`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlm_contract.codec import decode, encode, known
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Measurement
from vlm_profile.inputs import random_feeds
from vlm_profile.process import worker_variables
from vlm_profile.protocol import Protocol
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.worker import Spec, confine

PACKAGE = "mlcommons-loadgen"
_MEDIAN = re.compile(r"50\.00 percentile latency \(ns\)\s*: (\d+)")
_RESULT = re.compile(r"Result is : (\w+)")


def installed() -> bool:
    return find_spec("mlperf_loadgen") is not None


def spec_of(
    measured: Measurement, model: Path, inputs: tuple[TensorSpec, ...], protocol: Protocol, seed: int = 0
) -> Spec:
    """What LoadGen is to drive: the very worker that a measurement is of."""
    limit = max(8 * 2**30, known(measured.device.memory_bytes))
    setup, runtime = measured.setup, known(measured.runtime.name)
    return Spec(runtime, str(model), setup, limit, os.getpid(), inputs, protocol, seed, order=0, attempt=1)


def figures_of(
    spec: Spec, python: str = sys.executable, variables: Mapping[str, str] | None = None, timeout_s: float = 120.0
) -> dict[str, Any]:
    """LoadGen's figures, from a fresh process of `python`. Raises CheckFailed with its last words."""
    try:
        ran = subprocess.run(
            [python, "-m", "vlm_profile.loadgen"],
            input=json.dumps(encode(spec)),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **worker_variables(known(spec.setup.threads)), **(variables or {})},
        )
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"LoadGen did not end within {timeout_s:g} s.") from None
    if ran.returncode:
        said = ran.stderr.strip().splitlines()[-1:]
        raise CheckFailed(f"LoadGen ended with exit code {ran.returncode}: {''.join(said)}.")
    figures: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return figures


def main() -> int:
    spec: Spec = decode(Spec, json.load(sys.stdin))
    kind = runtimes()[spec.runtime]
    confine(spec, kind)
    with kind(Path(spec.model), known(spec.setup.threads), spec.setup.options) as runtime:
        print(json.dumps(single_stream(runtime, spec)))
    return 0


def single_stream(runtime: Runtime, spec: Spec) -> dict[str, Any]:
    """LoadGen's own figures for queries of one feed each: `p50_ms`, and its verdict `result`."""
    feeds = random_feeds(spec.inputs, spec.protocol.inputs, spec.seed)
    for feed in feeds * spec.protocol.warmup_iterations:
        runtime.run(feed)
    with tempfile.TemporaryDirectory() as folder:
        run_test(lambda index: runtime.run(feeds[index]), len(feeds), spec.protocol, folder)
        return figures_in((Path(folder) / "mlperf_log_summary.txt").read_text())


def figures_in(summary: str) -> dict[str, Any]:
    """The median and the verdict, out of LoadGen's summary. Raises ValueError where it holds none."""
    median, result = _MEDIAN.search(summary), _RESULT.search(summary)
    if not median or not result:
        raise ValueError(f"LoadGen's summary names no median: {summary[:200]!r}")
    return {"p50_ms": int(median[1]) / 1e6, "result": result[1]}


def run_test(run: Callable[[int], Any], samples: int, protocol: Protocol, folder: str) -> None:
    """One test of the scenario SingleStream, as long as our measured loop; its log goes into `folder`."""
    mlperf_loadgen = import_module("mlperf_loadgen")

    def issue(queries: Sequence[Any]) -> None:
        for query in queries:
            run(query.index)
        answers = [mlperf_loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries]
        mlperf_loadgen.QuerySamplesComplete(answers)

    settings, log = mlperf_loadgen.TestSettings(), mlperf_loadgen.LogSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(protocol.measure_s * 1e3)
    settings.min_query_count = protocol.iterations
    log.log_output.outdir = folder
    log.log_output.copy_summary_to_stdout = False
    under_test = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(samples, samples, lambda indices: None, lambda indices: None)
    mlperf_loadgen.StartTestWithLogSettings(under_test, library, settings, log)
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(under_test)


if __name__ == "__main__":
    sys.exit(main())
