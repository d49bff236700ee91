"""The command `vlm-profile compare`: the outcomes as a table, and `--fail-if` as a gate for continuous integration."""

import argparse
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vlm_contract.codec import Absent, encode
from vlm_contract.conditions import BYTES, COMPARISONS, scale_of, words_from
from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, plain_table, printable
from vlm_contract.errors import VlmError
from vlm_profile.comparing.compare import (
    UNLIKE,
    WORSE,
    Change,
    Comparison,
    Pair,
    canary_percents,
    compare,
    measurements_at,
)
from vlm_profile.comparing.intervals import COMPARABLE, LARGER_IS_BETTER, Estimate, told_apart
from vlm_profile.table import NOTHING, supported

OPTION = "--fail-if"
SHOWN = ("latency_ms_p50", "latency_ms_p99", "images_per_s", "peak_rss_bytes")
HEADER = ("row", "figure", "old", "new", "change", "outcome")
ANY = "any"  # of --unlike: whatever differs


@dataclass(frozen=True)
class Rule:
    """A change that is a regression: `latency_ms_p50>+5%`, `peak_rss_bytes>+10MB`, `images_per_s<-5%`."""

    text: str  # as typed
    figure: str  # a key of COMPARABLE
    comparison: str  # a key of COMPARISONS
    limit: float  # signed; in percent of the old value, or in the unit that records use
    in_percent: bool

    def crossed(self, change: Change) -> bool:
        """Whether the values, whatever their intervals, are beyond the limit."""
        if isinstance(change.old, Absent) or isinstance(change.new, Absent) or isinstance(change.percent, Absent):
            return False
        amount = change.percent if self.in_percent else change.new.value - change.old.value
        return bool(COMPARISONS[self.comparison](amount, self.limit))


@dataclass(frozen=True)
class Judgement:
    """What a rule says of a pair."""

    row: str
    rule: str
    status: Literal["kept", "failed", "unsure"]
    seen: str


def rule_from(text: str) -> Rule:
    """Parse `FIGURE>+NUMBER(%|UNIT)` or `FIGURE<-NUMBER(%|UNIT)`. Raises VlmError with what to type."""
    words = words_from(text, OPTION, COMPARABLE, "latency_ms_p50>+5%")
    worse = "<-" if words.figure in LARGER_IS_BETTER else ">+"
    if words.comparison[0] + words.sign != worse:
        larger = "smaller" if worse == "<-" else "larger"
        raise VlmError(
            f"{text!r} is no regression: {words.figure} is worse when it is {larger}; expected {worse} and a number.",
            hint=f"{OPTION} '{words.figure}{worse}{words.number:g}{words.unit or '%'}'",
        )
    in_percent = words.unit == "%"
    scale = 1.0 if in_percent else scale_of(words, OPTION, COMPARABLE[words.figure].units)
    limit = float(f"{words.sign}1") * words.number * scale
    return Rule(text, words.figure, words.comparison, limit, in_percent)


def judged(rule: Rule, pair: Pair) -> Judgement:
    """A regression fails where the intervals support it; where they do not, or no figure tells, it is `unsure`."""
    change = pair.changes[rule.figure]
    if isinstance(change.percent, Absent):
        return Judgement(pair.name, rule.text, "unsure", f"not known: {change.why}")
    limits = (rule.limit,) if rule.in_percent else ()
    seen = f"{rule.figure} {_signed(change.percent, *limits, pair.claim_percent)} %"
    if not rule.crossed(change):
        return Judgement(pair.name, rule.text, "kept", seen)
    if change.outcome in WORSE:
        return Judgement(pair.name, rule.text, "failed", seen)
    under = f"a claim needs over {pair.claim_percent:g} %"
    return Judgement(pair.name, rule.text, "unsure", f"{seen}, and {change.why or under}")


