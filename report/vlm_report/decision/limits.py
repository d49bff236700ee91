"""The user's own limits: which target they are of, and which of them decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlm_contract.conditions import COMPARISONS, Condition, written
from vlm_contract.errors import VlmError
from vlm_report.decision.candidates import Candidate
from vlm_report.decision.choices import Change, Choice
from vlm_report.decision.spreads import outwards
from vlm_report.requirements import requirement_from
from vlm_targets.catalogue import target_named


@dataclass(frozen=True)
class OnTarget(Condition):
    """A limit that one target alone has."""

    target: str = ""

    def __str__(self) -> str:
        return f"{self.target}: {super().__str__()}"


def limit_from(text: str) -> Condition:
    """Parse `FIGURE<=NUMBER[UNIT]`, for one target alone `TARGET:FIGURE<=NUMBER[UNIT]`. Raises VlmError."""
    target, colon, rest = text.partition(":")
    if not colon:
        return requirement_from(text)
    limit = requirement_from(rest)
    return OnTarget(limit.figure, limit.comparison, limit.limit, limit.units, canonical(target.strip()))


def canonical(target: str, filed: Sequence[str] = ()) -> str:
    """The name that a target's records are filed under, whichever alias was said. Raises VlmError for no known one."""
    if target in filed:
        return target
    try:
        return target_named(target).name
    except VlmError as error:
        if not filed:
            raise
        raise VlmError(f"{error} Records are of {', '.join(filed)}.", hint=f"--target {filed[0]}") from None


def limits_on(target: str, requirements: Sequence[Condition]) -> tuple[Condition, ...]:
    """Those that hold on a target."""
    return tuple(each for each in requirements if not isinstance(each, OnTarget) or each.target == target)


def first_failure(candidate: Candidate, limits: Sequence[Condition]) -> str:
    """How a candidate misses the first limit that it does not keep; empty where it keeps all."""
    return next(filter(None, (candidate.failure(limit) for limit in limits)), "")


def relaxed(limit: Condition, candidate: Candidate) -> Condition | None:
    """The limit moved to where the candidate just keeps it; None where no figure says where that is."""
    value = candidate.figure(limit.figure)
    if not isinstance(value, (int, float)):
        return None
    upper = limit.comparison.startswith("<")
    return replace(limit, comparison="<=" if upper else ">=", limit=outwards(float(value), upper=upper))


def typed(limit: Condition) -> str:
    """A limit as `limit_from` reads it."""
    target = f"{limit.target}:" if isinstance(limit, OnTarget) else ""
    return f"{target}{limit.figure}{limit.comparison}{written(limit.limit, limit.units).replace(' ', '')}"


def changes_by_limits(
    choice: Choice,
    pick: Candidate,
    feasible: Sequence[Candidate],
    short: Sequence[Candidate],
    limits: Sequence[Condition],
) -> list[Change]:
    """The smallest move of one limit that lets in a better one, and the smallest that leaves out the pick."""
    found = [change for limit in limits for c in short if (change := _let_in(choice, pick, feasible, c, limit, limits))]
    others = [candidate for candidate in feasible if candidate is not pick]
    found += [
        _left_out(choice, pick, others, limit)
        for limit in limits
        if others and isinstance(pick.figure(limit.figure), (int, float))
    ]
    nearest = sorted(found, key=lambda change: change.share)
    return [*nearest[:2]]


def _let_in(
    choice: Choice,
    pick: Candidate,
    feasible: Sequence[Candidate],
    other: Candidate,
    limit: Condition,
    limits: Sequence[Condition],
) -> Change | None:
    """What moving one limit to a candidate that misses it alone would do; None where the pick stays."""
    missed = [each for each in limits if other.failure(each)]
    moved = relaxed(limit, other) if missed == [limit] else None
    if moved is None or choice.pick([pick, other]) is not other or choice.pick([*feasible, other]) is not other:
        return None
    share = abs(moved.limit - limit.limit) / abs(limit.limit) if limit.limit else abs(moved.limit)
    return Change(f"{moved} in the place of {written(limit.limit, limit.units)}", other.name, share)


def _left_out(choice: Choice, pick: Candidate, others: Sequence[Candidate], limit: Condition) -> Change:
    value = pick.figure(limit.figure)
    assert isinstance(value, (int, float))
    strict = limit.comparison.rstrip("=")
    moved = replace(limit, comparison=strict, limit=float(f"{value:.4g}"))
    text = f"{moved} in the place of {written(limit.limit, limit.units)}"
    kept = [
        c for c in others if isinstance(v := c.figure(limit.figure), (int, float)) and COMPARISONS[strict](v, value)
    ]
    share = abs(value - limit.limit) / abs(limit.limit) if limit.limit else abs(value)
    return Change(text, choice.pick(kept).name if kept else "nothing", share)
