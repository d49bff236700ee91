"""The experiment log: what is completed, in progress, failed and planned."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_contract.codec import Absent, encode
from vlm_contract.console import printable, time_left
from vlm_report.study.board import cost_in_words, price_of
from vlm_report.study.matrix import Matrix
from vlm_report.study.run import Now, Progress, standing_now
from vlm_report.study.state import Ledger, Standing, is_at_work, spent
from vlm_report.study.steps import Step

TITLES = {"completed": "Completed", "in_progress": "In progress", "failed": "Failed", "planned": "Planned"}


def log_of(steps: Sequence[Step], ledger: Ledger) -> dict[str, list[Step]]:
    """The study's steps by what has become of them, in the order of the matrix."""
    now, at_work = standing_now(steps, ledger), is_at_work(ledger.holder)
    groups: dict[str, list[Step]] = {name: [] for name in TITLES}
    for step in steps:
        standing = ledger.steps.get(step.id)
        became = standing.became if standing and standing.key == step.key else ""
        if now[step.id] is Now.DONE or (step.takes_what_there_is and ledger.stands(step)):
            groups["completed"].append(step)
        elif became == "running" and at_work:
            groups["in_progress"].append(step)
        elif became == "failed":
            groups["failed"].append(step)
        else:
            groups["planned"].append(step)
    return groups


def log_lines(matrix: Matrix, steps: Sequence[Step], ledger: Ledger) -> Iterator[str]:
    """The log as text, as a list of boxes ticked and empty."""
    groups = log_of(steps, ledger)
    done = {step.id for step in groups["completed"]}
    for name, title in TITLES.items():
        yield f"{title} ({len(groups[name])})"
        for step in groups[name]:
            box = "x" if name == "completed" else " "
            yield printable(f"- [{box}] {step.id}{_remark(step, name, ledger, done)}")
        yield ""
    yield f"{len(done)} of {len(steps)} steps are completed; {_cost(matrix, steps, ledger)}."


def log_document(matrix: Matrix, steps: Sequence[Step], ledger: Ledger) -> dict[str, Any]:
    """The log as `--json` prints it."""
    groups = log_of(steps, ledger)
    done = {step.id for step in groups["completed"]}
    cpu_h, gpu_h = spent(ledger.steps)
    return {
        "study": matrix.name,
        **{name: [_entry(step, ledger, done) for step in group] for name, group in groups.items()},
        "cost": {
            "cpu_hours": cpu_h,
            "gpu_hours": gpu_h,
            "price": encode(price_of(cpu_h, gpu_h, matrix.cost)),
            "currency": matrix.cost.currency,
        },
    }


def _remark(step: Step, group: str, ledger: Ledger, done: set[str]) -> str:
    standing = ledger.steps.get(step.id)
    if group == "planned":
        return f"  {why}" if (why := _why_planned(step, standing, ledger, done)) else ""
    assert standing
    said = standing.said if isinstance(standing.said, str) else ""
    where = f" on {standing.machine}" if standing.machine else ""
    if group == "completed":
        return f"  {time_left(standing.seconds)}{where}" + (f"  a check said: {said}" if said else "")
    if group == "in_progress":
        return f"  since {standing.began_utc}{where}{_who(ledger)}"
    log = f"  (log: {ledger.workspace.root / standing.log})" if standing.log else ""
    return f"  {said}{log}"


def _why_planned(step: Step, standing: Standing | None, ledger: Ledger, done: set[str]) -> str:
    """Why a step that has run is to run again, or which failed step it needs."""
    failed = [id for id in step.after if id in ledger.steps and ledger.steps[id].became == "failed" and id not in done]
    if failed and not step.takes_what_there_is:
        return f"waits for {failed[0]}"
    if standing is None:
        return ""
    if standing.became in ("running", "stopped"):
        said = standing.said if isinstance(standing.said, str) else "the study was killed"
        return f"was cut off after {time_left(standing.seconds)}: {said}"
    if standing.became == "done":
        changed = "its options were changed" if standing.key != step.key else "what it made, or was made from, changed"
        return f"was done, and {changed}"
    return ""


def _who(ledger: Ledger) -> str:
    holder = ledger.holder
    return "" if isinstance(holder, Absent) else f", by process {holder.pid} of {holder.machine} ({holder.engine})"


def _entry(step: Step, ledger: Ledger, done: set[str]) -> Mapping[str, Any]:
    standing = ledger.steps.get(step.id)
    entry: dict[str, Any] = {"step": step.id, "stage": step.stage, "waits_for": sorted(set(step.after) - done)}
    if standing is None:
        return entry
    document = {name: value for name, value in encode(standing).items() if name not in ("given", "made")}
    return {**entry, **document, "made": [made.path for made in standing.made]}


def _cost(matrix: Matrix, steps: Sequence[Step], ledger: Ledger) -> str:
    progress = Progress({step.id: step for step in steps}, {}, ledger, {}, 1)
    return f"{cost_in_words(progress, matrix.cost)} so far"
