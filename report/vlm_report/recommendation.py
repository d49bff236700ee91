"""Which model to deploy on each device, and which to train, by stated rules, from records alone."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_contract.codec import Absent
from vlm_contract.conditions import Condition
from vlm_contract.measurement import Evidence, Measurement
from vlm_report.decision.backbones import flagged_runs, trained
from vlm_report.decision.candidates import ACCURACY, BATCH, EVIDENCE, Candidate, LeftOut, why_not
from vlm_report.decision.choices import ACCURACY_REACH_POINTS, Change
from vlm_report.decision.fronts import lacking, pareto_front
from vlm_report.decision.grounds import Ground, grounds_of, targets_of
from vlm_report.decision.limits import changes_by_limits, first_failure, limits_on, typed
from vlm_report.decision.models import Task, Trainings, task_of
from vlm_report.decision.spreads import CLAIM_PERCENT, same_latency
from vlm_report.questions import EDGE_DEVICE, OWN, QUESTIONS, SMALL_DATA_SAMPLES, Question
from vlm_report.records import HOST, Entry, Records
from vlm_report.whynot import Standing, WhyNot, relaxation, why_nots

__all__ = [
    "ACCURACY_REACH_POINTS",
    "BATCH",
    "CLAIM_PERCENT",
    "Candidate",
    "LeftOut",
    "Recommendation",
    "recommend",
    "recommendations_of",
    "same_latency",
    "why_not",
]
_CHANGES_KEPT = 3


@dataclass(frozen=True)
class Recommendation:
    """The pick, what it was picked from, and what stood beside it."""

    question: Question
    target: str  # empty where the device does not matter
    task: Task  # the data that the accuracies are of
    samples: int | Absent  # that all were trained on; absent where they may differ
    requirements: tuple[Condition, ...]
    evidence: Evidence  # of every candidate
    candidates: tuple[Candidate, ...]  # comparable with each other; fastest first
    feasible: tuple[Candidate, ...]  # candidates that meet every requirement; fastest first
    front: tuple[Candidate, ...]  # feasible, and beaten by none in all that the question compares
    pick: Candidate | Absent
    runner_up: Candidate | Absent  # the pick of the same rule, were the pick's artifact not there
    ties: tuple[Candidate, ...]  # other artifacts that the intervals do not tell from the pick
    changes: tuple[Change, ...]  # what would turn the choice, the nearest first
    apart: tuple[Candidate, ...]  # the picks among rows of other evidence, which are not ranked beside these
    left_out: tuple[LeftOut, ...]
    why_nots: tuple[WhyNot, ...]  # one a model that was not picked
    to_type: str  # the command that comes next where nothing could be picked; else empty


def recommendations_of(
    records: Records,
    questions: Sequence[Question] = QUESTIONS,
    requirements: Sequence[Condition] = (),
    targets: Sequence[str] = (),
) -> tuple[Recommendation, ...]:
    """One for each target × question, target after target; of data sets that tell nothing of each other, one each.

    Requirements add the question OWN, and hold there. `targets` are names as records are filed; none: all that have
    rows. What is asked of training stands last, once for each number of samples.
    """
    asked = (OWN, *questions) if requirements and OWN not in questions else tuple(questions)
    grounds = grounds_of(records, targets or targets_of(records))
    deployed = [q for q in asked if q.rows == "deployed"]
    found = [_on(ground, question, records, requirements) for ground in grounds for question in deployed]
    regimes = _small_regimes(records) if any(q.rows == "trained" for q in asked) else ()
    found += [_of_training(q, records, *regime) for q in asked if q.rows == "trained" for regime in regimes]
    return tuple(found)


def recommend(
    records: Records, requirements: Sequence[Condition] = (), question: Question | None = None, target: str = HOST
) -> Recommendation:
    """Recommend an artifact for one target, this host by default.

    The question is EDGE_DEVICE, with requirements OWN. Candidates are accepted artifacts with an accuracy and a valid,
    comparable measurement, all on one machine: that of the newest.
    """
    chosen = question or (OWN if requirements else EDGE_DEVICE)
    return next(r for r in recommendations_of(records, (chosen,), requirements, (target,)) if r.question == chosen)


def _on(ground: Ground, question: Question, records: Records, requirements: Sequence[Condition]) -> Recommendation:
    """A question about one device."""
    limits = limits_on(ground.target, requirements) if question is OWN else ()
    candidates = ground.candidates.get(ground.evidence, ())
    names = {candidate.name for candidate in candidates}
    others = [
        [c for c in ground.candidates.get(kind, ()) if c.name not in names]
        for kind in EVIDENCE
        if kind != ground.evidence
    ]
    able = [[c for c in each if not _short(c, question, limits)] for each in others]
    apart = tuple(question.choice.pick(each) for each in able if each)
    standing = _standing(ground.target, question, candidates, ground.left_out, limits, ground.entries)
    made = _made(standing, records, question)
    return Recommendation(
        **made,
        target=ground.target,
        task=ground.task,
        samples=Absent("of any number"),
        evidence=ground.evidence,
        apart=apart,
        to_type="" if standing.pick else _next_command(records, standing),
    )


def _of_training(question: Question, records: Records, task: Task, samples: int) -> Recommendation:
    candidates, floors = trained(records, task, samples)
    measured = [c for c in candidates if c.evidence == "measured"]
    kept = tuple(measured or candidates)
    standing = _standing("", question, kept, flagged_runs(records, task, samples), (), ())
    made = _made(standing, records, question)
    others = [c for c in candidates if c not in kept and not lacking(c, question.choice.axes)]
    beaten = tuple(
        LeftOut(floor.name, floor.model, _as_floor(floor, standing.pick), Absent("a run")) for floor in floors
    )
    return Recommendation(
        **{**made, "left_out": (*made["left_out"], *beaten)},
        target="",
        task=task,
        samples=samples,
        evidence=kept[0].evidence if kept else "measured",
        apart=(question.choice.pick(others),) if others else (),
        to_type="",
    )


def _standing(
    target: str,
    question: Question,
    candidates: Sequence[Candidate],
    left_out: Sequence[LeftOut],
    limits: Sequence[Condition],
    entries: Sequence[Entry],
) -> Standing:
    """Judge every candidate, and pick."""
    judged = [(candidate, _short(candidate, question, limits)) for candidate in candidates]
    feasible = tuple(candidate for candidate, short in judged if not short)
    return Standing(
        target=target,
        choice=question.choice,
        limits=tuple(limits),
        candidates=tuple(candidates),
        feasible=feasible,
        short=tuple(LeftOut(c.name, c.model, reason, c.entry) for c, reason in judged if reason),
        left_out=tuple(left_out),
        pick=question.choice.pick(feasible) if feasible else None,
        entries=tuple(entries),
    )


def _made(standing: Standing, records: Records, question: Question) -> dict[str, Any]:
    """What a recommendation says of its standing, whatever is asked."""
    pick, choice, feasible = standing.pick, standing.choice, standing.feasible
    rest = [candidate for candidate in feasible if pick and candidate.name != pick.name]
    return {
        "question": question,
        "requirements": standing.limits,
        "candidates": standing.candidates,
        "feasible": feasible,
        "front": pareto_front(feasible, choice.axes),
        "pick": pick or Absent(_why_none(standing)),
        "runner_up": choice.pick(rest) if rest else Absent(f"no other {_NOUNS[question.rows]} is feasible"),
        "ties": tuple(c for c in choice.ties(pick, feasible) if c.name != pick.name) if pick else (),
        "changes": _changes(standing, pick) if pick else (),
        "left_out": (*standing.left_out, *standing.short),
        "why_nots": why_nots(standing, records),
    }


def _changes(standing: Standing, pick: Candidate) -> tuple[Change, ...]:
    """The nearest of those that would put another candidate in the pick's place."""
    kept = {id(candidate) for candidate in standing.feasible}
    short = [c for c in standing.candidates if id(c) not in kept and not lacking(c, standing.choice.axes)]
    found = standing.choice.changes(pick, standing.feasible)
    found += changes_by_limits(standing.choice, pick, standing.feasible, short, standing.limits)
    others = [change for change in found if change.to != pick.name]
    return tuple(sorted(others, key=lambda change: change.share)[:_CHANGES_KEPT])


