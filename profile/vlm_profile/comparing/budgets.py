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
    doubt: str  # where the 95 % interval reaches over the limit, to the other side; empty where it does not


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
    """One budget on one result. A result that is not valid has no figures that could keep it."""
    value = figure_at(measurement, OF_MEASUREMENT[budget.figure].path)
    if measurement.status != "valid":
        codes = ", ".join(v.code for v in measurement.verdicts if v.level == measurement.status)
        value = Absent(f"the result is {measurement.status}: {codes}")
    return Judged(row_in_words(measurement), str(budget), budget.failure(value), _doubt(measurement, budget))


def sentences_of(judgements: Sequence[Judged]) -> Iterator[str]:
    """A sentence for each budget that is missed or in doubt, and the number of those that are met."""
    for each in judgements:
        if each.missed:
            yield printable(f"over budget: {each.row}: {each.missed}" + (f" ({each.doubt})" if each.doubt else ""))
        elif each.doubt:
            yield printable(f"within budget, and no more: {each.row}: {each.budget}; {each.doubt}")
    if judgements:
        met = sum(not each.missed for each in judgements)
        yield f"{met} of {len(judgements)} budgets on rows are met"


def document_of(judgements: Iterable[Judged]) -> list[dict[str, Any]]:
    """As JSON types."""
    return [asdict(each) for each in judgements]


def _doubt(measurement: Measurement, budget: Condition) -> str:
    """Whether the two ends of the interval answer differently."""
    estimate = estimate_of(measurement, budget.figure) if budget.figure in COMPARABLE else None
    if measurement.status != "valid" or not isinstance(estimate, Estimate):
        return ""
    keeps = COMPARISONS[budget.comparison]
    if keeps(estimate.low, budget.limit) == keeps(estimate.high, budget.limit):
        return ""
    low, high = (written(end, budget.units) for end in (estimate.low, estimate.high))
    return f"its 95 % interval is {low} to {high}"
