"""The command vlm-report: read the records, recommend, tabulate, draw, write."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, plain_table, printable, run_command
from vlm_contract.workspace import Workspace
from vlm_report.decision.grounds import targets_of
from vlm_report.decision.limits import canonical, limit_from
from vlm_report.decision.models import names_of
from vlm_report.questions import ALL, QUESTIONS, Question, question_named
from vlm_report.recommendation import Recommendation, recommendations_of
from vlm_report.records import records_of
from vlm_report.render import FORMATS, recommendation_document, write_report
from vlm_report.sentences import figures, in_brief, refusal

HEADER = ("for", "question", "data", "pick", "figures", "runner-up", "ties")


def main(arguments: Sequence[str] | None = None) -> int:
    asked = list(sys.argv[1:] if arguments is None else arguments)
    if asked[:1] == ["import"]:
        from vlm_report.importing.command import import_command, import_parser

        return run_command(import_parser(), import_command, asked[1:])
    return run_command(parser(), report, asked)


def report(options: argparse.Namespace) -> Outcome:
    """Parse, read, recommend, write, print."""
    requirements = [limit_from(text) for text in options.require]
    records = records_of(Workspace(options.workspace))
    targets = targets_asked(options.target, targets_of(records))
    recommendations = recommendations_of(records, options.question, requirements, targets)
    written = write_report(records, recommendations, options.format)
    warn_of(records.problems)
    if not options.quiet:
        print_answers(written, recommendations)
    summary = {
        "files": [str(path) for path in written],
        "recommendations": [recommendation_document(each) for each in recommendations],
        "problems": records.problems,
    }
    return Outcome(summary, CHECK_SAID_NO if refused(recommendations) else DONE)


def parser() -> Parser:
    parser = Parser(
        "vlm-report",
        "Tables, plots and recommendations for each target, from the records alone.",
        commands=("import",),
        epilog="vlm-report import FILE takes results measured elsewhere: reported, and never mistaken for measured.",
    )
    add = parser.add_argument
    add("--require", action="append", default=[], metavar="[TARGET:]FIGURE<=NUMBER",
        help="a limit of your own, such as 'latency_ms_p99<=20', 'jetson:peak_rss_bytes<=300MB', "
        "'accuracy_percent>=97'; repeatable; exit code 1 where no artifact meets all on a target")  # fmt: skip
    add("--target", type=words, default=(), metavar="T,T", help="only these targets (default: all that have rows)")
    add("--question", type=questions, default=QUESTIONS, metavar="Q,Q",
        help=f"of {', '.join(question.name for question in ALL)} (default: "
        f"{', '.join(question.name for question in QUESTIONS)}, and own with --require)")  # fmt: skip
    add("--format", type=formats, default=FORMATS, metavar="F,F", help=f"of {', '.join(FORMATS)} (default: all)")
    return parser


def words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def questions(text: str) -> tuple[Question, ...]:
    return tuple(question_named(name) for name in words(text))


def formats(text: str) -> tuple[str, ...]:
    chosen = words(text)
    for name in chosen:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is no format; expected some of {', '.join(FORMATS)}")
    return chosen


def targets_asked(asked: Sequence[str], filed: Sequence[str]) -> tuple[str, ...]:
    """By the names that records are filed under; all where none is asked for."""
    return tuple(dict.fromkeys(canonical(target, filed) for target in asked)) or tuple(filed)


def refused(recommendations: Sequence[Recommendation]) -> bool:
    """Whether there is a target on which nothing meets the user's limits."""
    return any(each.requirements and isinstance(each.pick, Absent) for each in recommendations)


def warn_of(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"problem: {printable(problem)}", file=sys.stderr)


def print_answers(written: Sequence[Path], recommendations: Sequence[Recommendation]) -> None:
    """Where the report is, the picks, what is to be said of each, and why the other models were not picked."""
    print(f"report: {printable(str(written[0]))}")
    print(plain_table(HEADER, [row_of(each) for each in recommendations]))
    for each in recommendations:
        print()
        for line in (*in_brief(each), *map(refusal, each.why_nots)):
            print(printable(line))


def row_of(recommendation: Recommendation) -> tuple[str, ...]:
    """One line of the table of picks."""
    pick, other, samples = recommendation.pick, recommendation.runner_up, recommendation.samples
    size = "" if isinstance(samples, Absent) else f", {samples}"
    names = names_of(candidate.model for candidate in recommendation.candidates)
    named = [
        "none" if isinstance(c, Absent) else c.name if recommendation.target else names[c.model] for c in (pick, other)
    ]
    return (
        recommendation.target or "training",
        recommendation.question.name,
        f"{recommendation.task.name}{size}",
        named[0],
        "—" if isinstance(pick, Absent) else figures(pick),
        named[1],
        str(len(recommendation.ties)),
    )


if __name__ == "__main__":
    sys.exit(main())
