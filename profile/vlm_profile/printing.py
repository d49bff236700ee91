"""What a request came to, on the terminal: tables and verdicts on stdout, and what else is to be said on stderr."""

import shutil
import sys
from textwrap import fill
from typing import TextIO

from vlm_contract.console import printable
from vlm_profile.session import Measured
from vlm_profile.table import kept_sentences, sentences_of, tables_of, warnings_of


def print_measured(measured: Measured, *, show_invalid: bool) -> None:
    """The table, then every verdict with its next step; what was kept or left out goes to stderr."""
    records = measured.records.values()
    print("\n\n".join(tables_of(records, show_invalid=show_invalid)))
    for sentence in (*warnings_of(records), *sentences_of(records), *map(printable, measured.advice)):
        say(sentence, sys.stdout)
    for sentence in measured.noise:
        say(f"not quiet: {sentence}", sys.stderr)
    for sentence in kept_sentences({path: measured.records[path] for path in measured.kept}, measured.out_of_reach):
        say(sentence, sys.stderr)
    for sentence in measured.skipped:
        say(f"skipped: {sentence}", sys.stderr)


def say(sentence: str, stream: TextIO) -> None:
    """On a terminal broken between words, on a line of its own for whatever else reads it."""
    if stream.isatty():
        width = max(40, shutil.get_terminal_size().columns)
        sentence = fill(sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    print(sentence, file=stream)