def compare_parser() -> Parser:
    """Of the words after `vlm-profile compare`."""
    parser = Parser("vlm-profile compare", "Compare two measurements, or two sets: faster, slower, same or ambiguous.")
    for name, which in (("old", "before"), ("new", "after")):
        parser.add_argument(
            name, type=Path, metavar=name.upper(), help=f"{which}: a measurement's file, a folder of them, a workspace"
        )
    parser.add_argument(
        OPTION, action="append", default=[], metavar="RULE",
        help="a regression that makes the exit code 1, such as 'latency_ms_p50>+5%%', 'images_per_s<-5%%', "
        "'peak_rss_bytes>+10MB'; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--unlike", nargs="?", const=ANY, default="", metavar="WHAT,WHAT",
        help="compare although these differ (device, power, runtime, model, scope, setup, inputs, protocol); "
        "alone: whatever differs",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="what intervals leave open, and rows that NEW lacks, fail too"
    )
    return parser


def compare_command(options: argparse.Namespace) -> Outcome:
    """Read, compare, judge, print."""
    rules = [rule_from(text) for text in options.fail_if]
    may_differ = may_differ_from(options.unlike)
    old, new = (tuple(measurements_at(path).values()) for path in (options.old, options.new))
    one_each = len(old) == len(new) == 1
    comparison = compare(old[0], new[0], may_differ) if one_each else compare(old, new, may_differ)
    check_alike(comparison, may_differ)
    judgements = [judged(rule, pair) for pair in comparison.pairs if not pair.refused for rule in rules]
    if not options.quiet:
        print(table_of(comparison, dict.fromkeys([*SHOWN, *(rule.figure for rule in rules)])))
        for sentence in (*verdicts_in(judgements), *remarks_on(comparison)):
            print(printable(sentence))
    passed = passes(comparison, judgements, strict=options.strict)
    if not passed and not options.quiet:
        print(why_not_passed(comparison, judgements, strict=options.strict))
    return Outcome(document_of(comparison, judgements), DONE if passed else CHECK_SAID_NO)


def may_differ_from(text: str) -> frozenset[str]:
    """The words of `--unlike`. Raises VlmError naming one that is nothing that may differ."""
    words = frozenset(filter(None, text.split(",")))
    if ANY in words:
        return frozenset(UNLIKE)
    for word in sorted(words - UNLIKE.keys()):
        raise VlmError(
            f"--unlike {word!r} is nothing that may differ; known: {', '.join(UNLIKE)}, or none of them for any.",
            hint="--unlike=model,runtime, or --unlike as the last word",
        )
    return words


def check_alike(comparison: Comparison, may_differ: Set[str]) -> None:
    """Raise VlmError listing the differences where a pair differs in what it may not."""
    pairs = [(pair, [d for d in pair.unlike if d.what not in may_differ]) for pair in comparison.pairs]
    refused = [f"{pair.name}: {'; '.join(map(str, found))}" for pair, found in pairs if found]
    if refused:
        what = dict.fromkeys(d.what for _, found in pairs for d in found)
        raise VlmError(
            f"Unlike results are not compared unless asked for. {'. '.join(refused)}.",
            hint=f"--unlike={','.join(what)}, if the difference is what you want to see",
        )


def passes(comparison: Comparison, judgements: Sequence[Judgement], *, strict: bool) -> bool:
    """Whether no rule failed and every common row could be compared; strictly, none was left open or is missing."""
    bad = {"failed", "unsure"} if strict else {"failed"}
    lacking = bool(comparison.only_old) and strict
    return not lacking and not any(p.refused for p in comparison.pairs) and not any(j.status in bad for j in judgements)


def why_not_passed(comparison: Comparison, judgements: Sequence[Judgement], *, strict: bool) -> str:
    """The last line where the exit code is 1."""
    counts = {
        "rules failed": sum(judgement.status == "failed" for judgement in judgements),
        "rows could not be compared": sum(bool(pair.refused) for pair in comparison.pairs),
        "rules are open": sum(judgement.status == "unsure" for judgement in judgements) * strict,
        "rows are missing in NEW": len(comparison.only_old) * strict,
    }
    return f"no: {', '.join(f'{count} {what}' for what, count in counts.items() if count)}"


