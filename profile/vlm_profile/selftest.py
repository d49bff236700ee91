"""`vlm-profile selftest`: the protocol on workers whose truth is known."""

import argparse
import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from vlm_contract.codec import Absent
from vlm_contract.console import CHECK_SAID_NO, DONE, LiveLine, Outcome, Parser, plain_table
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import Workspace
from vlm_profile import loadgen
from vlm_profile.measuring import measure
from vlm_profile.protocol import QUICK, Protocol
from vlm_profile.rows import Request
from vlm_profile.runtimes import SELFTEST, runtimes
from vlm_profile.runtimes import _selftest as known

# One addition, opset 17: a model that every check of a file accepts. No runtime of the self-test reads it.
MODEL = base64.b64decode(
    "CAgSADo9Cg4KAXgKAXgSAXkiA0FkZBIBdFoTCgF4Eg4KDAgBEggKAggBCgIIBGITCgF5Eg4KDAgBEggKAggBCgIIBEIECgAQEQ=="
)
SHORT = replace(QUICK, mode="selftest", processes=2, processes_max=2, processes_sure=2)
HURRIED = replace(SHORT, retries=0, measure_s=0.5, measure_s_max=1.0)
WITHIN = 0.02
WITHIN_OF_LOADGEN = 0.05
NOISE = frozenset({"contended", "neighbours", "unstable", "drift", "throttled"})  # of a machine that is not quiet
OTHERS = frozenset({"neighbours"})  # where `contended` itself is on trial
HOG = """
import os, sys
from vlm_contract.processes import die_with
die_with(int(sys.argv[1]))
os.sched_setaffinity(0, {int(sys.argv[2])})
while True:
    pass
"""

Status = Literal["passed", "failed", "unjudged", "skipped"]


@dataclass(frozen=True)
class Found:
    """What a record says of a truth."""

    right: bool
    seen: str


Look = Callable[[Measurement], Found]


@dataclass(frozen=True)
class Truth:
    """A worker whose truth is known, and what the protocol must say of it."""

    says: str
    runtime: type[known.Known]
    look: Look
    protocol: Protocol = SHORT
    beside_a_hog: bool = False
    excuses: Set[str] = frozenset()  # verdicts that make a wrong answer none: it needed a quiet machine
    repeated: bool = False  # as often as `--times` says


@dataclass(frozen=True)
class Taken:
    """A record, and why the machine was not quiet before it."""

    measurement: Measurement
    noise: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """How one of them ended."""

    says: str
    status: Status
    seen: str


def _within(*truths: tuple[str, float]) -> Look:
    """Figures of the latency, each within 2 % of what it is."""

    def look(m: Measurement) -> Found:
        if isinstance(m.latency, Absent):
            return Found(False, m.latency.reason)
        found = {name: (getattr(m.latency, name), truth) for name, truth in truths}
        if absent := [value.reason for value, _ in found.values() if isinstance(value, Absent)]:
            return Found(False, absent[0])
        right = all(abs(value / truth - 1) <= WITHIN for value, truth in found.values())
        return Found(right, ", ".join(f"{name} {value:.3f} for {truth:g}" for name, (value, truth) in found.items()))

    return look


def _verdict(code: str, *, expected: bool = True) -> Look:
    def look(m: Measurement) -> Found:
        seen = next((f"{v.code}: {v.seen}" for v in m.verdicts if v.code == code), "")
        return Found(bool(seen) == expected, seen or f"no verdict {code}")

    return look


def _held(m: Measurement) -> Found:
    growth = m.memory.model_rss_bytes
    if isinstance(growth, Absent):
        return Found(False, growth.reason)
    # The kernel's mark may miss what each CPU has not yet handed in, some 32 pages (proc_pid_status(5): "inaccurate").
    right = 0.998 * known.HELD_BYTES <= growth <= 1.25 * known.HELD_BYTES
    return Found(right, f"model_rss_bytes {growth / 2**20:.0f} MiB for {known.HELD_BYTES / 2**20:.0f}")


TRUTHS = (
    Truth(
        "a sleep of 5 ms is reported within 2 %",
        known.Sleep,
        _within(("latency_ms_p50", known.SLEEP_MS)),
        replace(SHORT, processes=3, processes_max=3, processes_sure=3),
        excuses=NOISE,
    ),
    Truth(
        "one stall of 100 ms in 50 calls moves p99 and not the median",
        known.Stall,
        _within(("latency_ms_p50", known.STALL_BASE_MS), ("latency_ms_p99", known.STALL_MS)),
        replace(SHORT, measure_s=1.4, measure_s_max=3.0),
        excuses=NOISE,
    ),
    Truth("a drift of 20 % is called drift", known.Drift, _verdict("drift")),
    Truth(
        "a process that hogs its CPU is called contention",
        known.Busy,
        _verdict("contended"),
        HURRIED,
        beside_a_hog=True,
        repeated=True,
    ),
    Truth(
        "without it nothing is",
        known.Busy,
        _verdict("contended", expected=False),
        HURRIED,
        excuses=OTHERS,
        repeated=True,
    ),
    Truth("a model that returns its last answer is caught", known.Stale, _verdict("output"), HURRIED),
    Truth("256 MB held for 1 ms show in the peak", known.Holding, _held, replace(HURRIED, iterations=20)),
)


