"""What the commands share towards a terminal: options, exit codes, the progress line, plain tables."""

import argparse
import difflib
import json
import os
import shutil
import signal
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from vlm_contract.errors import VlmError
from vlm_contract.workspace import default_workspace

DONE, CHECK_SAID_NO, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and the document that `--json` prints."""

    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int = DONE


class Parser(argparse.ArgumentParser):
    """Argument parser with the options common to all commands; a wrong argument is a VlmError.

    `commands` are words that may stand first in the place of options: of a mistyped one the nearest is named.
    """

    def __init__(self, program: str, description: str, *, commands: Sequence[str] = (), **options: Any) -> None:
        super().__init__(prog=program, description=description, allow_abbrev=False, **options)
        self._commands = commands
        self.add_argument(
            "--workspace",
            type=Path,
            default=default_workspace(),
            metavar="DIR",
            help="where runs, artifacts, measurements and the report live (default: workspace, or $VLM_WORKSPACE)",
        )
        self.add_argument(
            "--json", action="store_true", help="end stdout with one line of JSON: what was written, main figures"
        )
        self.add_argument("--quiet", action="store_true", help="no progress and no tables; errors only")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        self.add_argument("--version", action=_Version)

    def error(self, message: str) -> NoReturn:
        found, _, words = message.partition("unrecognized arguments: ")
        word = words.split()[0] if not found and words.split() else ""
        if word.startswith("-"):
            options = [option for action in self._actions for option in action.option_strings]
            if alike := difflib.get_close_matches(word.partition("=")[0], options, n=1):
                raise VlmError(f"{word!r} is no option of {self.prog}.", hint=f"{self.prog} {alike[0]} …")
        elif nearest := difflib.get_close_matches(word, self._commands, n=1):
            raise VlmError(f"{word!r} is no command of {self.prog}.", hint=f"{self.prog} {nearest[0]}")
        raise VlmError(f"{message[:1].upper()}{message[1:]}.", hint=f"{self.prog} --help")


def run_command(
    parser: Parser, main: Callable[[argparse.Namespace], Outcome], arguments: Sequence[str] | None = None
) -> int:
    """Parse, run `main`, and return the exit code. A user's error prints one paragraph and no traceback.

    With --json the last line of stdout is one JSON document however it ended: after an error it holds `error`, what
    went wrong in words, and `hint`, what to type.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options = parser.parse_args(words)
        outcome = main(options)
        if options.json:
            print(json.dumps(outcome.summary, allow_nan=False, default=str))
        return outcome.exit_code
    except VlmError as error:
        if "--json" in words:
            print(json.dumps({"error": str(error), "hint": error.hint}))
        return complain(parser.prog, error, debug="--debug" in words)
    except KeyboardInterrupt as interrupt:
        hint = str(interrupt) or "The same command continues."
        if "--json" in words:
            print(json.dumps({"error": "interrupted; what was finished is kept", "hint": hint}))
        _print_paragraph(f"{parser.prog}: interrupted; what was finished is kept. {hint}")
        return INTERRUPTED
    except BrokenPipeError:  # who was to read what the checks say has gone
        sys.stderr.close()
        return CHECK_SAID_NO


def complain(program: str, error: VlmError, *, debug: bool = False) -> int:
    """Print an error as one paragraph and what to type; its exit code."""
    if debug:
        traceback.print_exception(error)
    _print_paragraph(f"{program}: {error}")
    if error.hint:
        print(f"Try: {printable(error.hint)}", file=sys.stderr)
    return error.exit_code


def require_extra(extra: str, error: ImportError) -> VlmError:
    """The error for a missing optional dependency, naming the command that installs it."""
    return VlmError(
        f"{error.name} is not installed; this needs the extra {extra!r}.", hint=f"pip install 'vlm-edge[{extra}]'"
    )


def printable(text: str) -> str:
    """`text` without control characters: what comes from a model, a board or a file cannot move the cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text; columns of numbers are aligned right."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(row[i][:1] in "-+.0123456789—" for row in cells[1:]) for i in range(len(header))]
    pads = [str.rjust if is_numeric else str.ljust for is_numeric in numeric]
    lines = ["  ".join(pad(c, w) for pad, c, w in zip(pads, row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


PROGRESS = "VLM_PROGRESS"  # of the environment: "lines" where another command reads the progress, and shows it


class LiveLine:
    """One progress line on stderr, redrawn in place; silent where stderr is no terminal, or when told to be.

    For a command that reads it, a line of its own at most once a second.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._read = os.environ.get(PROGRESS) == "lines" and not quiet
        self._live = not quiet and self._stream.isatty() and not self._read
        self._every_s = 1.0 if self._read else 0.1
        self._clock = clock
        self._drawn_at = -1.0

    def show(self, text: str) -> None:
        """Redraw, at most ten times a second."""
        if not (self._live or self._read) or self._clock() - self._drawn_at < self._every_s:
            return
        self._drawn_at = self._clock()
        width = shutil.get_terminal_size().columns - 1
        shown = printable(text)
        self._stream.write(f"{shown}\n" if self._read else f"\r\x1b[K{clipped(shown, width)}")
        self._stream.flush()

    def clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def clipped(text: str, width: int) -> str:
    """`text` in so many columns. Of parts that two spaces separate the first gives way, in its middle: names are long,
    and the time left stands last."""
    if len(text) <= width:
        return text
    first, gap, rest = text.partition("  ")
    if not gap:
        return text[: width - 1] + "…"
    if (room := width - len(gap + rest) - 1) < 2:
        return "…" + text[len(text) - width + 1 :]
    return f"{first[: room - room // 2]}…{first[len(first) - room // 2 :]}{gap}{rest}"


def time_left(seconds: float) -> str:
    """Seconds as `42 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('vlm-edge')}")
        parser.exit()


def _print_paragraph(text: str) -> None:
    print(textwrap.fill(printable(text), 100, break_long_words=False, break_on_hyphens=False), file=sys.stderr)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
