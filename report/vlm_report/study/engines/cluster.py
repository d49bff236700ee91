"""A Ray cluster as a study finds it: connected to, its nodes, and whether each of them sees the workspace."""

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_report.study.engines.local import CORES_FOR_ONE

# Read by Ray when it is imported: it would report to its makers how it is used.
TELEMETRY_OFF = {"RAY_USAGE_STATS_ENABLED": "0"}
CLIENT = "ray://"  # begins addresses of Ray's client, whose tasks cannot be placed on a node
START = "ray start --head, and --address HOST:6379"
CONNECT_S = 10.0
PROBE_S = 60.0  # for every node to say what it sees


@dataclass(frozen=True)
class Node:
    """One machine of the cluster."""

    id: str
    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Seen:
    """What a node says of itself."""

    token: str  # what stands in the workspace's token file there; empty where there is none
    version: str  # of vlm-edge


def connected(address: str | None) -> Any:
    """The module `ray`, connected to a cluster and silent. Raises VlmError where there is none."""
    os.environ.update(TELEMETRY_OFF)
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise require_extra("cluster", error) from None
    if address:
        check_address(address)
    ends = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "auto", log_to_driver=False, logging_level=logging.ERROR)
        signal.signal(signal.SIGTERM, ends)  # Ray's own way to end has another exit code, and keeps no state
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster that this machine is part of"
        raise VlmError(f"{where[:1].upper()}{where[1:]} does not answer: {_first_line(error)}.", hint=START) from None
    return ray


def check_address(address: str) -> None:
    """Raise VlmError where nothing listens at HOST:PORT: Ray itself would end this process without a word to catch."""
    host, _, port = address.rpartition(":")
    if address.startswith(CLIENT) or not host or not port.isdecimal():
        raise VlmError(f"{address!r} is no address of a Ray cluster; expected HOST:PORT.", hint="--address HOST:6379")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise VlmError(f"No Ray cluster answers at {address}: {_first_line(error)}.", hint=START) from None


def nodes_of(described: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """The nodes alive that have CPUs, of what `ray.nodes()` says."""
    alive = [(each, each["Resources"]) for each in described if each["Alive"]]
    nodes = [
        Node(each["NodeID"], each["NodeManagerHostname"], int(holds["CPU"]), int(holds.get("GPU", 0)))
        for each, holds in alive
        if holds.get("CPU", 0) >= 1
    ]
    return tuple(sorted(nodes, key=lambda node: node.id))


def cores_of_a_step(nodes: Sequence[Node], jobs: int | None) -> int:
    """Cores that each step holds, on every node alike: by the smallest node. Raises VlmError for too many jobs."""
    smallest = min(node.cpus for node in nodes)
    if jobs is not None and not 1 <= jobs <= smallest:
        raise VlmError(
            f"--jobs {jobs}: the smallest node has {smallest} cores.", hint=f"--jobs {max(1, smallest // 2)}"
        )
    gpus = min((node.gpus for node in nodes if node.gpus), default=0)
    return max(1, smallest // (jobs or gpus or max(1, smallest // CORES_FOR_ONE)))


def check_nodes(ray: Any, nodes: Sequence[Node], token: Path) -> None:
    """Raise VlmError naming the nodes that do not see the workspace, or that have another vlm-edge."""
    if not nodes:
        raise VlmError("The cluster has no node with CPUs.", hint="ray start --address HOST:6379, on another machine")
    look = ray.remote(num_cpus=0, max_retries=0)(seen_here)
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    refs = [look.options(scheduling_strategy=affinity(node.id, soft=False)).remote(str(token)) for node in nodes]
    try:
        answers: list[Seen] = ray.get(refs, timeout=PROBE_S)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[-1]
        raise VlmError(
            f"A node of the cluster cannot run vlm-edge: {said}.", hint="pip install vlm-edge, on every node"
        ) from None
    expected = Seen(token.read_text(), version("vlm-edge"))
    for node, seen in zip(nodes, answers, strict=True):
        if seen.token != expected.token:
            raise VlmError(
                f"The node {node.name} does not see the workspace {token.parents[1]}: every node writes its results "
                "there.",
                hint="--workspace with a folder that all nodes share, under one path",
            )
        if seen.version != expected.version:
            raise VlmError(f"The node {node.name} has vlm-edge {seen.version}; here is {expected.version}.")


def seen_here(token: str) -> Seen:
    """On a node: what it sees."""
    path = Path(token)
    return Seen(path.read_text() if path.exists() else "", version("vlm-edge"))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
