"""A recommendation in words. Every number in them is a figure of a record, or follows from two of them."""

from collections.abc import Sequence

from vlm_contract.codec import Absent
from vlm_contract.measurement import Estimate, Throughput
from vlm_profile.rows import how_it_ran
from vlm_report.decision.candidates import ACCURACY, ENERGY, GAP, LATENCY, SIZE, Candidate
from vlm_report.decision.models import UNKNOWN, names_of
from vlm_report.decision.spreads import Spread, overlap, same_latency
from vlm_report.figures import counted, figure_of, interval, rate
from vlm_report.questions import TIE
from vlm_report.recommendation import Recommendation
from vlm_report.records import HOST
from vlm_report.whynot import WhyNot

NAMED = 4  # of those that tie; the table marks all


def headline(recommendation: Recommendation) -> str:
    """The answer in one sentence: what to use and its figures, or why there is no answer."""
    pick, where = recommendation.pick, place(recommendation)
    if isinstance(pick, Absent):
        return f"No recommendation for {where}: {pick.reason}."
    return f"For {where}: {_named(pick, recommendation)}: {figures(pick)}{_beside(pick, recommendation)}."


def reasons(recommendation: Recommendation) -> list[str]:
    """Why, what stands beside it, what would change it, and how sure; what to type where there is no answer."""
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return [*_why_nots(recommendation), *_typed(recommendation)]
    compared = [_rule(recommendation, pick), _runner_up(recommendation, pick), *_tie(recommendation)]
    return [
        *compared,
        *_changes(recommendation),
        *_apart(recommendation),
        *_how_sure(pick),
        *_unlike_images(recommendation),
        *_limits_in_doubt(recommendation, pick),
        *_why_nots(recommendation),
        *_left_out(recommendation, pick),
    ]


def in_brief(recommendation: Recommendation) -> list[str]:
    """The two or three lines that matter."""
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return [headline(recommendation), *_typed(recommendation)]
    doubts = (*_unlike_images(recommendation), *_limits_in_doubt(recommendation, pick))
    return [headline(recommendation), _runner_up(recommendation, pick), *_tie(recommendation), *doubts]


def place(recommendation: Recommendation) -> str:
    """`this host (edge device)`, `jetson-nano (balanced, cifar10)`, `small data (cifar10, 5000 samples)`."""
    title, task, samples = recommendation.question.title, recommendation.task.name, recommendation.samples
    data = [] if task == UNKNOWN else [task]
    if not recommendation.target:
        return f"{title.partition(',')[0]} ({', '.join([*data, f'{samples} samples'])})"
    target = "this host" if recommendation.target == HOST else recommendation.target
    return f"{target} ({', '.join([title, *data])})"


def figures(candidate: Candidate) -> str:
    """Latency and accuracy, with what is known of their intervals and seeds; of a backbone accuracy and gap."""
    if LATENCY in candidate.figures:
        return f"{latency(candidate)} at {_accuracy(candidate)}"
    gap = candidate.figures.get(GAP)
    word = "" if candidate.evidence == "measured" else f", {candidate.evidence}"
    return _accuracy(candidate) + (f", {gap.value:.2f} points of overfitting gap" if gap else "") + word


def latency(candidate: Candidate) -> str:
    """The headline latency with its interval, and the evidence where nobody measured it."""
    figure, evidence = candidate.figures[LATENCY], candidate.evidence
    word = "" if evidence == "measured" else f", {evidence},"
    if figure.bounds is None:
        return f"{figure.value:g} ms (no interval is told){word}"
    low, high = figure.bounds
    if evidence == "estimated":
        return f"{figure.value:.2g} ({low:.2g}–{high:.2g}) ms{word}"
    return f"{interval(figure.value, low, high)} ms{word}"


def refusal(line: WhyNot) -> str:
    """Why one model was not picked, and what would admit it."""
    named = line.name if line.name.startswith(line.model.partition(",")[0]) else f"{line.model} ({line.name})"
    change = f"; {line.change}" if line.change else ""
    command = f"; may change it: {line.command}" if line.command else ""
    return f"Not {named}: {line.reason}{change}{command}"


def _named(candidate: Candidate, recommendation: Recommendation) -> str:
    if isinstance(candidate.entry, Absent):
        return f"train {_name(candidate, recommendation)}"
    measurement, setup = candidate.measurement, candidate.measurement.setup
    name, _, how = how_it_ran(measurement).partition(", ")
    version = measurement.runtime.version
    ran = candidate.evidence != "measured" or isinstance(version, Absent)
    words = [name if ran else f"{name} {version}", how]
    if isinstance(setup.threads, int):
        words.append(f"{setup.threads} thread" + "s" * (setup.threads != 1))
    words.append("batch not said" if isinstance(setup.batch, Absent) else f"batch {setup.batch}")
    return f"{candidate.name} ({', '.join(filter(None, words))})"


