"""Requirements as a user types them: `latency_ms_p99<=20`, `peak_rss_bytes<=300MB`, `accuracy_percent>=97`."""

from collections.abc import Iterable

from vlm_contract.conditions import Condition, condition_from
from vlm_report.figures import FIGURES, figure_of
from vlm_report.records import Entry


def requirement_from(text: str) -> Condition:
    """Parse `FIGURE <=|>=|<|> NUMBER[UNIT]`. Raises VlmError naming what is wrong and the nearest right word."""
    return condition_from(text, "--require", FIGURES)


def failures(requirements: Iterable[Condition], entry: Entry) -> str:
    """How an entry misses requirements; empty where it meets all. An absent figure meets none."""
    said = (requirement.failure(figure_of(entry, requirement.figure)) for requirement in requirements)
    return "; ".join(filter(None, said))
