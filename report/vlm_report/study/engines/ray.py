"""A Ray cluster: each step is a task, placed by this process on a node with room, its command a child of Ray's worker.

The workspace is a folder that every node sees under the same path. A file in it says so on each node, before anything
runs there: results that a node wrote into a folder of its own would be lost without a word.
"""

import platform
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vlm_contract.files import write_whole
from vlm_contract.workspace import Workspace
from vlm_report.study.engines import Ended, Job
from vlm_report.study.engines.cluster import Node, check_nodes, connected, cores_of_a_step, nodes_of
from vlm_report.study.engines.local import LOOK_S, end_all, has_ended, started
from vlm_report.study.steps import Step

CANCEL_S = 20.0  # for commands to end when the study is interrupted
NODES_AGE_S = 1.0  # of what is known of the nodes


@dataclass
class _Running:
    job: Job
    ref: Any
    node: Node
    began: float
    cpus: int
    gpus: int


class RayEngine:
    """Runs steps on the nodes of a cluster that is there already; measures this machine's rows on one node alone."""

    name = "ray"

    def __init__(
        self,
        address: str | None,
        jobs: int | None,
        workspace: Workspace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._jobs, self._clock = address, jobs, clock
        self._token = workspace.root.absolute() / "studies" / f".seen-{secrets.token_hex(8)}"
        self._running: dict[str, _Running] = {}
        self._nodes: tuple[Node, ...] = ()
        self._looked_at = float("-inf")
        self._measuring = ""  # the node that host rows are measured on

    def __enter__(self) -> "RayEngine":
        """Raises VlmError where no cluster answers, or a node does not see the workspace."""
        self._ray = connected(self._address)
        self._task = self._ray.remote(max_retries=0)(carried_out)
        try:
            write_whole(self._token, secrets.token_hex(16))
            check_nodes(self._ray, self.nodes(), self._token)
            self._cores = cores_of_a_step(self.nodes(), self._jobs)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._cancel()
        finally:
            self._leave()

    @property
    def side_by_side(self) -> int:
        return max(1, sum(node.cpus // self._cores for node in self.nodes()))

    def threads(self) -> int:
        return self._cores

    def nodes(self) -> tuple[Node, ...]:
        """Those alive that have CPUs."""
        if self._clock() - self._looked_at > NODES_AGE_S:
            self._nodes, self._looked_at = nodes_of(self._ray.nodes()), self._clock()
        return self._nodes

    def has_room_for(self, step: Step) -> bool:
        return self._node_for(step) is not None

    def start(self, job: Job) -> None:
        step, node = job.step, self._node_for(job.step)
        assert node
        cpus = node.cpus if step.needs.whole else self._cores
        gpus = node.gpus if step.needs.whole else int(step.needs.gpu and node.gpus > 0)
        if step.needs.whole:
            self._measuring = node.id
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        task = self._task.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=strategy, name=step.id)
        job = replace(job, out=job.out.absolute(), log=job.log.absolute())
        ref = task.remote(job, str(self._token), str(Path.cwd()), sys.executable)
        self._running[step.id] = _Running(job, ref, node, self._clock(), cpus, gpus)

    def running(self) -> dict[str, tuple[float, float, int, str]]:
        now = self._clock()
        return {id: (now - each.began, each.cpus, each.gpus, each.node.name) for id, each in self._running.items()}

    def ended(self, timeout_s: float) -> Sequence[Ended]:
        if not self._running:
            time.sleep(min(timeout_s, LOOK_S))
            return ()
        ids = {each.ref: id for id, each in self._running.items()}
        over, _ = self._ray.wait(list(ids), num_returns=1, timeout=timeout_s)
        return [self._taken(ids[ref]) for ref in over]

    def _taken(self, id: str) -> Ended:
        each = self._running.pop(id)
        how = partial(Ended, id, cpus=each.cpus, gpus=each.gpus, machine=each.node.name)
        try:
            code, seconds, said = self._ray.get(each.ref)
        except self._ray.exceptions.RayTaskError as error:
            return how(code=2, seconds=self._clock() - each.began, said=str(error.cause or error))
        except self._ray.exceptions.RayError as error:  # the worker or its node has gone
            self._looked_at = float("-inf")
            said = f"{type(error).__name__} on {each.node.name}"
            return how(code=2, seconds=self._clock() - each.began, said=said, lost=True)
        return how(code=code, seconds=seconds, said=said)

    def _node_for(self, step: Step) -> Node | None:
        """The freest node that can take the step now; a row of this machine's is always measured on one node."""
        if step.needs.lock and step.needs.lock in {each.job.step.needs.lock for each in self._running.values()}:
            return None
        if step.needs.whole:
            node = self._measuring_node()
            return node if node and not self._on(node) else None
        with_gpus = [node for node in self.nodes() if node.gpus]
        fitting = [
            node for node in (with_gpus if step.needs.gpu and with_gpus else self.nodes()) if self._fits(node, step)
        ]
        return max(fitting, key=lambda node: (self._free(node), node.id), default=None)

    def _fits(self, node: Node, step: Step) -> bool:
        on = self._on(node)
        if any(each.job.step.needs.whole for each in on) or self._free(node) < self._cores:
            return False
        return not (step.needs.gpu and node.gpus) or node.gpus > sum(each.gpus for each in on)

    def _measuring_node(self) -> Node | None:
        """The node of earlier rows while it lives, else this machine's, else the one with most cores."""
        alive = {node.id: node for node in self.nodes()}
        for id in (self._measuring, self._ray.get_runtime_context().get_node_id()):
            if id in alive:
                return alive[id]
        return max(alive.values(), key=lambda node: (node.cpus, node.id), default=None)

    def _free(self, node: Node) -> int:
        return node.cpus - sum(each.cpus for each in self._on(node))

    def _on(self, node: Node) -> list[_Running]:
        return [each for each in self._running.values() if each.node.id == node.id]

    def _cancel(self) -> None:
        """Interrupt the tasks, which end their commands; what has not ended after a while is killed with its worker."""
        refs = [each.ref for each in self._running.values()]
        for force, seconds in ((False, CANCEL_S), (True, 5.0)):
            for ref in refs:
                with suppress(self._ray.exceptions.RayError, ValueError):
                    self._ray.cancel(ref, force=force)
            refs = self._ray.wait(refs, num_returns=len(refs), timeout=seconds)[1] if refs else []

    def _leave(self) -> None:
        self._token.unlink(missing_ok=True)
        self._ray.shutdown()


def carried_out(job: Job, token: str, folder: str, python: str) -> tuple[int, float, str]:
    """On a node: run a job's command; its exit code, its seconds, and what kept it from running."""
    if not Path(token).exists():
        return 2, 0.0, f"{platform.node()} does not see the workspace {Path(token).parents[1]}"
    began = time.monotonic()
    here = [sys.executable if word == python else word for word in job.command]
    process = started(replace(job, command=tuple(here)), {}, folder=folder if Path(folder).is_dir() else None)
    try:
        while not has_ended(process):
            time.sleep(LOOK_S)
    finally:
        end_all([process])
    return process.returncode, time.monotonic() - began, ""