def _short(candidate: Candidate, question: Question, limits: Sequence[Condition]) -> str:
    return lacking(candidate, question.choice.axes) or first_failure(candidate, limits)


def _small_regimes(records: Records) -> tuple[tuple[Task, int], ...]:
    """The data and numbers of samples that are small data, as far as anything was trained on them."""
    trainings = Trainings(records)
    runs = [(task_of(card), card.data.samples) for card in records.cards.values()]
    runs += [(trainings.reported_model_of(run).task, run.samples) for run in records.reported_runs.values()
             if isinstance(run.samples, int)]  # fmt: skip
    small = {(task, samples) for task, samples in runs if samples < SMALL_DATA_SAMPLES}
    return tuple(sorted(small, key=lambda regime: (regime[0].name, regime[0].fingerprint, regime[1])))


def _as_floor(floor: Candidate, pick: Candidate | None) -> str:
    percent = floor.figures[ACCURACY].value
    said = f"a floor, which a backbone has to beat: {percent:.2f} %"
    if pick is None:
        return said
    points = pick.figures[ACCURACY].value - percent
    return f"{said}; the pick is {abs(points):.2f} points {'above' if points > 0 else 'BELOW'} it"


def _why_none(standing: Standing) -> str:
    if standing.short:
        missing = [out.reason for out in standing.short if out.reason.endswith("is not known")]
        return f"no artifact can be compared: {missing[0]}" if len(missing) == len(standing.short) else _NONE_MEETS
    if not standing.left_out:
        return "no artifact was exported or measured"
    kinds = Counter(out.kind for out in standing.left_out)
    listed = (f"{count} × {kind}{_codes(kind, standing.left_out)}" for kind, count in kinds.most_common())
    return "no artifact has a valid row and an accuracy: " + "; ".join(listed)


def _codes(kind: str, left_out: Sequence[LeftOut]) -> str:
    codes = dict.fromkeys(code for out in left_out if out.kind == kind for code in out.codes)
    return f" ({', '.join(codes)})" if codes else ""


def _next_command(records: Records, standing: Standing) -> str:
    elsewhere = records.workspace_option()
    if moved := relaxation(standing):
        kept = [limit for limit in standing.limits if limit.figure not in {each.figure for each in moved}]
        return shlex.join(
            ["vlm-report", *(w for limit in (*moved, *kept) for w in ("--require", typed(limit))), *elsewhere]
        )
    reported = [out.entry for out in standing.left_out if isinstance(out.entry, Entry) and _is_reported(out.entry)]
    if reported and len(reported) == len(standing.left_out):
        return records.next_command(reported[0])
    exported = any(not manifest.refused for manifest in records.manifests.values())
    command = (
        ["vlm-profile", "--target", standing.target] if exported else ["vlm-export", "--fmt", "onnx", "--precision"]
    )
    return shlex.join([*command, *([] if exported else ["fp32,fp16"]), *elsewhere])


def _is_reported(entry: Entry) -> bool:
    return isinstance(entry.measurement, Measurement) and entry.measurement.evidence == "reported"


_NONE_MEETS = "no artifact meets all requirements"
_NOUNS = {"deployed": "artifact", "trained": "backbone"}
