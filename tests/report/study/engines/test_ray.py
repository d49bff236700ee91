"""Studies on a real Ray cluster of two nodes on this machine; the commands of the steps are doubles."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="the extra 'cluster' is not installed")

from ray.cluster_utils import Cluster

from vlm_contract.errors import VlmError
from vlm_report.study.engines.cluster import check_nodes, nodes_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
Eventually = Callable[[Callable[[], object]], bool]
STORE_BYTES = 100 * 2**20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of two CPUs each; a node that dies is missed within two seconds."""
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3, "health_check_initial_delay_ms": 0}
    head = {"num_cpus": 2, "object_store_memory": STORE_BYTES, "_system_config": quick, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    yield cluster
    cluster.shutdown()


def on(cluster: Cluster) -> list[str]:
    return ["--engine=ray", f"--address={cluster.address}"]


def test_a_study_runs_on_two_nodes(doubled: Any, cluster: Cluster) -> None:
    doubled.tell(train=3)
    done = doubled.run("run", *on(cluster))
    assert done.returncode == 0, done.stderr
    assert "9 of 9 steps done" in done.stdout
    assert len(doubled.calls()) == 9
    assert not list(doubled.workspace.glob("studies/.seen-*"))
    # A step holds all cores of its node, and on one node an export would have come between the trainings.
    assert [call.split()[0] for call in doubled.calls()[:2]] == ["train", "train"]


def test_a_node_killed_midway_costs_what_ran_on_it_and_no_more(
    doubled: Any, cluster: Cluster, eventually: Eventually, pids_of_doubles: Callable[[Path], list[int]]
) -> None:
    doubled.tell(train=8)
    process = doubled.start(*on(cluster))
    assert eventually(lambda: len(doubled.calls()) == 2), "both nodes train"
    (second,) = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
    cluster.remove_node(second, allow_graceful=False)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "it starts again" in said
    assert "9 of 9 steps done" in out
    trained = [call for call in doubled.calls() if call.startswith("train")]
    assert len(trained) == 3, "one of the two was trained twice"
    assert pids_of_doubles(doubled.workspace) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_leaves_nothing_running_on_the_nodes(
    doubled: Any, cluster: Cluster, eventually: Eventually, pids_of_doubles: Callable[[Path], list[int]], how: int
) -> None:
    doubled.tell(train=120)
    process = doubled.start(*on(cluster))
    assert eventually(lambda: len(doubled.calls()) == 2)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert sum(standing["became"] == "stopped" for standing in doubled.state["steps"].values()) == 2
    assert pids_of_doubles(doubled.workspace) == []


def test_a_killed_study_leaves_nothing_running_on_the_nodes(
    doubled: Any, cluster: Cluster, eventually: Eventually, pids_of_doubles: Callable[[Path], list[int]]
) -> None:
    doubled.tell(train=120)
    process = doubled.start(*on(cluster))
    assert eventually(lambda: len(doubled.calls()) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: not pids_of_doubles(doubled.workspace))


def test_a_measurement_of_the_host_has_its_node_to_itself(
    doubled: Any, cluster: Cluster, eventually: Eventually, pids_of_doubles: Callable[[Path], list[int]]
) -> None:
    import ray

    doubled.tell(profile_host=4)
    process = doubled.start(*on(cluster))
    assert eventually(lambda: "profile host" in doubled.calls())
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        assert eventually(lambda: ray.available_resources().get("CPU") == 2.0), "all CPUs of one node are taken"
    finally:
        ray.shutdown()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_no_cluster_is_named_with_what_starts_one(doubled: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = doubled.run("run", "--engine=ray", f"--address={address}")
    assert done.returncode == 2
    assert "Try: ray start --head" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_does_not_see_the_workspace_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes share one file system here, so the path is one that is another folder for each process."""
    import ray

    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / ".seen").write_text("seen")
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        check_nodes(ray, nodes_of(ray.nodes()), tmp_path / "studies" / ".seen")
        with pytest.raises(VlmError, match="does not see the workspace"):
            check_nodes(ray, nodes_of(ray.nodes()), Path("/proc/self/cwd/studies/.seen"))
    finally:
        ray.shutdown()


def test_ray_tells_nobody_how_it_is_used(cluster: Cluster) -> None:
    code = """
from vlm_report.study.engines.cluster import connected
import sys
ray = connected(sys.argv[1])
from ray._common.usage.usage_lib import usage_stats_enabled
print(usage_stats_enabled())
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    command = [sys.executable, "-c", code, cluster.address]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["False"], done.stderr
