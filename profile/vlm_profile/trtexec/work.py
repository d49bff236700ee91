"""What stands in the place of a worker process: trtexec times itself, and this asks it."""

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import median

from vlm_contract.codec import Absent, known
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.trtexec import Tool, tool_on
from vlm_profile.inputs import resolved
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.trtexec.engines import Engines, Tell
from vlm_profile.trtexec.models import inputs_of
from vlm_profile.trtexec.repetition import LOOK, Sampling, check_setup, repetition_of, run_once, runtime_used
from vlm_profile.worker import Findings, Spec
from vlm_targets.reach import Here, Machine


class Bench:
    """One machine with its trtexec, and the engines that were built on it."""

    def __init__(self, machine: Machine, tool: Tool, tell: Tell = lambda _: None) -> None:
        self._machine, self._tool = machine, tool
        self._engines = Engines(machine, tool, tell)
        self._image_s: dict[str, float] = {}  # by model: about what one image of a call takes

    @property
    def version(self) -> str:
        """Of TensorRT, as trtexec says it."""
        return self._tool.version

    def work(
        self, spec: Spec, timeout_s: Mapping[str, float] = TIMEOUT_S, sampling: Sampling | None = None
    ) -> Findings:
        """What a worker would find: a look, or one repetition. Raises WorkerFailed with the cause, and VlmError."""
        check_setup(spec.setup)
        if spec.look:
            return self._look(spec, timeout_s)
        call_s = self._image_s.get(spec.model, 0.0) * known(spec.setup.batch)
        try:
            engine = self._engines.engine_of(Path(spec.model), spec.inputs)
        except CheckFailed as error:  # of a batch that nobody had a look at
            raise WorkerFailed(str(error)) from None
        return repetition_of(self._machine, self._tool, engine, spec, sampling, call_s=call_s, timeout_s=timeout_s)

    def _look(self, spec: Spec, timeout_s: Mapping[str, float]) -> Findings:
        """Build the engine and run it a few times, so that what cannot run is refused before anything is measured."""
        declared = inputs_of(Path(spec.model))
        try:
            inputs = resolved(declared, known(spec.setup.batch), spec.input_shapes)
        except VlmError as error:  # the parent finds the same, and knows what to type
            return Findings(declared, runtime_used(self._tool, LOOK), {}, Absent(str(error)))
        engine = self._engines.engine_of(Path(spec.model), inputs)
        run = run_once(self._machine, self._tool, engine, replace(spec, inputs=inputs), LOOK, timeout_s)
        self._image_s[spec.model] = median(run.times.latency_ns) / 1e9 / known(spec.setup.batch)
        return Findings(declared, runtime_used(self._tool, LOOK), {}, Absent("only a look at the model"))


def work_here(spec: Spec, timeout_s: Mapping[str, float] = TIMEOUT_S, sampling: Sampling | None = None) -> Findings:
    """The same on this machine. Engines are kept until this process ends."""
    return bench_here().work(spec, timeout_s, sampling)


@lru_cache
def bench_here() -> Bench:
    """Raises VlmError where there is no trtexec, or no GPU for it."""
    stack = ExitStack()
    machine = stack.enter_context(Here())
    atexit.register(stack.close)
    return Bench(machine, tool_on(machine))
