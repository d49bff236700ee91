"""A study under way, with doubles for its commands: what runs, what is kept, what fails, what is resumed."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ALL = 2 * 4 + 1  # two runs: trained, exported, profiled on two targets; and the report
Eventually = Callable[[Callable[[], object]], bool]
Pids = Callable[[Path], list[int]]


def test_every_step_runs_once_and_the_report_comes_last(doubled: Any) -> None:
    done = doubled.run()
    assert done.returncode == 0, done.stderr
    calls = doubled.calls()
    assert len(calls) == ALL
    assert len(set(calls)) == ALL - 2  # what is profiled is named by its target: twice each
    assert calls[-1] == "report report"
    assert f"{ALL} of {ALL} steps done" in done.stdout


def test_a_second_run_runs_nothing(finished: Any) -> None:
    assert finished.run().returncode == 0
    assert finished.calls() == []


def test_a_changed_option_of_profiling_trains_and_exports_nothing(finished: Any) -> None:
    finished.write(finished.file.read_text() + "options = { quick = true }\n")
    finished.run()
    assert sorted(finished.calls()) == ["profile host"] * 2 + ["profile jetson"] * 2


def test_an_override_for_one_model_trains_that_one_alone_and_keeps_what_it_was(finished: Any) -> None:
    finished.write(finished.file.read_text() + '\n[[train.override]]\nmodels = ["beta"]\noptions = { lr = 0.1 }\n')
    finished.run()
    trained = [call for call in finished.calls() if call.startswith("train")]
    assert len(trained) == 1
    assert trained[0].startswith("train beta-digits-100-s0-")
    assert len(list(finished.workspace.glob("runs/beta-*"))) == 2


def test_what_is_gone_is_made_again_and_what_rests_on_it_only_where_it_came_out_otherwise(finished: Any) -> None:
    (card,) = finished.workspace.glob("runs/alpha-digits-100-*/checkpoint.json")
    card.unlink()
    finished.run()
    assert [call.split()[0] for call in finished.calls()] == ["train"]


def test_a_record_that_was_made_anew_by_hand_is_reported_anew(finished: Any) -> None:
    next(finished.workspace.glob("measurements/host/alpha-digits-100-*fp16.json")).write_text("measured again")
    finished.run()
    assert finished.calls() == ["profile host", "report report"]


def test_a_failed_step_costs_only_what_needs_it_and_is_named_with_its_last_words_and_its_log(doubled: Any) -> None:
    doubled.tell(train_beta="fail")
    done = doubled.run()
    assert done.returncode == 1
    assert len(doubled.calls()) == ALL - 3
    assert "the double fails, as it was told to. Try: another double" in done.stderr
    log = next(line for line in done.stderr.splitlines() if "train/beta-digits-100" in line).split("log: ")[1]
    assert Path(log.partition(")")[0]).read_text().startswith("vlm-train: the double fails")
    assert "3 steps that need it wait" in done.stderr


def test_what_failed_is_tried_again_by_the_next_run(doubled: Any) -> None:
    doubled.tell(train_beta="fail")
    doubled.run()
    doubled.tell()
    doubled.forget_calls()
    assert doubled.run().returncode == 0
    assert len(doubled.calls()) == 4 + 1
    assert all("alpha" not in call for call in doubled.calls())


def test_a_killed_step_is_named_by_its_signal(doubled: Any) -> None:
    doubled.tell(export_alpha="die")
    done = doubled.run()
    assert done.returncode == 1
    assert "it was ended by SIGKILL" in done.stderr
    assert not any(call.startswith("profile") and "alpha" in call for call in doubled.calls())


def test_an_invalid_measurement_is_done_with_what_the_check_said(doubled: Any) -> None:
    doubled.tell(profile_host="say no")
    done = doubled.run()
    assert done.returncode == 1
    assert "done, and a check said: 2 rows: 2 invalid" in done.stderr
    log = doubled.document("status")
    assert len(log["completed"]) == ALL
    doubled.forget_calls()
    assert doubled.run().returncode == 1, "what a check said still stands"
    assert doubled.calls() == []


def test_again_measures_anew_what_was_not_valid(doubled: Any) -> None:
    doubled.tell(profile_host="say no")
    doubled.run()
    doubled.tell()
    doubled.forget_calls()
    assert doubled.run("run", "--again").returncode == 0
    assert doubled.calls() == ["profile host"] * 2 + ["report report"]
    assert "--again" in (doubled.workspace / "calls.txt").read_text().splitlines()[0]


def test_what_an_export_refused_is_not_profiled_and_the_rest_is(doubled: Any) -> None:
    doubled.tell(export_alpha="say no")
    done = doubled.run()
    assert done.returncode == 1
    assert "refused: alpha-digits-100" in done.stderr
    measured = {path.name for path in doubled.workspace.glob("measurements/host/*")}
    assert not any(name.startswith("alpha") and "fp16" in name for name in measured)
    assert sum(name.startswith("alpha") for name in measured) == 1


def test_an_interrupted_run_ends_its_commands_and_continues_later(
    doubled: Any, eventually: Eventually, pids_of_doubles: Pids
) -> None:
    doubled.tell(train_beta=60)
    process = doubled.start()
    assert eventually(lambda: pids_of_doubles(doubled.workspace) and "train beta" in " ".join(doubled.calls()))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "The same command continues." in said
    assert pids_of_doubles(doubled.workspace) == []
    stopped = [id for id, standing in doubled.state["steps"].items() if standing["became"] == "stopped"]
    assert len(stopped) == 1
    done = [id for id, standing in doubled.state["steps"].items() if standing["became"] == "done"]
    doubled.tell()
    doubled.forget_calls()
    assert doubled.run().returncode == 0
    assert len(doubled.calls()) == ALL - len(done)


def test_a_killed_study_takes_its_commands_with_it_and_continues_where_it_was(
    doubled: Any, eventually: Eventually, pids_of_doubles: Pids
) -> None:
    doubled.tell(train_beta=60)
    process = doubled.start()
    assert eventually(lambda: pids_of_doubles(doubled.workspace) and "train beta" in " ".join(doubled.calls()))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: not pids_of_doubles(doubled.workspace))
    log = doubled.run("status").stdout
    assert "In progress (0)" in log
    assert "was cut off" in log
    doubled.tell()
    assert doubled.run().returncode == 0
    beta = [call for call in doubled.calls() if call.startswith("train beta-digits-100")]
    alpha = [call for call in doubled.calls() if call.startswith("train alpha-digits-100")]
    assert (len(alpha), len(beta)) == (1, 2)


def test_a_step_killed_from_outside_fails_alone(doubled: Any, eventually: Eventually, pids_of_doubles: Pids) -> None:
    doubled.tell(train_alpha=60)
    process = doubled.start()
    assert eventually(lambda: pids_of_doubles(doubled.workspace))
    for pid in pids_of_doubles(doubled.workspace):
        os.kill(pid, signal.SIGKILL)
    doubled.tell()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "train/alpha-digits-100" in said
    assert "SIGKILL" in said
    assert len(doubled.document("status")["failed"]) == 1


def test_a_second_run_of_the_same_study_is_refused_with_the_holder(doubled: Any, eventually: Eventually) -> None:
    doubled.tell(train=60)
    process = doubled.start()
    assert eventually(doubled.calls)
    refused = doubled.run()
    assert refused.returncode == 2
    assert f"(process {process.pid})" in " ".join(refused.stderr.split())
    log = doubled.run("status")
    assert f"by process {process.pid}" in log.stdout
    assert "In progress (1)" in log.stdout


def test_a_dry_run_prints_the_plan_and_leaves_nothing(doubled: Any) -> None:
    done = doubled.run("run", "--dry-run")
    assert done.returncode == 0
    assert "vlm-train --model=alpha --data=digits --samples=100 --seed=0" in done.stdout
    assert f"{ALL} of {ALL} steps would run" in done.stdout
    assert not (doubled.workspace / "studies").exists()


def test_an_unknown_option_is_refused_with_the_nearest_before_anything_runs(doubled: Any) -> None:
    doubled.write(doubled.file.read_text().replace("epochs", "epoch"))
    done = doubled.run()
    assert done.returncode == 2
    assert "vlm-train has no option --epoch; did you mean epochs?" in " ".join(done.stderr.split())
    assert doubled.calls() == []


def test_it_is_silent_where_stderr_is_no_terminal(doubled: Any) -> None:
    assert doubled.run().stderr == ""


def test_a_command_that_reads_the_progress_gets_lines(doubled: Any) -> None:
    doubled.tell(train_alpha=2)
    done = subprocess.run(
        doubled.command("run"), capture_output=True, text=True, env={**os.environ, "VLM_PROGRESS": "lines"}
    )
    assert any(line.startswith(f"study doubled: 0 of {ALL} steps done") for line in done.stderr.splitlines())
    assert "\x1b" not in done.stderr


def test_json_ends_stdout_with_the_log(doubled: Any) -> None:
    document = json.loads(doubled.run("run", "--json").stdout.splitlines()[-1])
    assert len(document["completed"]) == ALL
    assert document["cost"]["cpu_hours"] > 0


@pytest.mark.parametrize("jobs", ["0", "1000"])
def test_a_number_of_jobs_that_cannot_be_is_refused(doubled: Any, jobs: str) -> None:
    done = doubled.run("run", "--jobs", jobs)
    assert done.returncode == 2
    assert "--jobs" in done.stderr
