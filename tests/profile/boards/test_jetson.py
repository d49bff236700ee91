"""Rows are measured on a Jetson over SSH; this one is an emulator on loopback, and its records say so."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent, read_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.evidence import why_no_evidence
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Measurement, Repetition, Setup
from vlm_contract.workspace import Workspace
from vlm_profile.boards.jetson import JetsonPlace, measure_on
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.protocol import QUICK
from vlm_profile.rows import Request
from vlm_profile.worker import Spec
from vlm_targets.catalogue import target_named
from vlm_targets.ssh import Board

PROTOCOL = replace(QUICK, measure_s=0.2, measure_s_max=0.5, processes=2, processes_max=2, processes_sure=2)
INPUTS = (TensorSpec("images", (1, 3, 4, 4), "float32"),)

Jetsons = Callable[..., Any]
Trees = Callable[..., Path]


class Told(LiveLine):
    """A line that keeps what it was to show."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return graph_at(tmp_path / "model.onnx")


def graph_at(path: Path, weights: int = 1) -> Path:
    """A graph with a dynamic batch."""
    from onnx import TensorProto, helper, save

    images, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 4, 4]) for name in ("images", "logits")
    )
    unused = helper.make_tensor("unused", TensorProto.FLOAT, [weights], [0.5] * weights)
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["logits"])], "relu", [images], [logits], [unused])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@contextmanager
def place_on(there: Any, engines: Path, target: str = "jetson", **wanted: Any) -> Iterator[JetsonPlace]:
    with (
        Board(there.ssh.address, there.ssh.config) as board,
        JetsonPlace(board, target_named(target), engines, **wanted) as place,
    ):
        yield place


def spec_for(onnx: Path, batch: int = 1) -> Spec:
    return Spec(
        runtime="trtexec",
        model=str(onnx),
        setup=Setup(batch, 1, 1, "test", Absent("one call after the other"), {"cuda_graph": False}),
        memory_limit_bytes=2**33,
        parent=os.getpid(),
        inputs=tuple(replace(tensor, shape=(batch, *tensor.shape[1:])) for tensor in INPUTS),
        protocol=PROTOCOL,
        seed=0,
        order=0,
        attempt=1,
    )


def measured(place: JetsonPlace, onnx: Path) -> Repetition:
    found = place.work(spec_for(onnx), TIMEOUT_S).repetition
    assert isinstance(found, Repetition)
    return found


# Measuring


