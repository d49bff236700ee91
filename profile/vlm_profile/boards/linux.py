"""Measuring on a Raspberry Pi or any other Linux board over SSH: the whole of vlm-profile runs there, as on any host.

So preflight, sensors, isolation and verdicts are the very same code, and no connection stands in a clock's way. Models
go there, progress comes back while they are measured, and the records at the end. These are checked here as anything
from outside, and filed under the board's name.
"""

import json
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from vlm_contract import files
from vlm_contract.codec import encode, write_record
from vlm_contract.console import LiveLine, printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device, Measurement
from vlm_contract.workspace import MANIFEST_FILE, Workspace
from vlm_profile.boards.environment import environment_on
from vlm_profile.boards.errands import WORDS_SHOWN, Order, Stored, answered, order_of
from vlm_profile.boards.fetched import Asked, records_from
from vlm_profile.onnxfile.check import check_onnx_file
from vlm_profile.process import TIMEOUT_S
from vlm_profile.rows import HOST, Request
from vlm_profile.session import Measured
from vlm_profile.subjects import Subject, Trust, manifest_in, subjects_of
from vlm_targets.catalogue import Target
from vlm_targets.host import device_of, why_not
from vlm_targets.lock import locked
from vlm_targets.mirror import mirrored
from vlm_targets.ssh import Board

FORMAT = "onnx"
SPARE_S = 60.0  # beside the limits of a worker's phases, until the next word comes
MKDIR_LIMIT_S = 60.0


def measure_on(board: Board, target: Target, workspace: Workspace, request: Request, line: LiveLine) -> Measured:
    """Measure a request on a connected board, and store its records under the target's name.

    Raises VlmError where the board is not the target, is in use, cannot run the toolkit or is lost; what was finished
    by then stays there, and the next run goes on from it.
    """
    subjects, passed_over = _runnable(
        subjects_of(workspace, request.artifacts, Trust(workspace, request.trusted)), request
    )
    device = device_on(board, target)
    with files.locked(workspace.root / "measurements" / target.name, "vlm-profile"):
        with locked(board, request.wait_quiet_s, line):
            environment = environment_on(board, line, request.computes)
            stored = measured_there(board, environment.python, subjects, request, line)
            fetched = dict(records_from(board, stored, Asked(tuple(subjects), request, device.name)))
        records = {workspace.measurement(target.name, name): filed(each, target) for name, each in fetched.items()}
        for path, record in records.items():
            write_record(record, path)
    return Measured(
        records,
        frozenset(path for path in records if path.name in stored.kept),
        passed_over + _escaped(stored.skipped),
        _escaped(stored.noise),
        _escaped(stored.advice) + ((_how_to_remove(board, environment.python),) if environment.made else ()),
    )


def filed(record: Measurement, target: Target) -> Measurement:
    """The record of a board under the target's name; there it is `host`."""
    return replace(record, target=target.name)


def device_on(board: Board, target: Target) -> Device:
    """What the board says that it is. Raises VlmError unless that is the target."""
    if target.name == HOST:
        raise VlmError(
            f"{HOST!r} is this machine, and {board.address} another one.", hint="--target NAME of: vlm-profile targets"
        )
    with tempfile.TemporaryDirectory(prefix="vlm-mirror.") as folder:
        root = mirrored(board, Path(folder))
        if why := why_not(target, root):
            raise VlmError(
                f"{board.address}: {printable(why)[:WORDS_SHOWN]}",
                hint="--target with what it is; vlm-profile targets names them",
            )
        return device_of(root)


def _runnable(subjects: Sequence[Subject], request: Request) -> tuple[list[Subject], tuple[str, ...]]:
    """ONNX models, and a sentence for each other artifact of the workspace. Raises VlmError for one that was named."""
    runnable = [subject for subject in subjects if subject.used.format == FORMAT]
    rest = [subject.used for subject in subjects if subject.used.format != FORMAT]
    if rest and (request.artifacts or not runnable):
        raise VlmError(
            f"{rest[0].name} is no ONNX model ({rest[0].format}); a board that is no Jetson runs nothing else.",
            hint="vlm-export --fmt onnx",
        )
    return runnable, tuple(f"{used.name}: a board that is no Jetson runs no {used.format}." for used in rest)


def measured_there(board: Board, python: str, subjects: Sequence[Subject], request: Request, line: LiveLine) -> Stored:
    """Send the models and the order, and wait while the board measures."""
    artifacts = tuple(_sent(board, subject, f"model-{index}", line) for index, subject in enumerate(subjects))
    path = f"{board.folder}/order.json"
    _send_order(board, order_of(request, artifacts), path)
    limit_s = sum(TIMEOUT_S.values()) + request.protocol.soak_s + request.wait_quiet_s + SPARE_S
    done = board.run(
        [python, "-I", "-m", "vlm_profile.boards.onboard_measure", path],
        limit_s,
        tell=lambda said: line.show(f"{board.address}: {said}"),
    )
    line.clear()
    return answered(done, Stored, board.address)


def _sent(board: Board, subject: Subject, folder: str, line: LiveLine) -> str:
    """Copy a model there, with its weights and its manifest where it has them; its path in the private folder."""
    here = subject.path.parent
    parts = [subject.path, *check_onnx_file(subject.path).data_files]
    if (here / MANIFEST_FILE).exists() and manifest_in(here).files[0].name == subject.path.name:
        parts.append(here / MANIFEST_FILE)
    places = {file: PurePosixPath(folder, *file.relative_to(here).parts) for file in parts}
    parents = sorted({f"{board.folder}/{place.parent}" for place in places.values()})
    board.run(["mkdir", "-p", *parents], MKDIR_LIMIT_S)
    for file, place in places.items():
        line.show(f"{board.address}: sending {file.name}, {file.stat().st_size / 1e6:.1f} MB")
        board.push(file, f"{board.folder}/{place}")
    return str(places[subject.path])


def _send_order(board: Board, order: Order, remote: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="vlm-order.", suffix=".json") as file:
        file.write(json.dumps(encode(order), allow_nan=False).encode())
        file.flush()
        board.push(Path(file.name), remote)


def _escaped(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(sentence)[:WORDS_SHOWN] for sentence in sentences)


def _how_to_remove(board: Board, python: str) -> str:
    remove = shlex.join(["rm", "-r", python.partition("/environment-")[0]])
    return printable(
        f"{board.address}: the toolkit stands there in an environment of its own, made just now and used from now on; "
        f"to remove it: {shlex.join(['ssh', board.address, remove])}"
    )
