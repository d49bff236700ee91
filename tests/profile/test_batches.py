"""Each runtime has batches of its own, and a run that goes on keeps those that were chosen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import ArtifactUsed, Device, Setup
from vlm_contract.workspace import Workspace
from vlm_profile.rows import Row
from vlm_profile.runtimes import runtimes
from vlm_profile.subjects import Subject
from vlm_profile.sweeps import kept_batches, rows_worth_measuring

DEVICE = Device("a board", "a CPU", 4, 2, 2**33, Absent("none"), Absent("none"), "Linux", "x86_64")
SUBJECT = Subject(Path("m.onnx"), ArtifactUsed("m", "m.onnx", "0" * 64, 1000, "onnx", "fp32"), "m")


def rows_at(root: Path, batches: Sequence[int]) -> list[Row]:
    """Two runtimes, each with 1 and 2 threads."""
    return [
        Row(
            Workspace(root).measurement("host", f"m.{name}-b{batch}-t{threads}"),
            SUBJECT,
            runtimes()[name],
            Setup(batch, threads, 1, "the call", Absent("one call after the other"), {}),
        )
        for name in ("onnxruntime", "openvino")
        for batch in batches
        for threads in (1, 2)
    ]


def test_each_runtime_is_scouted_with_most_threads_and_measured_at_its_own_batches(tmp_path: Path) -> None:
    scouts: list[tuple[str, int | Absent, int]] = []

    def batches_for(row: Row) -> tuple[int, ...]:
        scouts.append((row.runtime.name, row.setup.threads, row.setup.batch))
        return {"onnxruntime": (1, 2), "openvino": (8,)}[row.runtime.name]

    rows = list(rows_worth_measuring(lambda batches: rows_at(tmp_path, batches), batches_for))
    assert scouts == [("onnxruntime", 2, 1), ("openvino", 2, 1)]
    assert [(row.runtime.name, row.setup.batch) for row in rows] == [
        *[("onnxruntime", 1)] * 2,
        *[("onnxruntime", 2)] * 2,
        *[("openvino", 8)] * 2,
    ]


class Look:
    """Chooses what it is told, and counts how often it is asked."""

    def __init__(self, *batches: int) -> None:
        self.batches, self.times = batches, 0

    def __call__(self) -> tuple[int, ...]:
        self.times += 1
        return self.batches


def test_a_run_that_goes_on_keeps_the_batches_that_were_chosen(tmp_path: Path) -> None:
    scout, first, second = rows_at(tmp_path, (1,))[0], Look(1, 2, 4), Look(1, 2)
    assert kept_batches(scout, "1.0", DEVICE, first) == (1, 2, 4)
    assert kept_batches(scout, "1.0", DEVICE, second) == (1, 2, 4)
    assert (first.times, second.times) == (1, 0)
    assert Workspace(tmp_path).measurements().records == {}  # it is no measurement
    assert Workspace(tmp_path).measurements().problems == ()


@pytest.mark.parametrize("changed", ["version", "model", "device", "threads", "again", "damaged"])
def test_another_model_machine_or_runtime_is_looked_at_anew(tmp_path: Path, changed: str) -> None:
    scout, device = rows_at(tmp_path, (1,))[0], DEVICE
    kept_batches(scout, "1.0", device, Look(1, 2, 4))
    if changed == "model":
        scout = replace(scout, subject=replace(SUBJECT, used=replace(SUBJECT.used, sha256="1" * 64)))
    if changed == "device":
        device = replace(device, power_mode="15W")
    if changed == "threads":
        scout = replace(scout, setup=replace(scout.setup, threads=2))
    if changed == "damaged":
        (file,) = scout.path.parent.glob(".*.json")
        file.write_text("{")
    version = "1.1" if changed == "version" else "1.0"
    assert kept_batches(scout, version, device, Look(1, 8), again=changed == "again") == (1, 8)
    assert kept_batches(scout, version, device, Look(1)) == (1, 8)  # the new choice is the kept one


def test_a_look_that_ran_nothing_is_not_kept_and_batch_1_will_say_why(tmp_path: Path) -> None:
    scout = rows_at(tmp_path, (1,))[0]
    assert kept_batches(scout, "1.0", DEVICE, Look()) == (1,)
    assert kept_batches(scout, "1.0", DEVICE, Look(1, 2)) == (1, 2)
