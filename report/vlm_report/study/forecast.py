"""How long what is left will take, from how long what is done took."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

from vlm_report.study.run import Now, Progress
from vlm_report.study.state import Standing
from vlm_report.study.steps import Step

# Whose times answer for a step: those nearest to it first.
_LIKE: tuple[Callable[[Step], Hashable], ...] = (
    lambda step: (step.stage, step.target, step.model),
    lambda step: (step.stage, step.target),
    lambda step: step.stage,
)


@dataclass(frozen=True)
class Forecast:
    """Seconds left, and how many steps no time is known for: the seconds are then a lower bound."""

    seconds: float
    unknown: int


def forecast_of(progress: Progress) -> Forecast:
    """Steps of a model that was timed take as long for each unit of work; those of another, as its stage's mean."""
    rates = rates_from(progress.steps, progress.ledger.steps)
    alone, beside, unknown = 0.0, 0.0, 0
    for id, now in progress.now.items():
        step = progress.steps[id]
        if now not in (Now.WAITING, Now.RUNNING):
            continue
        rate = rate_for(step, rates)
        if rate is None:
            unknown += step.stage != "report"
            continue
        took = progress.running[id][0] if id in progress.running else 0.0
        left = max(0.0, rate * step.work - took)
        alone, beside = (alone + left, beside) if step.needs.whole else (alone, beside + left)
    return Forecast(alone + beside / max(1, progress.side_by_side), unknown)


def rates_from(steps: Mapping[str, Step], standings: Mapping[str, Standing]) -> dict[Hashable, float]:
    """Mean seconds for a unit of work, by what steps share."""
    found: dict[Hashable, list[float]] = {}
    for id, standing in standings.items():
        if id in steps and standing.became == "done" and standing.attempts == 1:
            for like in _LIKE:
                found.setdefault(like(steps[id]), []).append(standing.seconds / standing.work)
    return {key: _mean(rates) for key, rates in found.items()}


def rate_for(step: Step, rates: Mapping[Hashable, float]) -> float | None:
    return next((rates[key] for like in _LIKE if (key := like(step)) in rates), None)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