def _name(candidate: Candidate, recommendation: Recommendation) -> str:
    """The artifact; of a backbone the name that tells it from the others."""
    if not isinstance(candidate.entry, Absent):
        return candidate.name
    return names_of([c.model for c in (*recommendation.candidates, *recommendation.apart)])[candidate.model]


def _accuracy(candidate: Candidate) -> str:
    figure = candidate.figures[ACCURACY]
    if isinstance(figure.deviation, Absent):
        return f"{figure.value:.2f} % accuracy"
    return f"{figure.value:.2f} ± {figure.deviation:.2f} % accuracy over {figure.seeds} seeds"


def _beside(candidate: Candidate, recommendation: Recommendation) -> str:
    """What else is known of the row: throughput, memory, energy, and size where it is compared."""
    if isinstance(candidate.entry, Absent):
        return ""
    entry, throughput = candidate.row, candidate.measurement.throughput
    parts = [_rate(throughput)] if isinstance(throughput, Throughput) and candidate.evidence != "reported" else []
    for name, text in (("peak_rss_bytes", "{:.0f} MB peak memory"), ("model_bytes", "{:.1f} MB file")):
        value = figure_of(entry, name)
        if isinstance(value, (int, float)) and (name != SIZE or _compares(recommendation, SIZE)):
            parts.append(text.format(value / 1e6))
    energy = figure_of(entry, ENERGY)
    parts += [] if isinstance(energy, Absent) else [f"{energy:.3g} mJ an image"]
    return "".join(f", {part}" for part in parts)


def _rate(throughput: Throughput) -> str:
    low, high = throughput.images_per_s_low, throughput.images_per_s_high
    if isinstance(low, Absent) or isinstance(high, Absent):
        return f"{throughput.images_per_s:g} img/s"
    return f"{rate(throughput.images_per_s, low, high)} img/s"


def _compares(recommendation: Recommendation, figure: str) -> bool:
    return any(axis.figure == figure for axis in recommendation.question.choice.axes)


def _rule(recommendation: Recommendation, pick: Candidate) -> str:
    best = max(recommendation.feasible, key=lambda candidate: candidate.figures[ACCURACY].value)
    limits = "".join(f", {limit}" for limit in recommendation.requirements)
    rule = f"Rule: {recommendation.question.rule} (of {len(recommendation.feasible)} feasible{limits})."
    if best.figures[ACCURACY].value == pick.figures[ACCURACY].value:
        return f"{rule} It is also the most accurate."
    return f"{rule} The most accurate is {_name(best, recommendation)}: {figures(best)}."


def _runner_up(recommendation: Recommendation, pick: Candidate) -> str:
    other = recommendation.runner_up
    if isinstance(other, Absent):
        return f"Runner-up: none; {other.reason}."
    return f"Runner-up: {_name(other, recommendation)}: {figures(other)}; {_compared(pick, other)}."


def _compared(pick: Candidate, other: Candidate) -> str:
    points = pick.figures[ACCURACY].value - other.figures[ACCURACY].value
    accuracy = f"{abs(points):.2f} points {'more' if points > 0 else 'less'} accurate" if points else "as accurate"
    if LATENCY not in pick.figures:
        alike = points and overlap(pick.figures[ACCURACY], other.figures[ACCURACY])
        return f"the pick is {accuracy}" + ", which the intervals do not tell apart" * bool(alike)
    speed = _speed(pick.figures[LATENCY], other.figures[LATENCY])
    return (
        f"the pick is {speed} and {accuracy}" if speed else f"the pick is {accuracy}, and neither can be called faster"
    )


def _speed(pick: Spread, other: Spread) -> str:
    """Empty where neither can be called faster."""
    if same_latency(pick, other):
        return ""
    ratio = other.value / pick.value
    return f"{ratio:.2f} times as fast" if ratio > 1 else f"{1 / ratio:.2f} times as slow"


def _tie(recommendation: Recommendation) -> list[str]:
    if not recommendation.ties:
        return []
    compared = {"edge": "latency", "own": "latency", "small": "accuracy"}.get(recommendation.question.name, "balance")
    names = [_name(candidate, recommendation) for candidate in recommendation.ties]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    why = TIE if compared == "latency" else "the intervals overlap, or none is told"
    return [f"A tie: the {compared} of the pick cannot be told from that of {', '.join(names[:NAMED])}{more} ({why})."]


def _changes(recommendation: Recommendation) -> list[str]:
    if not recommendation.changes:
        return ["What would change the answer: nothing that was compared; there is no other candidate."]
    by_run = {c.name: _name(c, recommendation) for c in recommendation.candidates}
    told = [f"{change.text} → {by_run.get(change.to, change.to)}" for change in recommendation.changes]
    return [f"What would change the answer: {'; '.join(told)}."]


