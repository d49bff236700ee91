"""A worker as its parent sees it: started alone, waited for without polling, named by its cause when it dies."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any

from vlm_contract.codec import Absent, FieldError, decode, encode, known
from vlm_profile.worker import Findings, Spec

COMMAND = (sys.executable, "-m", "vlm_profile.worker")
# Seconds after which a phase is given up: generous, for a phase that does not end at all.
TIMEOUT_S = {"import": 60.0, "load": 300.0, "first": 300.0, "warmup": 300.0, "measure": 180.0, "teardown": 10.0}
TERMINATE_S = 5.0  # between the request to end and the kill


class WorkerFailed(Exception):
    """The worker found nothing; the message is the cause."""


def run_worker(spec: Spec, *, command: Sequence[str] = COMMAND, timeout_s: Mapping[str, float] = TIMEOUT_S) -> Findings:
    """Start a worker in a session of its own and wait for its findings. Raises WorkerFailed with the cause."""
    receiving, sending = os.pipe()
    with open(receiving, "rb", buffering=0) as channel, tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            [*command, str(sending)],
            stdin=subprocess.PIPE,
            stdout=said,  # what a library prints must not mix with what the worker sends
            stderr=said,
            pass_fds=[sending],
            start_new_session=True,
            env={**os.environ, **worker_variables(known(spec.setup.threads))},
        )
        os.close(sending)
        try:
            _give(worker, spec)
            limits = {**timeout_s, "measure": timeout_s["measure"] + spec.protocol.soak_s}
            findings = _received(worker, channel, said, limits)
            return _with_teardown(findings, _seconds_until_end(worker, timeout_s["teardown"]))
        finally:
            _end(worker)


def worker_variables(threads: int) -> dict[str, str]:
    """The environment variables that a worker starts with, beside the inherited ones."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **dict.fromkeys(pools, str(threads)),
        "ORT_DISABLE_TELEMETRY": "1",  # read at onnxruntime's import; else a thread of it writes a database
        "CUDA_MODULE_LOADING": "LAZY",  # CUDA's default since 12.2, so that older ones load alike
        "PYTHONSAFEPATH": "1",  # a module in the current folder must not stand in for a library's
    }


def _give(worker: "subprocess.Popen[bytes]", spec: Spec) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError), worker.stdin as stdin:  # a worker that died at once is named by its exit below
        stdin.write(json.dumps(encode(spec)).encode())


def _received(
    worker: "subprocess.Popen[bytes]", channel: IO[bytes], said: IO[bytes], timeout_s: Mapping[str, float]
) -> Findings:
    phase, begin, rest = "import", time.monotonic(), b""
    while True:
        left = begin + timeout_s[phase] - time.monotonic()
        if left <= 0 or not select.select([channel], [], [], left)[0]:
            raise WorkerFailed(f"the phase {phase} did not end within {timeout_s[phase]:g} s")
        if not (block := channel.read(1 << 20)):
            raise WorkerFailed(f"{_how_it_ended(worker)} in the phase {phase}{_last_words(said)}")
        *lines, rest = (rest + block).split(b"\n")
        for kind, value in map(_message, lines):
            if kind == "findings":
                return _findings(value)
            if kind == "error":
                raise WorkerFailed(str(value))
            if kind != "phase" or value not in timeout_s:
                raise WorkerFailed(f"it sent an unknown message {kind!r}")
            phase, begin = value, time.monotonic()


def _message(line: bytes) -> tuple[str, Any]:
    try:
        ((kind, value),) = json.loads(line).items()
    except (ValueError, AttributeError, RecursionError):
        raise WorkerFailed(f"it sent what is no message: {line[:40]!r}") from None
    return kind, value


def _findings(value: Any) -> Findings:
    try:
        findings: Findings = decode(Findings, value)
    except FieldError as error:
        raise WorkerFailed(f"it sent damaged findings: {error}") from None
    return findings


def _with_teardown(findings: Findings, seconds: float) -> Findings:
    if isinstance(findings.repetition, Absent):
        return findings
    phases_s = {**findings.repetition.phases_s, "teardown": seconds}
    return replace(findings, repetition=replace(findings.repetition, phases_s=phases_s))


def _seconds_until_end(worker: "subprocess.Popen[bytes]", timeout_s: float) -> float:
    begin = time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(timeout_s)
    return time.monotonic() - begin


def _how_it_ended(worker: "subprocess.Popen[bytes]") -> str:
    _seconds_until_end(worker, TERMINATE_S)
    if worker.returncode is None:
        return "the worker closed its channel and hung"
    if worker.returncode >= 0:
        return f"the worker ended with exit code {worker.returncode}"
    name = signal.Signals(-worker.returncode).name
    if name == "SIGKILL":
        return "the worker was killed (SIGKILL), as the system does where memory runs out,"
    return f"the worker crashed ({name})"


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4096))
    lines = said.read().decode(errors="replace").split("\n")
    return next((f": {line.strip()[:300]}" for line in reversed(lines) if line.strip()), "")


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """End the worker and all that it started."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, request)
        _seconds_until_end(worker, TERMINATE_S)
