"""What a process of its own finds in each model before anything is measured: its inputs, and that it opens."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vlm_contract.codec import known
from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Repetition
from vlm_profile.inputs import fixed_batch, resolved
from vlm_profile.places import Place
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.protocol import QUICK, Protocol
from vlm_profile.rows import Request, Row, check_usable
from vlm_profile.trials import Trial
from vlm_profile.worker import Findings, Spec

# Address space of a worker: all memory of the machine, and never less than libraries map without using it.
ADDRESS_SPACE_BYTES_MIN = 8 * 2**30
LOADED_BYTES_PER_S = 20e6  # of a slow board's card
CAUSE_SHOWN = 600  # characters of what a library says
SCOUT = replace(QUICK, mode="scout", processes=1, processes_max=1, processes_sure=1, measure_s=0.4, measure_s_max=1.5)


class Looks:
    """One look at each model and runtime of a request, at a place."""

    def __init__(self, request: Request, place: Place) -> None:
        self.request, self.place = request, place
        self._found: dict[tuple[Path, str], Findings] = {}

    def at(self, row: Row) -> Findings:
        """Raises VlmError where the model does not open."""
        key = row.subject.path, row.runtime.name
        if key not in self._found:
            self.place.version(row.runtime)
            check_usable(row.runtime, self.place)
            try:
                spec = spec_of(row, (), self.request.protocol, self.request, self.place)
                look = replace(spec, look=True, input_shapes=dict(self.request.input_shapes))
                self._found[key] = self.place.work(look, look_timeouts(row))
            except WorkerFailed as error:
                cause = str(error).rstrip(".")[:CAUSE_SHOWN]
                raise VlmError(f"{row.runtime.name} cannot run {row.subject.path}: {cause}.") from None
        return self._found[key]

    def trial_of(self, row: Row, protocol: Protocol) -> Trial:
        """Raises VlmError where a dimension of its inputs is not known."""
        look = self.at(row)
        inputs = resolved(look.inputs, known(row.setup.batch), self.request.input_shapes)
        return Trial(row, inputs, look.runtime, look.versions, protocol, self.place.device)

    def rate(self, row: Row) -> float | None:
        """Images a second as one short process finds it; None where that fails."""
        trial = self.trial_of(row, SCOUT)
        try:
            found = self.place.work(spec_of(row, trial.inputs, SCOUT, self.request, self.place), TIMEOUT_S).repetition
        except WorkerFailed:
            return None
        assert isinstance(found, Repetition)
        return known(row.setup.batch) * len(found.samples_ns) / found.measure_s

    def only_batch(self, row: Row) -> int | None:
        """The batch that the model fixes."""
        return fixed_batch(self.at(row).inputs)


def look_timeouts(row: Row) -> Mapping[str, float]:
    """Short ones for a model with a loop, which may never end; on a GPU the first inference may build an engine."""
    if not row.subject.may_not_end or row.runtime.device != "cpu":
        return TIMEOUT_S
    return TIMEOUT_S | {"load": 4.0 + known(row.subject.used.bytes) / LOADED_BYTES_PER_S, "first": 4.0}


def spec_of(row: Row, inputs: tuple[TensorSpec, ...], protocol: Protocol, request: Request, place: Place) -> Spec:
    """What a worker is told."""
    return Spec(
        runtime=row.runtime.name,
        model=str(row.subject.path),
        setup=row.setup,
        memory_limit_bytes=max(ADDRESS_SPACE_BYTES_MIN, known(place.device.memory_bytes)),
        parent=os.getpid(),
        inputs=inputs,
        protocol=protocol,
        seed=request.seed,
        order=0,
        attempt=1,
    )