def selftest_parser() -> Parser:
    """Of the words after `vlm-profile selftest`."""
    parser = Parser("vlm-profile selftest", "Measure workers whose truth is known, and say whether it was found.")
    parser.add_argument(
        "--times", type=int, default=1, metavar="N", help="of the check with and without a CPU hog (default: 1)"
    )
    return parser


def selftest_command(options: argparse.Namespace) -> Outcome:
    """Measure each, judge, print; exit code 1 unless every check passed, or was skipped for want of a package."""
    line, checks = LiveLine(quiet=options.quiet), list[Checked]()
    for check in selftest(max(1, options.times), line.show):
        checks.append(check)
    line.clear()
    if not options.quiet:
        print(plain_table(("truth", "", "seen"), [(c.says, c.status, c.seen) for c in checks]))
    passed = all(check.status in ("passed", "skipped") for check in checks)
    return Outcome({"checks": [asdict(check) for check in checks]}, DONE if passed else CHECK_SAID_NO)


def selftest(times: int = 1, show: Callable[[str], None] = lambda text: None) -> Iterator[Checked]:
    """Every truth, then LoadGen beside us."""
    with tempfile.TemporaryDirectory() as folder, selftest_runtimes():
        model = Path(folder) / "selftest.onnx"
        model.write_bytes(MODEL)
        for truth in TRUTHS:
            show(truth.says)
            yield checked(truth, [measured(truth, model) for _ in range(times if truth.repeated else 1)])
        show("LoadGen drives the same worker")
        yield beside_loadgen(model)


def checked(truth: Truth, taken: Sequence[Taken]) -> Checked:
    """What the protocol said, beside the truth."""
    found = [truth.look(each.measurement) for each in taken]
    wrong = [i for i, each in enumerate(found) if not each.right]
    shown = found[wrong[0] if wrong else 0].seen
    if truth.repeated:
        shown = f"{len(found) - len(wrong)} of {len(found)}; {shown}"
    noise = noise_in([taken[i] for i in wrong], truth.excuses)
    return Checked(truth.says, "passed" if not wrong else "unjudged" if noise else "failed", shown + noise)


def noise_in(taken: Iterable[Taken], excuses: Set[str]) -> str:
    """How the machine showed that it was not quiet, where that is an excuse; empty where it is none."""
    before = [sentence for each in taken for sentence in each.noise if excuses]
    meanwhile = [v.seen for each in taken for v in each.measurement.verdicts if v.code in excuses]
    return next((f"; the machine is not quiet: {seen}" for seen in before + meanwhile), "")


def measured(truth: Truth, model: Path) -> Taken:
    """One worker, in a workspace that is thrown away."""
    request = Request(
        artifacts=(model,), batches=(1,), threads=1, runtime=truth.runtime.name, protocol=truth.protocol,
        wait_quiet_s=0.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, ExitStack() as beside:
        if truth.beside_a_hog:
            beside.enter_context(hog(min(os.sched_getaffinity(0))))
        answer = measure(Workspace(Path(folder)), request)
        (measurement,) = answer.records.values()
        return Taken(measurement, answer.noise)


@contextmanager
def hog(cpu: int) -> Iterator[None]:
    """A process that never lets go of a CPU."""
    process = subprocess.Popen([sys.executable, "-c", HOG, str(os.getpid()), str(cpu)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def selftest_runtimes() -> Iterator[None]:
    """Have the self-test's runtimes among the others, here and in the processes that are started here."""
    os.environ[SELFTEST] = "1"
    runtimes.cache_clear()
    try:
        yield
    finally:
        del os.environ[SELFTEST]
        runtimes.cache_clear()


def beside_loadgen(model: Path) -> Checked:
    """LoadGen's median of the same worker, and ours."""
    says = "LoadGen, driving the same worker, agrees within 5 %"
    if not loadgen.installed():
        return Checked(says, "skipped", f"not installed: pip install {loadgen.PACKAGE}")
    taken = measured(Truth(says, known.Busy, _verdict("contended", expected=False)), model)
    ours = taken.measurement.latency
    if isinstance(ours, Absent):
        return Checked(says, "failed", ours.reason)
    theirs = loadgen.figures_of(loadgen.spec_of(taken.measurement, model, known.INPUTS, SHORT))["p50_ms"]
    percent = 100 * (theirs / ours.latency_ms_p50 - 1)
    right = abs(percent) <= 100 * WITHIN_OF_LOADGEN
    noise = "" if right else noise_in([taken], NOISE)
    seen = f"{theirs:.3f} ms, ours {ours.latency_ms_p50:.3f} ms: {percent:+.1f} %{noise}"
    return Checked(says, "passed" if right else "unjudged" if noise else "failed", seen)
