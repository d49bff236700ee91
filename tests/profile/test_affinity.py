"""Threads are held to whole cores, or spread over them; the kernel says which CPUs share one."""

from pathlib import Path

import pytest

from vlm_profile.affinity import cores_of, pinnings


def topology(root: Path, *siblings: str, file: str = "thread_siblings_list") -> Path:
    """The files of a kernel whose CPU 0, 1, … has these siblings."""
    for cpu, listed in enumerate(siblings):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / file).write_text(f"{listed}\n")
    return root


@pytest.mark.parametrize("file", ["thread_siblings_list", "core_cpus_list"])
def test_where_siblings_share_a_core_threads_are_packed_or_spread(tmp_path: Path, file: str) -> None:
    root = topology(tmp_path, "0,2", "1,3", "0,2", "1,3", file=file)
    assert cores_of(range(4), root) == [[0, 2], [1, 3]]
    assert pinnings(2, range(4), root) == ("0,2", "0,1")
    assert pinnings(3, range(4), root) == ("0,1,2",)  # both ways take these


def test_siblings_may_be_neighbours(tmp_path: Path) -> None:
    root = topology(tmp_path, "0-1", "0-1", "2-3", "2-3")
    assert pinnings(2, range(4), root) == ("0,1", "0,2")
    assert pinnings(2, [1, 2, 3], root) == ("1,2",)  # of the first core we have one hardware thread alone


def test_without_siblings_there_is_one_choice(tmp_path: Path) -> None:
    assert pinnings(2, range(4), topology(tmp_path, "0", "1", "2", "3")) == ("0,1",)
    assert pinnings(2, [4, 5, 6, 7], tmp_path / "no kernel") == ("4,5",)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_take_all_cpus_are_not_held(tmp_path: Path, threads: int) -> None:
    assert pinnings(threads, [0, 1], topology(tmp_path, "0-1", "0-1")) == ()
