"""A recommendation in words. Every number in them is a figure of a record, or follows from two of them."""

from vlm_contract.codec import Absent, known
from vlm_profile.rows import how_it_ran
from vlm_report.figures import figure_of, interval, rate
from vlm_report.recommendation import CLAIM_PERCENT, RULE, Candidate, Recommendation, same_latency


def headline(recommendation: Recommendation) -> str:
    """The answer in one sentence: what to use and its figures, or why there is no answer."""
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return f"No recommendation for this host: {pick.reason}."
    return f"For this host: {_named(pick)}: {latency(pick)} at {_accuracy(pick)}{_beside(pick)}."


def reasons(recommendation: Recommendation) -> list[str]:
    """Why, what stands beside it, and how sure; what to type where there is no answer."""
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return [*_why_nots(recommendation), f"Type: {recommendation.to_type}"]
    compared = [_rule(recommendation, pick), _runner_up(recommendation, pick), *_tie(recommendation)]
    return [*compared, *_how_sure(pick), *_why_nots(recommendation)]


def in_brief(recommendation: Recommendation) -> list[str]:
    """The two or three lines that matter."""
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return [headline(recommendation), f"Type: {recommendation.to_type}"]
    return [headline(recommendation), _runner_up(recommendation, pick), *_tie(recommendation)]


def latency(candidate: Candidate) -> str:
    """The headline latency with its interval."""
    figures = candidate.latency
    return (
        f"{interval(figures.latency_ms_p50, known(figures.latency_ms_p50_low), known(figures.latency_ms_p50_high))} ms"
    )


def _named(candidate: Candidate) -> str:
    measurement, setup = candidate.measurement, candidate.measurement.setup
    name, _, how = how_it_ran(measurement).partition(", ")
    words = [f"{name} {measurement.runtime.version}", how, f"{setup.threads} thread" + "s" * (setup.threads != 1)]
    return f"{candidate.entry.name} ({', '.join(filter(None, [*words, f'batch {setup.batch}']))})"


def _accuracy(candidate: Candidate) -> str:
    return f"{candidate.accuracy.artifact_percent:.2f} % accuracy"


def _beside(candidate: Candidate) -> str:
    throughput, peak = candidate.measurement.throughput, figure_of(candidate.entry, "peak_rss_bytes")
    parts = []
    if not isinstance(throughput, Absent):
        shown = rate(throughput.images_per_s, known(throughput.images_per_s_low), known(throughput.images_per_s_high))
        parts.append(f"{shown} img/s")
    if not isinstance(peak, Absent):
        parts.append(f"{peak / 1e6:.0f} MB peak memory")
    return "".join(f", {part}" for part in parts)


def _rule(recommendation: Recommendation, pick: Candidate) -> str:
    best = max(recommendation.feasible, key=lambda candidate: candidate.accuracy.artifact_percent)
    among = f"of {len(recommendation.feasible)} feasible" + "".join(f", {r}" for r in recommendation.requirements)
    if best.accuracy.artifact_percent == pick.accuracy.artifact_percent:
        return f"Rule: {RULE} ({among}). It is also the most accurate."
    return f"Rule: {RULE} ({among}). The most accurate is {best.entry.name}: {latency(best)} at {_accuracy(best)}."


def _runner_up(recommendation: Recommendation, pick: Candidate) -> str:
    other = recommendation.runner_up
    if isinstance(other, Absent):
        return f"Runner-up: none; {other.reason}."
    return f"Runner-up: {other.entry.name}: {latency(other)} at {_accuracy(other)}; {_compared(pick, other)}."


def _compared(pick: Candidate, other: Candidate) -> str:
    points = pick.accuracy.artifact_percent - other.accuracy.artifact_percent
    accuracy = f"{abs(points):.2f} points {'more' if points > 0 else 'less'} accurate" if points else "as accurate"
    if same_latency(pick.latency, other.latency):
        return f"the pick is {accuracy}, and neither can be called faster"
    ratio = other.latency.latency_ms_p50 / pick.latency.latency_ms_p50
    speed = f"{ratio:.2f} times as fast" if ratio > 1 else f"{1 / ratio:.2f} times as slow"
    return f"the pick is {speed} and {accuracy}"


def _tie(recommendation: Recommendation) -> list[str]:
    if not recommendation.ties:
        return []
    names = ", ".join(candidate.entry.name for candidate in recommendation.ties)
    return [
        f"A tie: the latency of the pick cannot be told from that of {names} "
        f"(intervals overlap, or differ by at most {CLAIM_PERCENT:g} %, on a shared machine)."
    ]


def _how_sure(pick: Candidate) -> list[str]:
    figures, accuracy = pick.latency, pick.accuracy
    quick = " in quick mode" if pick.measurement.settings.get("mode") == "quick" else ""
    warnings = [f"{v.code}: {v.seen}" for v in pick.measurement.verdicts if v.level == "warning"]
    return [
        f"How sure: latency is measured{quick}, the median of {figures.processes} fresh processes with "
        f"{figures.samples} samples; the range is the 95 % interval between processes."
        + "".join(f" Warning: {w}." for w in warnings),
        f"Accuracy is the exported artifact's on {accuracy.samples} validation images, where one image is "
        f"{100 / accuracy.samples:.2f} points; the same images chose the epoch.",
    ]


def _why_nots(recommendation: Recommendation) -> list[str]:
    return [f"Left out: {out.entry.name}: {out.reason}" for out in recommendation.left_out]
