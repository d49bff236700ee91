"""The command vlm-report import: read a document, judge each row, keep it as reported, say what was flagged."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlm_contract.codec import encode
from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, plain_table, printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Verdict
from vlm_contract.workspace import Workspace
from vlm_report.importing.csvfile import TEMPLATE
from vlm_report.importing.documents import Document, document_at
from vlm_report.importing.recording import Taken, taken_from
from vlm_report.importing.storing import store
from vlm_targets.catalogue import target_named

DESCRIPTION = """Take results that were measured elsewhere, from a CSV or a Markdown document, as records marked
reported. What cannot be right is flagged: the flag is kept with the record, the figure enters no ranking."""
EPILOG = """Exit code 1 where a figure was refused or a row flagged as invalid; its record is kept all the same.
The same document again gives the same records; a changed one replaces those it gave before, and no others."""
HEADER = ("Row", "Model", "Taken", "Figures", "Standing")


def import_parser() -> Parser:
    parser = Parser("vlm-report import", DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("document", type=Path, nargs="?", metavar="FILE", help="a .csv or .md file")
    add("--template", action="store_true", help="print the header of a CSV, with every column, and end")
    add("--target", metavar="NAME", help="the device that speeds were measured on, where the document says it wrongly")
    add("--name", metavar="NAME", help="what the document is called in records (default: its file name)")
    return parser


def import_command(options: argparse.Namespace) -> Outcome:
    """Parse, read, judge, keep, print."""
    if options.template:
        print(TEMPLATE)
        return Outcome({"template": TEMPLATE.split(",")})
    if options.document is None:
        raise VlmError("No document is named.", hint="vlm-report import results.csv")
    target = target_named(options.target).name if options.target else ""
    name = options.name or options.document.name
    document = document_at(options.document, name)
    taken = taken_from(document, target)
    stored = store(Workspace(options.workspace), name, taken)
    if not options.quiet:
        print_taken(document, taken, stored)
    refused = any(each.refused for each in taken)
    return Outcome(summary_of(document, taken, stored), CHECK_SAID_NO if refused else DONE)


def print_taken(document: Document, taken: Sequence[Taken], stored: dict[Path, str]) -> None:
    """The rows, then every flag with what to do; what was left out goes to stderr."""
    print(plain_table(HEADER, [_line(number, each) for number, each in enumerate(taken, 1)]))
    for verdict, rows in _flags(taken).items():
        where = f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}"
        words = f"{verdict.level}: {verdict.code} ({where}): {verdict.seen} (limit: {verdict.limit})."
        print(printable(f"{words} {verdict.next_step}"))
    print(_counted(stored))
    for sentence in _left_out(document):
        print(printable(f"left out: {sentence}"), file=sys.stderr)


def summary_of(document: Document, taken: Sequence[Taken], stored: dict[Path, str]) -> dict[str, Any]:
    return {
        "document": document.name,
        "sha256": document.sha256,
        "records": {str(path): became for path, became in stored.items()},
        "rows": [
            {
                "place": each.row.place,
                "model": each.told.text("model"),
                "refused": each.refused,
                "verdicts": encode(each.verdicts),
            }
            for each in taken
        ],
        "left_out": list(_left_out(document)),
    }


def _line(number: int, each: Taken) -> tuple[str, ...]:
    refused = {name for finding in each.findings if not finding.taken for name in finding.withdrawn}
    figures = [name for name in each.row.figures if name not in refused]
    kinds = ", ".join(folder.removesuffix("s") for folder, _ in each.records)
    codes = ", ".join(dict.fromkeys(verdict.code for verdict in each.verdicts))
    standing = ("flagged: " if each.refused else "noted: ") + codes if codes else "taken"
    return str(number), each.told.text("model"), kinds, f"{len(figures)} of {len(each.row.figures)}", standing


def _flags(taken: Sequence[Taken]) -> dict[Verdict, list[int]]:
    """Each verdict once, with the rows that it is on."""
    flags: dict[Verdict, list[int]] = {}
    for number, each in enumerate(taken, 1):
        for verdict in each.verdicts:
            flags.setdefault(verdict, []).append(number)
    return flags


def _counted(stored: dict[Path, str]) -> str:
    states = list(stored.values())
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    folder = next(iter(stored)).parent.parent
    return printable(f"records: {folder} ({counts})")


def _left_out(document: Document) -> Iterable[str]:
    yield from document.contents.left_out
    if empty := [row for row in document.contents.rows if not row.figures]:
        yield f"{len(empty)} rows hold no figure"
