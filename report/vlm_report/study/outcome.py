"""What a command's end means: done, done with what a check said, or failed and why."""

import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_contract.codec import read_record
from vlm_contract.console import CHECK_SAID_NO, DONE, printable
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.workspace import CARD_FILE, MANIFEST_FILE, WEIGHTS_FILE, Workspace
from vlm_report.study.engines import Ended
from vlm_report.study.state import Made, made_of
from vlm_report.study.steps import Step

TAIL_BYTES = 8192
ANSWER_LIMIT_BYTES = 64 * 2**20
SAID_CHARACTERS = 600


@dataclass(frozen=True)
class Outcome:
    """A step's end."""

    done: bool
    said: str  # why it failed, or what a check said; empty where there is nothing to say
    made: tuple[Made, ...]


def outcome_of(step: Step, ended: Ended, out: Path, log: Path, workspace: Workspace) -> Outcome:
    """Judge by the exit code, by the JSON on stdout, and by whether the files that this names are there."""
    summary = summary_in(out)
    if ended.code == DONE or (ended.code == CHECK_SAID_NO and summary):
        try:
            made = made_of(workspace, files_in(step, summary, workspace))
        except VlmError as error:
            return Outcome(False, str(error), ())
        if made:
            return Outcome(True, verdict_in(step, summary) if ended.code else "", made)
        return Outcome(False, f"it made nothing. {last_words(log)}".strip(), ())
    words = ended.said or f"{how_it_ended(ended.code)}: {last_words(log) or 'it said nothing'}"
    return Outcome(False, printable(words), ())


def summary_in(out: Path) -> Mapping[str, Any]:
    """The JSON document in the last line of a command's stdout; empty where there is none."""
    try:
        with open(out, "rb") as file:
            lines = file.read(ANSWER_LIMIT_BYTES).splitlines()
        document = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def files_in(step: Step, summary: Mapping[str, Any], workspace: Workspace) -> list[Path]:
    """The records that a command says that it made, and the weights. Raises VlmError where its JSON is another's."""
    try:
        if step.stage == "train":
            folders = [Path(run["folder"]) for run in summary["runs"]]
            return [folder / name for folder in folders for name in (CARD_FILE, WEIGHTS_FILE)]
        if step.stage == "export":
            return [Path(artifact["folder"]) / MANIFEST_FILE for artifact in summary["artifacts"]]
        if step.stage == "profile":
            return [Path(row["file"]) for row in summary["measurements"]]
        return [Path(file) for file in summary["files"]]
    except (KeyError, TypeError) as error:
        raise VlmError(f"vlm-{step.stage} ended well, and its JSON does not say what it made ({error}).") from None


def verdict_in(step: Step, summary: Mapping[str, Any]) -> str:
    """What a check of the command said, from its JSON."""
    if step.stage == "profile":
        rows = [row.get("status") for row in summary["measurements"]]
        against = [f"{rows.count(status)} {status}" for status in sorted(set(map(str, rows)) - {"valid"})]
        said = f"{len(rows)} rows: {', '.join(against)}" if against else ""
        missed = [str(each.get("budget", each)) for each in summary.get("budgets", []) if each.get("missed")]
        return "; ".join(filter(None, [said, f"missed: {', '.join(missed)}" if missed else ""])) or "a check said no"
    if step.stage == "export":
        refused = [
            f"{each['artifact']}: {'; '.join(each['refused'])}" for each in summary["artifacts"] if each["refused"]
        ]
        return _short("refused: " + " ".join(refused)) if refused else "a check said no"
    return "no artifact meets all requirements" if step.stage == "report" else "a check said no"


def artifacts_for(step: Step, made: Sequence[Made], workspace: Workspace) -> list[str]:
    """The artifacts, of those that an export made, that no check refused. Raises VlmError where there is none."""
    folders, reasons = [], []
    for each in made:
        manifest = read_record(ArtifactManifest, workspace.root / each.path)
        if manifest.refused:
            reasons.append(f"{manifest.artifact}: {'; '.join(manifest.refused)}")
        else:
            folders.append(str((workspace.root / each.path).parent))
    if not folders:
        raise VlmError(f"Each artifact of {step.run} was refused. {' '.join(reasons)}")
    return folders


def how_it_ended(code: int) -> str:
    """An exit code or a signal in words."""
    if code >= 0:
        return f"it ended with {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"it was ended by {name}" + (", as the system does when memory is short" if name == "SIGKILL" else "")
    return f"it was ended by signal {-code}"


def last_words(log: Path) -> str:
    """The error that a command ended with, in one line: its paragraph, or the last line of a traceback."""
    lines = [line.rstrip() for line in tail(log).splitlines() if line.strip()]
    starts = [index for index, line in enumerate(lines) if re.match(r"vlm-[\w ]+: ", line)]
    return _short(" ".join(lines[starts[-1] :] if starts else lines[-1:]))


def tail(log: Path) -> str:
    """The end of a log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= SAID_CHARACTERS else f"{shown[: SAID_CHARACTERS - 1]}…"
