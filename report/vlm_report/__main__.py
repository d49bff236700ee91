"""The command vlm-report: read the records, recommend, tabulate, draw, write."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, printable, run_command
from vlm_contract.workspace import Workspace
from vlm_report.recommendation import recommend
from vlm_report.records import records_of
from vlm_report.render import FORMATS, recommendation_document, write_report
from vlm_report.requirements import requirement_from
from vlm_report.sentences import in_brief


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(parser(), report, arguments)


def report(options: argparse.Namespace) -> Outcome:
    """Parse, read, recommend, write, print."""
    requirements = [requirement_from(text) for text in options.require]
    records = records_of(Workspace(options.workspace))
    recommendation = recommend(records, requirements)
    written = write_report(records, recommendation, options.format)
    warn_of(records.problems)
    if not options.quiet:
        print_lines(written, in_brief(recommendation))
    refused = bool(requirements) and isinstance(recommendation.pick, Absent)
    summary = {
        "files": [str(path) for path in written],
        "recommendation": recommendation_document(recommendation),
        "problems": records.problems,
    }
    return Outcome(summary, CHECK_SAID_NO if refused else DONE)


def parser() -> Parser:
    parser = Parser("vlm-report", "Tables, a plot and a recommendation for this host, from the records alone.")
    add = parser.add_argument
    add("--require", action="append", default=[], metavar="FIGURE<=NUMBER",
        help="a limit that the pick must meet, such as 'latency_ms_p99<=20', 'peak_rss_bytes<=300MB', "
        "'accuracy_percent>=97'; repeatable; exit code 1 where no artifact meets all")  # fmt: skip
    add("--format", type=formats, default=FORMATS, metavar="F,F", help=f"of {', '.join(FORMATS)} (default: all)")
    return parser


def formats(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    for name in chosen:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is no format; expected some of {', '.join(FORMATS)}")
    return chosen


def warn_of(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"problem: {printable(problem)}", file=sys.stderr)


def print_lines(written: Sequence[Path], lines: Sequence[str]) -> None:
    """Where the report is, and the lines that matter."""
    print(f"report: {printable(str(written[0]))}")
    for line in lines:
        print(printable(line))


if __name__ == "__main__":
    sys.exit(main())