def test_a_graph_is_sent_built_measured_and_its_engine_fetched(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there, told = jetson(recorded_tree(), behaviour="sleep 0.7"), Told()
    with place_on(there, tmp_path / "engines", line=told) as place:
        assert (place.target, place.address) == ("jetson-orin-nano", "board")
        assert place.device.name == "NVIDIA Jetson Orin Nano Developer Kit (emulator)"
        assert (place.device.power_mode, place.device.machine is not None) == ("7W", True)
        found = measured(place, onnx)
    (engine,) = (tmp_path / "engines").iterdir()
    assert engine.read_text().startswith("engine of an emulator")
    assert len(found.samples_ns) >= 50
    assert any("nothing stays on board" in line for line in told.lines)
    assert there.ssh.temporary_folders() == []
    assert not (there.ssh.home / ".cache").exists()
    assert len(found.readings) >= 3
    assert found.readings[-1].values["power_w VDD_IN"] == pytest.approx(5.056 * 0.904)
    assert found.readings[-1].values["temperature_c gpu-thermal"] == pytest.approx(45.187)
    assert found.readings[-1].values["overcurrent_events oc1"] == 0
    assert found.readings[0].at_s - 5 < found.began_s + found.measure_s <= found.readings[-1].at_s + 5


@pytest.mark.parametrize(
    ("tree", "version", "sensor"),
    [
        ("jetson-nano", "8.2.1", "power_w POM_5V_IN"),
        ("jetson-xavier-nx", "8.5.2", "power_w VDD_IN"),
        ("jetson-agx-orin", "10.3.0", "power_w sum of rails"),
        ("jetson-thor", "11.4.1", "temperature_c tj-thermal"),
    ],
)
def test_each_generation_is_measured_with_its_own_trtexec_and_its_own_rails(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path, tree: str, version: str, sensor: str
) -> None:
    there = jetson(recorded_tree(tree), version)
    with place_on(there, tmp_path / "engines", tree) as place:
        found = place.work(spec_for(onnx), TIMEOUT_S)
    assert found.runtime.version == version
    assert isinstance(found.repetition, Repetition)
    assert found.repetition.readings[-1].values[sensor] > 0


def test_rows_of_a_board_are_filed_under_its_target_and_are_no_evidence(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there, workspace = jetson(recorded_tree()), Workspace(tmp_path / "workspace")
    request = Request(target="jetson", artifacts=(onnx,), batches=(8,), protocol=PROTOCOL, wait_quiet_s=0)
    with Board(there.ssh.address, there.ssh.config) as board:
        found = measure_on(board, target_named("jetson"), workspace, request, LiveLine(quiet=True))
    assert len(list((workspace.root / "measurements/jetson-orin-nano/engines").iterdir())) == 1
    assert [record.setup.options for record in found.records.values()] == [{"cuda_graph": False}, {"cuda_graph": True}]
    for path, record in found.records.items():
        assert path.parent == workspace.root / "measurements" / "jetson-orin-nano"
        assert read_record(Measurement, path) == record
        assert (record.target, record.evidence, record.runtime.name) == ("jetson-orin-nano", "measured", "trtexec")
        assert record.status != "failed", record.verdicts
        assert (record.environment["jetson_linux"], record.environment["jetpack"]) == ("36.3.0", "6.0")
        assert "is no device" in why_no_evidence(record)


def test_the_next_run_goes_on_with_the_engine_that_was_built(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there, told = jetson(recorded_tree()), Told()
    with place_on(there, tmp_path / "engines") as place:
        measured(place, onnx)
    with place_on(there, tmp_path / "engines", line=told) as place:
        measured(place, onnx)
    assert "board takes the engine that it built before" in told.lines
    (there.programs / "trtexec.json").unlink()
    there.install("8.6.1")
    with place_on(there, tmp_path / "engines") as place:
        measured(place, onnx)
    assert len(list((tmp_path / "engines").iterdir())) == 2  # another TensorRT takes no engine of the first


def test_memory_is_what_the_kernel_could_give_less_meanwhile(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    tree = recorded_tree()
    there = jetson(tree)
    with place_on(there, tmp_path / "engines") as place:
        assert isinstance(measured(place, onnx).device_peak_bytes, Absent)
        taken = f"sed -i 's/^MemAvailable: .*/MemAvailable: 2003112 kB/' '{tree}/proc/meminfo'; sleep 0.5"
        there.install(behaviour=taken)
        assert measured(place, onnx).device_peak_bytes == 400_000 * 1024


@pytest.mark.parametrize(("ticks", "contended"), [(0, False), (100_000, True)])  # of all CPUs, a call of trtexec
def test_others_on_the_boards_cpus_are_judged(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path, ticks: int, contended: bool
) -> None:
    tree = recorded_tree()
    there, workspace = jetson(tree), Workspace(tmp_path / "workspace")
    stat = f"'{tree}/proc/stat'"
    count = f"n=$(sed -n 's/^cpu  \\([0-9]*\\) .*/\\1/p' {stat})"
    there.install(behaviour=f'{count}; sed -i "s/^cpu  [0-9]*/cpu  $((n + {ticks}))/" {stat}')
    request = Request(target="jetson", artifacts=(onnx,), batches=(1,), protocol=PROTOCOL, wait_quiet_s=0)
    with Board(there.ssh.address, there.ssh.config) as board:
        found = measure_on(board, target_named("jetson"), workspace, request, LiveLine(quiet=True))
    for record in found.records.values():
        assert ("contended" in [verdict.code for verdict in record.verdicts]) is contended
        assert "first" not in record.repetitions[0].phases_s and record.repetitions[0].context


def test_an_idle_board_is_quiet(jetson: Jetsons, recorded_tree: Trees, tmp_path: Path) -> None:
    there = jetson(recorded_tree())
    with place_on(there, tmp_path / "engines") as place:
        seen = place.wait_until_quiet(0, LiveLine(quiet=True))
    assert seen.sentences == ()
    assert isinstance(seen.idle_w, dict)
    assert seen.idle_w["power_w VDD_IN"] == pytest.approx(5.056 * 0.904)
    assert seen.fingerprint["gpu_clock"] == "follows the load"


def test_clocks_are_locked_while_a_place_is_open(jetson: Jetsons, recorded_tree: Trees, tmp_path: Path) -> None:
    there = jetson(recorded_tree())
    with place_on(there, tmp_path / "engines", lock_clocks=True) as place:
        assert place.wait_until_quiet(0, LiveLine(quiet=True)).fingerprint["gpu_clock"] == "locked"
    assert (there.gpu / "min_freq").read_text() == "306000000\n"


def test_locked_clocks_are_told(jetson: Jetsons, recorded_tree: Trees, onnx: Path, workspace: Workspace) -> None:
    there = jetson(recorded_tree())
    request = Request(target="jetson", artifacts=(onnx,), batches=(1,), protocol=PROTOCOL, wait_quiet_s=0)
    with Board(there.ssh.address, there.ssh.config) as board:
        measured = measure_on(board, target_named("jetson"), workspace, request, Told(), lock_clocks=True)
    assert measured.advice == ("board: its clocks were at their most meanwhile, and are as before.",)


def test_a_runtime_that_a_jetson_is_not_measured_with_is_refused(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, workspace: Workspace
) -> None:
    there = jetson(recorded_tree())
    request = Request(target="jetson", artifacts=(onnx,), runtime="onnxruntime")
    with (
        Board(there.ssh.address, there.ssh.config) as board,
        pytest.raises(VlmError, match=r"onnxruntime does not run on board; there, trtexec does\.") as caught,
    ):
        measure_on(board, target_named("jetson"), workspace, request, Told())
    assert caught.value.hint == "--runtime trtexec"


def test_rows_of_locked_clocks_stand_beside_those_of_clocks_that_follow_the_load(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there, workspace = jetson(recorded_tree()), Workspace(tmp_path / "workspace")
    request = Request(target="jetson", artifacts=(onnx,), batches=(1,), protocol=PROTOCOL, wait_quiet_s=0)
    names = []
    for lock_clocks in (False, True):
        with Board(there.ssh.address, there.ssh.config) as board:
            found = measure_on(
                board, target_named("jetson"), workspace, request, LiveLine(quiet=True), lock_clocks=lock_clocks
            )
        assert not found.kept
        assert all(record.memory.covers.startswith("one memory") for record in found.records.values())
        names += [path.stem.partition("trtexec-")[2] for path in found.records]
    ways = [f"b1-t1-cuda_graph-{way}-7w" for way in ("false", "true")]
    assert names == [*ways, *(f"{way}-locked" for way in ways)]


# What goes wrong


@pytest.mark.parametrize(
    ("tree", "target", "said"),
    [
        ("jetson-nano", "jetson", "This is NVIDIA Jetson Nano"),
        ("jetson-orin-nano", "jetson-orin-nano-super", "not set up as a Super"),
    ],
)
def test_another_board_than_the_target_is_refused(
    jetson: Jetsons, recorded_tree: Trees, tmp_path: Path, tree: str, target: str, said: str
) -> None:
    there = jetson(recorded_tree(tree))
    refused = pytest.raises(VlmError, match=f"board is not taken for {target}.*{said}")
    with refused as caught, place_on(there, tmp_path / "engines", target, lock_clocks=True):
        pass
    assert "--target with the name of that board" in caught.value.hint
    assert there.calls("jetson_clocks") == []
    assert there.ssh.temporary_folders() == []


def test_the_second_on_a_board_is_told_who_holds_it(jetson: Jetsons, recorded_tree: Trees, tmp_path: Path) -> None:
    there = jetson(recorded_tree())
    refused = pytest.raises(VlmError, match=r"board is in use by \S+@\S+, since")
    with place_on(there, tmp_path / "engines"), refused, place_on(there, tmp_path / "engines"):
        pass


def test_a_cut_connection_ends_the_run_leaves_nothing_and_the_next_one_goes_on(
    eventually: Callable[..., bool], jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there, told = jetson(recorded_tree()), Told()
    cutter = threading.Thread(target=cut_connection_of, args=("4242.81", eventually))
    lost = pytest.raises(VlmError, match="connection to board was lost")
    with lost, place_on(there, tmp_path / "engines", lock_clocks=True) as place:
        measured(place, onnx)
        there.install(behaviour="sleep 4242.81")
        cutter.start()
        measured(place, onnx)
    cutter.join()
    assert eventually(lambda: not processes_with("4242.81") and there.ssh.temporary_folders() == [])
    assert eventually(lambda: (there.gpu / "min_freq").read_text() == "306000000\n")
    there.install()
    with place_on(there, tmp_path / "engines", wait_s=10, line=told) as place:
        measured(place, onnx)
    assert "board takes the engine that it built before" in told.lines


def processes_with(word: str) -> list[int]:
    """Processes that have that word in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def cut_connection_of(word: str, eventually: Callable[..., bool]) -> None:
    """Kill the sshd that serves the connection by which the process with that word was started."""
    assert eventually(lambda: processes_with(word))
    process = processes_with(word)[0]
    while not Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"sshd"):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(process, signal.SIGKILL)


def test_a_build_that_fails_is_a_failed_row_in_trtexecs_own_words(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there = jetson(recorded_tree(), behaviour="printf '[01/01/2025] [E] no \033[2Jkernel for node 7\n' >&2; exit 1")
    with (
        place_on(there, tmp_path / "engines") as place,
        pytest.raises(WorkerFailed, match=r"could not build model\.onnx .*no \\x1b\[2Jkernel for node 7"),
    ):
        place.work(spec_for(onnx), TIMEOUT_S)
    assert not (tmp_path / "engines").exists()


def test_this_machine_is_no_board(jetson: Jetsons, recorded_tree: Trees, tmp_path: Path) -> None:
    there = jetson(recorded_tree())
    refused = pytest.raises(VlmError, match="'host' is this machine, and board another one")
    with refused, place_on(there, tmp_path / "engines", "host"):
        pass


def test_a_killed_process_is_named_by_its_signal(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there = jetson(recorded_tree())
    with place_on(there, tmp_path / "engines") as place:
        measured(place, onnx)
        there.install(behaviour="kill -KILL $PPID")
        with pytest.raises(WorkerFailed, match=r"trtexec was killed \(SIGKILL\)"):
            place.work(spec_for(onnx), TIMEOUT_S)
        there.install()
        measured(place, onnx)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"times": "\x1b[2J[{]"}, "times is damaged"),
        ({"times": "[]"}, "no times"),
        ({"behaviour": "printf '\\033[2J[E] gone\\033[0m\\n' >&2; exit 3"}, "exit code 3"),
        ({"outputs": "\x1b[2J"}, "outputs is damaged"),
    ],
)
def test_what_a_board_answers_is_data(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path, settings: Any, cause: str
) -> None:
    there = jetson(recorded_tree())
    with place_on(there, tmp_path / "engines") as place:
        measured(place, onnx)
        there.install(**settings)
        with pytest.raises(WorkerFailed, match=cause) as caught:
            place.work(spec_for(onnx), TIMEOUT_S)
    assert str(caught.value).isprintable()


def test_a_board_whose_disk_is_full_is_refused_at_once(jetson: Jetsons, recorded_tree: Trees, tmp_path: Path) -> None:
    there = jetson(recorded_tree())
    (there.ssh.home / ".bashrc").write_text("trap '' XFSZ; ulimit -f 4\n")
    refused = pytest.raises(VlmError, match=r"Nothing can be written in .* on board: its disk is full")
    with refused as caught, place_on(there, tmp_path / "engines"):
        pass
    assert "df -h" in caught.value.hint
    assert there.ssh.temporary_folders() == []


def test_a_full_disk_on_the_board_is_told_and_nothing_is_left(
    jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there = jetson(recorded_tree())
    # As on a full disk, a write fails in the middle.
    (there.ssh.home / ".bashrc").write_text("trap '' XFSZ; ulimit -f 50\n")
    long = replace(spec_for(onnx), protocol=replace(PROTOCOL, measure_s=2.0))
    large = graph_at(tmp_path / "large.onnx", weights=100_000)
    with place_on(there, tmp_path / "engines") as place:
        with pytest.raises(WorkerFailed, match="File too large"):
            place.work(long, TIMEOUT_S)
        with pytest.raises(VlmError, match=r"large\.onnx .* could not be written on board") as caught:
            place.work(spec_for(large), TIMEOUT_S)
    assert "df -h" in caught.value.hint
    assert there.ssh.temporary_folders() == []


def test_a_run_that_lost_its_lock_measures_no_further(
    eventually: Callable[..., bool], jetson: Jetsons, recorded_tree: Trees, onnx: Path, tmp_path: Path
) -> None:
    there = jetson(recorded_tree())
    with (
        pytest.raises(VlmError, match="lock on board is lost"),
        Board(there.ssh.address, there.ssh.config) as board,
        JetsonPlace(board, target_named("jetson"), tmp_path / "engines") as place,
    ):
        for process in processes_with(board.folder):
            os.kill(process, signal.SIGKILL)
        place.work(spec_for(onnx), TIMEOUT_S)
