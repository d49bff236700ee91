"""Requirements as a user types them: `latency_ms_p99<=20`, `peak_rss_bytes<=300MB`, `accuracy_percent>=97`."""

import difflib
import operator
import re
from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_report.figures import FIGURES, figure_of, written
from vlm_report.records import Entry

COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_GRAMMAR = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*([a-zA-Z/%]*)\s*", re.ASCII)


@dataclass(frozen=True)
class Requirement:
    """A limit on one figure."""

    figure: str  # a name of FIGURES
    comparison: str  # a key of COMPARISONS
    limit: float  # in the unit that records use

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {written(self.figure, self.limit)}"

    def failure(self, entry: Entry) -> str:
        """How an entry misses the requirement; empty where it meets it. An absent figure meets none."""
        value = figure_of(entry, self.figure)
        if isinstance(value, Absent):
            return f"{self.figure} is absent ({value.reason}); required: {self}"
        if COMPARISONS[self.comparison](value, self.limit):
            return ""
        off = written(self.figure, abs(value - self.limit))
        return f"{self.figure} is {written(self.figure, value)}, off by {off}; required: {self}"


def requirement_from(text: str) -> Requirement:
    """Parse `FIGURE <=|>=|<|> NUMBER[UNIT]`. Raises VlmError naming what is wrong and the nearest right word."""
    match = _GRAMMAR.fullmatch(text)
    if not match:
        raise VlmError(f"{text!r} is no requirement; expected FIGURE<=NUMBER.", hint="--require 'latency_ms_p99<=20'")
    figure, comparison, number, unit = match.groups()
    if figure not in FIGURES:
        nearest = difflib.get_close_matches(figure, FIGURES, n=1, cutoff=0.4)
        known = f"--require '{nearest[0]}{comparison}{number}{unit}'" if nearest else f"one of {', '.join(FIGURES)}"
        raise VlmError(f"There is no figure {figure!r}.", hint=known)
    units = {"": 1.0, **FIGURES[figure].units}
    if unit not in units:
        expected = ", ".join(filter(None, units)) or "no unit"
        raise VlmError(
            f"{unit!r} is no unit of {figure}; expected {expected}.", hint=f"--require '{figure}{comparison}…'"
        )
    return Requirement(figure, comparison, float(number) * units[unit])
