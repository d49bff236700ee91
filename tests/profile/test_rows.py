"""Which rows a request comes to at a place: what runs them, how many threads they have, and what they are called."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device
from vlm_contract.workspace import Workspace
from vlm_profile.rows import Request, Row, check_runtimes, rows_of, runtimes_for
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.subjects import subject_at

DEVICE = Device("a board", "a CPU", 4, 4, 2**33, "a GPU", Absent("it names none"), "Linux", "aarch64")


class PlaceDouble:
    """In the place of a machine, on which everything is installed but what is named: nothing runs there."""

    address, target, shared_memory = "", "jetson-nano", True

    def __init__(self, computes: str = "", missing: Mapping[str, str] | None = None, device: Device = DEVICE) -> None:
        self.computes, self.device, self._missing = computes, device, missing or {}
        self.runtimes = runtimes()

    def unusable(self, kind: type[Runtime]) -> str:
        return self._missing.get(kind.name, "")


@pytest.fixture
def rows(tiny_model: Path, tmp_path: Path) -> Callable[..., list[Row]]:
    """A function that gives the rows of the tiny model, of batch 1, at a place."""

    def made(place: Any, **request: Any) -> list[Row]:
        return list(rows_of(Workspace(tmp_path), Request(**request), subject_at(tiny_model), (1,), place))

    return made


def names_of(rows: list[Row]) -> Iterator[str]:
    return (row.path.stem.rpartition(f".{row.runtime.name}-")[2] for row in rows)


# What runs them


@pytest.mark.parametrize(("computes", "device"), [("cuda", "cuda"), ("cpu", "cpu"), ("", "cpu")])
def test_of_all_runtimes_one_is_chosen_on_the_device_that_the_target_is(
    tiny_model: Path, computes: str, device: str
) -> None:
    (chosen,) = runtimes_for(subject_at(tiny_model), "auto", PlaceDouble(computes))  # type: ignore[arg-type]
    assert chosen.device == device


def test_where_nothing_computes_on_the_gpu_the_cpu_does_not_stand_in(tiny_model: Path) -> None:
    missing = {name: "no driver" if "trt" in name else "no package" for name in runtimes() if name != "onnxruntime"}
    with pytest.raises(VlmError, match="Nothing here runs the model on the GPU, which the target is: ") as caught:
        runtimes_for(subject_at(tiny_model), "auto", PlaceDouble("cuda", missing))  # type: ignore[arg-type]
    assert "onnxruntime-cuda, onnxruntime-tensorrt: no package; trtexec: no driver" in str(caught.value)
    assert "sudo apt install tensorrt" in caught.value.hint


def test_of_a_whole_workspace_too_the_cpu_does_not_stand_in() -> None:
    place = PlaceDouble("cuda", {name: "no driver" for name, kind in runtimes().items() if kind.device == "cuda"})
    with pytest.raises(VlmError, match="Nothing here runs the model on the GPU"):
        check_runtimes("auto", place)  # type: ignore[arg-type]
    check_runtimes("trtexec", place)  # type: ignore[arg-type]


# Threads


def test_trtexec_is_told_of_no_threads(rows: Callable[..., list[Row]]) -> None:
    with pytest.raises(VlmError, match="--threads 4: trtexec is told of no threads"):
        rows(PlaceDouble(), runtime="trtexec", threads=4)
    for threads in (None, 1, "auto"):
        assert {row.setup.threads for row in rows(PlaceDouble(), runtime="trtexec", threads=threads)} == {1}


# Names


def test_rows_of_two_power_modes_are_two_records(rows: Callable[..., list[Row]]) -> None:
    slow, fast = (PlaceDouble(device=replace(DEVICE, power_mode=mode)) for mode in ("7W", "MODE_15W 6CORE"))
    assert [*names_of(rows(slow)), *names_of(rows(fast)), *names_of(rows(PlaceDouble()))] == [
        "b1-t4-7w",
        "b1-t4-mode_15w_6core",
        "b1-t4",
    ]


def test_rows_with_locked_clocks_are_other_records(rows: Callable[..., list[Row]]) -> None:
    assert list(names_of(rows(PlaceDouble(), clocks_locked=True))) == ["b1-t4-locked"]
