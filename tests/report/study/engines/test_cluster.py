"""What a study makes of a Ray cluster's nodes, and of addresses; no cluster is needed."""

import socket
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_report.study.engines import Job
from vlm_report.study.engines.cluster import Node, check_address, cores_of_a_step, nodes_of
from vlm_report.study.engines.ray import carried_out
from vlm_report.study.steps import Needs, Step


def test_every_step_holds_the_cores_of_the_smallest_node_divided() -> None:
    large, small = Node("1", "large", 16, 0), Node("2", "small", 8, 0)
    assert cores_of_a_step([large, small], None) == 4
    assert cores_of_a_step([large, small], 1) == 8
    assert cores_of_a_step([Node("1", "gpus", 16, 4)], None) == 4
    with pytest.raises(VlmError, match="the smallest node has 8 cores"):
        cores_of_a_step([large, small], 9)


def test_dead_nodes_and_those_without_cpus_take_no_steps() -> None:
    described = [
        {"NodeID": "b", "NodeManagerHostname": "two", "Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"NodeID": "a", "NodeManagerHostname": "dead", "Alive": False, "Resources": {"CPU": 4.0}},
        {"NodeID": "c", "NodeManagerHostname": "head", "Alive": True, "Resources": {}},
    ]
    assert nodes_of(described) == (Node("b", "two", 4, 1),)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "somewhere", "127.0.0.1:many"])
def test_what_is_no_address_of_a_cluster_is_refused(address: str) -> None:
    with pytest.raises(VlmError, match="expected HOST:PORT"):
        check_address(address)


def test_where_nothing_listens_is_no_cluster() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(VlmError, match=f"No Ray cluster answers at {address}"):
        check_address(address)


def test_a_job_refuses_a_node_that_joined_later_and_sees_nothing(tmp_path: Path) -> None:
    step = Step("train/alpha", "train", (), (), "key", Needs())
    job = Job(step, ("false",), tmp_path / "out", tmp_path / "log")
    code, _, said = carried_out(job, str(tmp_path / "workspace" / "studies" / ".seen"), str(tmp_path), "python")
    assert code == 2
    assert f"does not see the workspace {tmp_path / 'workspace'}" in said
    assert not job.out.exists()
