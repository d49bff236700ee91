"""The command vlm-study: read the matrix, plan, run what is missing; or print the experiment log."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, plain_table, printable, run_command
from vlm_contract.errors import VlmError
from vlm_contract.files import locked
from vlm_contract.workspace import Workspace
from vlm_report.study.checks import check_options
from vlm_report.study.engines import ENGINES, Engine
from vlm_report.study.matrix import Matrix
from vlm_report.study.reading import matrix_from_file
from vlm_report.study.state import Ledger, folder_of, holder_here, ledger_of
from vlm_report.study.steps import COMMANDS, Step, machine_here, places_of, steps_of

DESCRIPTION = "A study: models × data × samples × seeds, exported, profiled and reported, from one TOML file."
MORE = "vlm-study run STUDY.toml runs what is missing; vlm-study status STUDY.toml prints the experiment log."


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:
        return run_command(run_parser(), run, words[1:])
    if words[:1] == ["status"]:
        return run_command(study_parser("status", "The experiment log of a study."), status, words[1:])
    return run_command(parser(), run, words)


def run(options: argparse.Namespace) -> Outcome:
    """Parse, plan, hold the study, run, say what came of it."""
    matrix, workspace = matrix_from_file(options.study), workspace_of(options)
    check_options(matrix, {stage: options_of_command(stage) for stage in ("train", "export", "profile")})
    steps = steps_of(matrix, places_of(matrix), machine_here())
    if options.dry_run:
        return plan(steps, ledger_of(workspace, matrix.name), quiet=options.quiet)
    engine = engine_named(options)
    with locked(folder_of(workspace, matrix.name), f"vlm-study run {printable(str(options.study))}"):
        ledger = ledger_of(workspace, matrix.name)
        ledger.take_stopped()
        steps = steps_again(steps, ledger) if options.again else steps
        ledger.holder = holder_here(options.engine)
        ledger.save()
        ledger.plan(steps)
        return carried_out(matrix, steps, ledger, engine, quiet=options.quiet)


def carried_out(matrix: Matrix, steps: Sequence[Step], ledger: Ledger, engine: Engine, *, quiet: bool) -> Outcome:
    """Run the steps under the live table; the exit code says whether all of them are done and every check said yes."""
    from vlm_report.study.board import Board, summary_line
    from vlm_report.study.log import log_document
    from vlm_report.study.run import Now, run_study

    board = Board(f"study {matrix.name}", matrix.cost, quiet=quiet)
    try:
        progress = run_study(steps, ledger, engine, board.show, board.tell, commands=COMMANDS)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command continues.") from None
    finally:
        board.clear()
    if not quiet:
        print(summary_line(f"study {matrix.name}", progress, matrix.cost))
    said_no = [id for id, now in progress.now.items() if now is Now.DONE and isinstance(ledger.steps[id].said, str)]
    complete = progress.count(Now.DONE) == len(steps) and not said_no
    return Outcome(log_document(matrix, steps, ledger), DONE if complete else CHECK_SAID_NO)


def steps_again(steps: Sequence[Step], ledger: Ledger) -> tuple[Step, ...]:
    """The steps, of which those that measured what is not valid are to be run again, and to measure anew."""
    return tuple(
        replace(step, words=(*step.words, "--again"))
        if step.stage == "profile" and ledger.forget_verdict(step.id)
        else step
        for step in steps
    )


def plan(steps: Sequence[Step], ledger: Ledger, *, quiet: bool) -> Outcome:
    """Say what a run would do, and do none of it."""
    from vlm_report.study.run import Now, standing_now, typed

    now = standing_now(steps, ledger)
    rows = [(step.id, "done" if now[step.id] is Now.DONE else "to run", typed(step)) for step in steps]
    if not quiet:
        print(plain_table(("step", "", "command"), rows))
    left = [step for step in steps if now[step.id] is not Now.DONE]
    if not quiet:
        print(f"\n{len(left)} of {len(steps)} steps would run.")
    return Outcome({"steps": [{"step": id, "state": state, "command": command} for id, state, command in rows]})


def status(options: argparse.Namespace) -> Outcome:
    """Parse, read the state, print the log."""
    from vlm_report.study.log import log_document, log_lines

    matrix, workspace = matrix_from_file(options.study), Workspace(options.workspace)
    ledger, steps = ledger_of(workspace, matrix.name), steps_of(matrix, places_of(matrix), machine_here())
    if not options.quiet:
        for line in log_lines(matrix, steps, ledger):
            print(line)
    return Outcome(log_document(matrix, steps, ledger))


def engine_named(options: argparse.Namespace) -> Engine:
    """Raises VlmError where options are of another engine."""
    if options.engine == "local":
        from vlm_report.study.engines.local import LocalEngine

        if options.address:
            raise VlmError("--address is of a Ray cluster.", hint=f"--engine ray --address {options.address}")
        return LocalEngine(options.jobs)
    from vlm_report.study.engines.ray import RayEngine

    return RayEngine(options.address, options.jobs, workspace_of(options))


def workspace_of(options: argparse.Namespace) -> Workspace:
    """By its whole path where other machines are to find it."""
    return Workspace(options.workspace.absolute() if options.engine == "ray" else options.workspace)


def parser() -> Parser:
    parser = Parser("vlm-study", DESCRIPTION, epilog=MORE)
    parser.add_argument("command", choices=("run", "status"), help="what to do with a study")
    return parser


def study_parser(command: str, description: str) -> Parser:
    parser = Parser(f"vlm-study {command}", description)
    parser.add_argument("study", type=Path, metavar="STUDY.toml", help="the matrix")
    return parser


def run_parser() -> Parser:
    parser = study_parser("run", "Run what is missing of a study; again, to continue it or after a change.")
    add = parser.add_argument
    add("--engine", choices=ENGINES, default="local", help="this machine, or a Ray cluster (default: %(default)s)")
    add("--address", metavar="HOST:PORT", help="of the Ray cluster (default: the one that this machine is part of)")
    add("--jobs", type=int, metavar="N",
        help="steps at a time, on each machine (default: one for each GPU, else for each 4 cores)")  # fmt: skip
    add("--again", action="store_true", help="measure anew, too, where what was measured is not valid")
    add("--dry-run", action="store_true", help="print the plan, and run nothing")
    return parser


def options_of_command(stage: Any) -> frozenset[str]:
    """The long options that a stage's command has, as its --help names them. Raises VlmError where it has no help."""
    command = [*COMMANDS[stage], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    names = frozenset(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", done.stdout))
    if done.returncode or not names:
        raise VlmError(f"vlm-{stage} --help ended with {done.returncode}.", hint=f"vlm-{stage} --help")
    return names


if __name__ == "__main__":
    sys.exit(main())