def _apart(recommendation: Recommendation) -> list[str]:
    """Of other evidence, which is ranked by itself."""
    return [
        f"Apart, as {other.evidence} and not ranked beside what was {recommendation.evidence}: "
        f"{_name(other, recommendation)}: {figures(other)}."
        for other in recommendation.apart
    ]


def _how_sure(pick: Candidate) -> list[str]:
    return [*_how_sure_of_latency(pick), _how_sure_of_accuracy(pick)]


def _how_sure_of_latency(pick: Candidate) -> list[str]:
    if isinstance(pick.entry, Absent):
        return []
    m, seeds = pick.measurement, pick.figures[LATENCY].seeds
    warnings = "".join(f" Warning: {v.code}: {v.seen}." for v in m.verdicts if v.level == "warning")
    if isinstance(m.estimate, Estimate):
        return [
            f"How sure: latency is estimated, not measured, from {m.estimate.rung}: {m.estimate.method}; the range "
            f"holds {m.estimate.coverage_percent:g} % of such estimates. To improve it: {m.estimate.improved_by}."
            + warnings
        ]
    if m.evidence == "reported":
        return [f"How sure: latency is reported, not measured, by {m.origin}; {m.setup.scope}.{warnings}"]
    quick = " in quick mode" if m.settings.get("mode") == "quick" else ""
    several = f" The latency is the median over {seeds} seeds." if seeds > 1 else ""
    return [
        f"How sure: latency is measured{quick}, the median of {pick.latency.processes} fresh processes with "
        f"{pick.latency.samples} samples; the range is the 95 % interval between processes.{several}{warnings}"
    ]


def _how_sure_of_accuracy(pick: Candidate) -> str:
    figure, images = pick.figures[ACCURACY], pick.images
    if isinstance(images, Absent):
        return f"Accuracy is {pick.scored}: {images.reason}."
    low, high = figure.bounds or (figure.value, figure.value)
    seeds = "one seed, so the spread between seeds is not known" if figure.seeds == 1 else f"{figure.seeds} seeds"
    return (
        f"Accuracy is {pick.scored}: {images} images, where one image is {100 / images:.2f} points; "
        f"95 % interval {low:.2f}–{high:.2f} %; {seeds}; the same images chose the epoch."
    )


def _unlike_images(recommendation: Recommendation) -> list[str]:
    """Where accuracies are compared that are shares of unlike numbers of images: an engine may be scored on fewer."""
    names: dict[int, list[str]] = {}
    for candidate in recommendation.feasible:
        if isinstance(candidate.images, int):
            names.setdefault(candidate.images, []).append(_name(candidate, recommendation))
    if len(names) < 2:
        return []
    listed = "; ".join(f"{counted(images, 'image')}: {_listed(names[images])}" for images in sorted(names))
    return [f"The accuracies that are compared are not of the same images ({listed}): a difference may be theirs."]


def _limits_in_doubt(recommendation: Recommendation, pick: Candidate) -> list[str]:
    """The limits that the pick keeps, and that the wrong end of its interval does not."""
    found = []
    for limit in recommendation.requirements:
        low, high = _interval(pick, limit.figure)
        end = high if limit.comparison.startswith("<") else low
        if isinstance(end, float) and (missed := pick.missed(limit, end)):
            found.append(f"Not sure of a limit: at the wrong end of its interval, {missed}.")
    return found


def _interval(candidate: Candidate, figure: str) -> tuple[float | Absent, float | Absent]:
    if figure in candidate.figures:
        spread = candidate.figures[figure]
        return spread.low, spread.high
    throughput = Absent("of no row") if isinstance(candidate.entry, Absent) else candidate.measurement.throughput
    if figure == "images_per_s" and isinstance(throughput, Throughput):
        return throughput.images_per_s_low, throughput.images_per_s_high
    return Absent("no interval"), Absent("no interval")


def _why_nots(recommendation: Recommendation) -> list[str]:
    return [refusal(line) for line in recommendation.why_nots]


def _left_out(recommendation: Recommendation, pick: Candidate) -> list[str]:
    """Other artifacts of the model that was picked, and floors: each reason once."""
    mine = [out for out in recommendation.left_out if out.model == pick.model or not recommendation.target]
    names: dict[str, list[str]] = {}
    for out in mine:
        if out.name != pick.name and out.name not in names.setdefault(out.brief, []):
            names[out.brief].append(out.name)
    return [f"Left out: {_listed(alike)}: {reason}" for reason, alike in names.items() if alike]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _typed(recommendation: Recommendation) -> list[str]:
    return [f"Type: {recommendation.to_type}"] if recommendation.to_type else []
