"""Budgets on what was measured: `--budget 'latency_ms_p99<=20'`, `--budget 'peak_rss_bytes<=300MB'`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlm_contract.codec import Absent
from vlm_contract.conditions import COMPARISONS, OF_MEASUREMENT, Condition, condition_from, figure_at, written
from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Measurement
from vlm_profile.comparing.intervals import COMPARABLE, LARGER_IS_BETTER, Estimate, estimate_of
from vlm_profile.rows import row_in_words

OPTION = "--budget"


@dataclass(frozen=True)
class Judged:
    """What a budget says of one result."""

    row: str
    budget: str
    missed: str  # how, and by how much; empty where it is met. What is not known is missed
    doubt: str  # where the interval reaches over the limit, to the other side; empty where it does not
    evidence: str  # "measured", or "estimated": then by the worse end of the interval


def budgets_from(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Parse what `--budget` was given. Raises VlmError naming what is wrong and the nearest right word."""
    return tuple(budget_from(text) for text in texts)


def budget_from(text: str) -> Condition:
    """One budget: an upper limit, or a lower one on what is better when it is larger. Raises VlmError."""
    if text.strip().startswith("accuracy"):
        raise VlmError("Measuring knows no accuracy; the report does.", hint=f"vlm-report --require '{text}'")
    budget = condition_from(text, OPTION, OF_MEASUREMENT)
    larger = any(budget.figure.startswith(name) for name in LARGER_IS_BETTER)
    if (budget.comparison[0] == ">") is not larger:
        right = (">" if larger else "<") + budget.comparison[1:]
        raise VlmError(
            f"{text!r} is no budget: {budget.figure} is worse when it is {'smaller' if larger else 'larger'}.",
            hint=f"{OPTION} '{text.replace(budget.comparison, right)}'",
        )
    return budget


def judge_budgets(measurements: Iterable[Measurement], budgets: Sequence[Condition]) -> tuple[Judged, ...]:
    """Every budget on every result."""
    return tuple(judged(measurement, budget) for measurement in measurements for budget in budgets)


def judged(measurement: Measurement, budget: Condition) -> Judged:
    """One budget on one result. A result that is not valid has no figures that could keep it.

    An estimate keeps it where the worse end of its interval does.
    """
    value = _judged_value(measurement, budget)
    if measurement.status != "valid":
        codes = ", ".join(v.code for v in measurement.verdicts if v.level == measurement.status)
        value = Absent(f"the result is {measurement.status}: {codes}")
    missed = budget.failure(value)
    if missed and (coverage := _coverage_percent(measurement)):
        missed = f"estimated, at the worse end of the {coverage:g} % interval: {missed}"
    doubt = _doubt(measurement, budget)
    return Judged(row_in_words(measurement), str(budget), missed, doubt, measurement.evidence)


def sentences_of(judgements: Sequence[Judged]) -> Iterator[str]:
    """A sentence for each budget that is missed or in doubt, and the number of those that are met."""
    for each in judgements:
        if each.missed:
            yield printable(f"over budget: {each.row}: {each.missed}" + (f" ({each.doubt})" if each.doubt else ""))
        elif each.doubt:
            yield printable(f"within budget, and no more: {each.row}: {each.budget}; {each.doubt}")
    if judgements:
        met = [each for each in judgements if not each.missed]
        estimates = sum(each.evidence == "estimated" for each in met)
        told = f", {estimates} of them by estimates, at the worse end of each interval" if estimates else ""
        yield f"{len(met)} of {len(judgements)} budgets on rows are met{told}"


def document_of(judgements: Iterable[Judged]) -> list[dict[str, Any]]:
    """As JSON types."""
    return [asdict(each) for each in judgements]


def _judged_value(measurement: Measurement, budget: Condition) -> float | Absent:
    """The figure; of an estimate the end of its interval that speaks against it, where it has one."""
    value = figure_at(measurement, OF_MEASUREMENT[budget.figure].path)
    if not _coverage_percent(measurement) or budget.figure not in COMPARABLE:
        return value
    estimate = estimate_of(measurement, budget.figure)
    if isinstance(estimate, Absent):
        return value
    return estimate.low if budget.comparison.startswith(">") else estimate.high


def _coverage_percent(measurement: Measurement) -> float:
    """Of an estimate's interval; 0 of what was measured."""
    return 0.0 if isinstance(measurement.estimate, Absent) else measurement.estimate.coverage_percent


def _doubt(measurement: Measurement, budget: Condition) -> str:
    """Whether the two ends of the interval answer differently."""
    estimate = estimate_of(measurement, budget.figure) if budget.figure in COMPARABLE else None
    if measurement.status != "valid" or not isinstance(estimate, Estimate):
        return ""
    keeps = COMPARISONS[budget.comparison]
    if keeps(estimate.low, budget.limit) == keeps(estimate.high, budget.limit):
        return ""
    low, high = (written(end, budget.units) for end in (estimate.low, estimate.high))
    return f"its {_coverage_percent(measurement) or 95:g} % interval is {low} to {high}"
