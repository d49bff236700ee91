"""The experiment log: what became of the steps of each study that was run in the workspace."""

from collections.abc import Iterator, Mapping

from vlm_contract.codec import Absent
from vlm_contract.console import time_left
from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_report.page.document import Line, Text
from vlm_report.study.state import STATE_FILE, Ledger, Standing, is_at_work, ledger_of

FOLDED_FROM = 12  # lines; more of them may be folded away


def experiment_log(workspace: Workspace) -> Iterator[Text]:
    """For each study, by its name, one list of what is completed, one of what is in progress, and so on."""
    for state in sorted((workspace.root / "studies").glob(f"*/{STATE_FILE}")):
        name = state.parent.name
        try:
            ledger = ledger_of(workspace, name)
            planned = ledger.planned()
        except VlmError as error:
            yield Text(f"study-{name}", name, Line(str(error)), ())
            continue
        groups = {title: [_line(id, each) for id, each in steps.items()] for title, steps in _groups(ledger).items()}
        groups["Planned"] = [Line(f"☐ {id}") for id in planned]
        yield from (_text(name, title, lines) for title, lines in groups.items() if lines)


def _text(study: str, title: str, lines: list[Line]) -> Text:
    kept, folded = ([], lines) if len(lines) > FOLDED_FROM else (lines, [])
    return Text(
        f"study-{study}-{title.partition(' ')[0].lower()}", f"{study}: {title.lower()}", None, kept, folded, "Steps"
    )


def _groups(ledger: Ledger) -> Mapping[str, dict[str, Standing]]:
    """The steps that ran, by what became of them."""
    groups: dict[str, dict[str, Standing]] = {"Completed": {}, "In progress": {}, "Failed": {}, "Cut off": {}}
    running = "In progress" if is_at_work(ledger.holder) else "Cut off"
    titles = {"done": "Completed", "running": running, "failed": "Failed", "stopped": "Cut off"}
    for id, standing in ledger.steps.items():
        groups[titles[standing.became]][id] = standing
    return groups


def _line(id: str, standing: Standing) -> Line:
    said = "" if isinstance(standing.said, Absent) else f": {standing.said}"
    where = f" on {standing.machine}" if standing.machine else ""
    box = "☑" if standing.became == "done" else "☐"
    return Line(f"{box} {id}, {time_left(standing.seconds)}{where}{said}")