def table_of(comparison: Comparison, figures: Iterable[str]) -> str:
    """A line for each figure of each row that either side knows; one that says why for a row that is refused."""
    lines: list[tuple[str, ...]] = []
    for pair in comparison.pairs:
        if pair.refused:
            lines.append((pair.name, *[NOTHING] * 4, f"not compared: {pair.refused}"))
            continue
        changes = {name: pair.changes[name] for name in figures}
        known = {name: c for name, c in changes.items() if isinstance(c.old, Estimate) or isinstance(c.new, Estimate)}
        lines += [(pair.name, name, *_cells(name, change, pair.claim_percent)) for name, change in known.items()]
    return plain_table(HEADER, lines)


def _cells(name: str, change: Change, claim_percent: float) -> tuple[str, str, str, str]:
    percent = NOTHING if isinstance(change.percent, Absent) else f"{_signed(change.percent, claim_percent)} %"
    outcome = f"{change.outcome}: {change.why}" if change.why else change.outcome
    return _shown(name, change.old), _shown(name, change.new), percent, outcome


def _shown(name: str, estimate: Estimate | Absent) -> str:
    if isinstance(estimate, Absent):
        return NOTHING
    scale, unit = (1e6, " MB") if COMPARABLE[name].units is BYTES else (1.0, "")
    half = (estimate.high - estimate.low) / 2 / scale
    width = f" ± {supported(half, half)}" if half else ""  # the same in every process
    return f"{supported(estimate.value / scale, half)}{width}{unit}"


def _signed(percent: float, *limits: float) -> str:
    """With its sign, and on its side of what a claim or a rule asks for in either direction."""
    text = told_apart(percent, *limits, *(-limit for limit in limits))
    return text if percent < 0 else f"+{text}"


def verdicts_in(judgements: Sequence[Judgement]) -> Iterator[str]:
    """A sentence for each rule that was not simply kept, and the number of those that were."""
    for judgement in judgements:
        if judgement.status != "kept":
            yield f"{judgement.status}: {judgement.row}: {judgement.seen} ({OPTION} '{judgement.rule}')"
    if kept := sum(judgement.status == "kept" for judgement in judgements):
        yield f"kept: {kept} of {len(judgements)} rules on rows; what intervals hide, --strict refuses"


def remarks_on(comparison: Comparison) -> Iterator[str]:
    """What else a reader must know: differences that were allowed, the machine's own change, rows left out."""
    for pair in comparison.pairs:
        if pair.refused:
            continue
        yield from (f"unlike: {pair.name}: {difference}" for difference in pair.unlike)
        for kernel, percent in canary_percents(pair).items():
            if abs(percent) > pair.claim_percent:
                yield f"machine: {pair.name}: its own {kernel} kernel took {percent:+.1f} %: the machine changed too"
    if others := dict.fromkeys(pair.shared for pair in comparison.pairs if pair.shared):
        yield f"shared machine ({'; '.join(others)}): a claim needs a difference over 5 %, else 2 %"
    yield from (f"only in OLD: {name}" for name in comparison.only_old)
    yield from (f"only in NEW: {name}" for name in comparison.only_new)


def document_of(comparison: Comparison, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """The comparison as JSON types."""
    rows = [
        {
            "row": pair.name,
            "refused": pair.refused,
            "unlike": encode(pair.unlike),
            "shared": pair.shared,
            "claim_percent": pair.claim_percent,
            "changes": encode(dict(pair.changes)),
        }
        for pair in comparison.pairs
    ]
    return {
        "rows": rows,
        "only_old": comparison.only_old,
        "only_new": comparison.only_new,
        "rules": [asdict(judgement) for judgement in judgements],
    }
