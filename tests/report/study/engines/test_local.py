"""This machine as an engine: what runs beside what, how it ends, and what it held."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_report.study.engines import Ended, Job
from vlm_report.study.engines.local import LocalEngine, gpus_here
from vlm_report.study.steps import Needs, Step

Eventually = Callable[[Callable[[], object]], bool]
NOTHING = Needs()
SLEEPS = "import time; time.sleep(60)"


def a_job(folder: Path, name: str, code: str = SLEEPS, needs: Needs = NOTHING) -> Job:
    step = Step(f"train/{name}", "train", (), (), "key", needs)
    return Job(step, (sys.executable, "-c", code), folder / f"{name}.json", folder / f"{name}.log")


def ended(engine: LocalEngine) -> Ended:
    (one,) = engine.ended(30)
    return one


def test_it_runs_as_many_steps_as_it_has_jobs(tmp_path: Path) -> None:
    with LocalEngine(2, cores=4, gpus=()) as engine:
        assert engine.threads() == 2
        for name in ("one", "two"):
            job = a_job(tmp_path, name)
            assert engine.has_room_for(job.step)
            engine.start(job)
        assert not engine.has_room_for(a_job(tmp_path, "three").step)


@pytest.mark.parametrize(("cores", "gpus", "jobs"), [(2, (), 1), (4, (), 1), (16, (), 4), (16, ("0", "1"), 2)])
def test_the_usual_number_of_jobs_is_one_for_each_gpu_else_for_four_cores(
    cores: int, gpus: tuple[str, ...], jobs: int
) -> None:
    assert LocalEngine(cores=cores, gpus=gpus).side_by_side == jobs


def test_what_takes_the_whole_machine_runs_alone(tmp_path: Path) -> None:
    whole = a_job(tmp_path, "whole", needs=Needs(whole=True))
    with LocalEngine(2, cores=2, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one"))
        assert not engine.has_room_for(whole.step)
    with LocalEngine(2, cores=2, gpus=()) as engine:
        engine.start(whole)
        assert not engine.has_room_for(a_job(tmp_path, "one").step)


def test_two_steps_of_one_lock_do_not_meet(tmp_path: Path) -> None:
    with LocalEngine(4, cores=4, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one", needs=Needs(lock="artifacts")))
        assert not engine.has_room_for(a_job(tmp_path, "two", needs=Needs(lock="artifacts")).step)
        assert engine.has_room_for(a_job(tmp_path, "three", needs=Needs(lock="report")).step)


def test_each_training_sees_one_gpu_of_its_own(tmp_path: Path) -> None:
    shows = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    with LocalEngine(3, cores=6, gpus=("4", "7")) as engine:
        for name in ("one", "two"):
            engine.start(a_job(tmp_path, name, f"{shows}; import time; time.sleep(1)", Needs(gpu=True)))
        assert not engine.has_room_for(a_job(tmp_path, "three", needs=Needs(gpu=True)).step), "both GPUs are held"
        engine.start(a_job(tmp_path, "three", shows))
        over: list[Ended] = []
        while len(over) < 3:
            over += engine.ended(30)
    seen = {each.id: (tmp_path / f"{each.id[6:]}.json").read_text().strip() for each in over}
    assert seen == {"train/one": "4", "train/two": "7", "train/three": ""}
    assert {each.id: each.gpus for each in over} == {"train/one": 1, "train/two": 1, "train/three": 0}


def test_output_and_errors_go_into_files_of_their_own(tmp_path: Path) -> None:
    with LocalEngine(1, cores=2, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one", "import sys; print('out'); print('log', file=sys.stderr); sys.exit(3)"))
        end = ended(engine)
    assert (end.code, end.cpus) == (3, 2)
    assert (tmp_path / "one.json").read_text() == "out\n"
    assert (tmp_path / "one.log").read_text() == "log\n"


def test_a_signal_is_told_from_an_exit_code(tmp_path: Path) -> None:
    with LocalEngine(1, cores=1, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one", "import os; os.kill(os.getpid(), 11)"))
        assert ended(engine).code == -signal.SIGSEGV


def test_what_a_command_leaves_in_its_session_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    leaves = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid)"
    with LocalEngine(1, cores=1, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one", leaves))
        assert ended(engine).code == 0
    pid = int((tmp_path / "one.json").read_text())
    assert eventually(lambda: not is_alive(pid))


def test_a_command_that_does_not_listen_is_killed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlm_report.study.engines import local

    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    with LocalEngine(1, cores=1, gpus=()) as engine:
        engine.start(a_job(tmp_path, "one", deaf))
        while not (tmp_path / "one.json").read_text():
            engine.ended(0.05)
        (process,) = [each.process for each in engine._running.values()]
        local.end_all([process], end_s=0.3)
    assert not is_alive(int((tmp_path / "one.json").read_text()))


def test_gpus_are_those_that_the_environment_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm_report.study.engines.local.version", lambda name: "2.11.0")
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / bus).mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/gpus" / bus / "information").write_text("Model: a double")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_here(tmp_path) == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus_here(tmp_path) == ("1",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_here(tmp_path) == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("vlm_report.study.engines.local.version", lambda name: "2.11.0+cpu")
    assert gpus_here(tmp_path) == ()


@pytest.mark.parametrize("jobs", [0, 5])
def test_more_jobs_than_cores_are_refused(jobs: int) -> None:
    with pytest.raises(VlmError, match="4 cores"):
        LocalEngine(jobs, cores=4, gpus=())


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
