"""The live table on stderr: steps done, running, failed and left, time left, cost so far, and what runs."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from vlm_contract.codec import Absent
from vlm_contract.console import PROGRESS, plain_table, printable, time_left
from vlm_report.study.forecast import forecast_of
from vlm_report.study.matrix import Cost
from vlm_report.study.outcome import tail
from vlm_report.study.run import Now, Progress
from vlm_report.study.state import spent
from vlm_report.study.steps import STAGES

SHOWN = 6  # running steps at most
HEADER = ("", "done", "running", "failed", "left")


class Board:
    """Several lines, redrawn in place; one line a second for a command that reads them; else silent."""

    def __init__(
        self,
        title: str,
        cost: Cost,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._cost, self._clock = title, cost, clock
        self._stream = stream or sys.stderr
        self._read = os.environ.get(PROGRESS) == "lines" and not quiet
        self._live = not quiet and not self._read and self._stream.isatty()
        self._quiet = quiet
        self._drawn_at = -1.0
        self._height = 0

    def show(self, progress: Progress) -> None:
        """Redraw, at most once a second."""
        if not (self._live or self._read) or self._clock() - self._drawn_at < 1:
            return
        self._drawn_at = self._clock()
        if self._read:
            self._write(f"{summary_line(self._title, progress, self._cost)}\n")
        else:
            self._draw(lines_of(self._title, progress, self._cost))

    def tell(self, text: str) -> None:
        """A sentence that stays, above the table."""
        if self._quiet:
            return
        self.clear()
        self._write(f"{printable(text)}\n")

    def clear(self) -> None:
        if self._height:
            self._write(f"\x1b[{self._height}A\r\x1b[J")
            self._height = 0
            self._drawn_at = -1.0

    def _draw(self, lines: Sequence[str]) -> None:
        width, height = shutil.get_terminal_size()
        shown = [line[: width - 1] for line in lines][: max(1, height - 1)]
        back = f"\x1b[{self._height}A\r\x1b[J" if self._height else ""
        self._height = len(shown)
        self._write(back + "".join(f"{line}\n" for line in shown))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def lines_of(title: str, progress: Progress, cost: Cost) -> list[str]:
    """The table as lines: the whole, the stages, and what runs."""
    lines = [summary_line(title, progress, cost), *plain_table(HEADER, stage_rows(progress)).splitlines()]
    running = sorted(progress.running.items(), key=lambda item: -item[1][0])
    for id, (seconds, _, _, machine) in running[:SHOWN]:
        lines.append(printable(f"{id} on {machine}, {time_left(seconds)}: {last_line(progress, id)}"))
    return lines + ([f"and {len(running) - SHOWN} more"] if len(running) > SHOWN else [])


def summary_line(title: str, progress: Progress, cost: Cost) -> str:
    failed = progress.count(Now.FAILED)
    words = [f"{progress.count(Now.DONE)} of {len(progress.steps)} steps done"]
    words += [f"{failed} failed"] if failed else []
    words += [f"{time_left(progress.seconds)} so far", left_in_words(progress), cost_in_words(progress, cost)]
    return printable(f"{title}: {', '.join(words)}")


def left_in_words(progress: Progress) -> str:
    forecast = forecast_of(progress)
    if not forecast.seconds:
        return "time left not known yet" if forecast.unknown else "no time left"
    return f"{'more than ' if forecast.unknown else ''}{time_left(forecast.seconds)} left"


def cost_in_words(progress: Progress, cost: Cost) -> str:
    """Hours that cores and GPUs were held, and their price where the study gives one."""
    cpu_h, gpu_h = spent(progress.ledger.steps)
    hours = f"{cpu_h:.2f} CPU-hours" + (f" and {gpu_h:.2f} GPU-hours" if gpu_h else "")
    price = price_of(cpu_h, gpu_h, cost)
    return hours if isinstance(price, Absent) else f"{hours}, {price:.2f} {cost.currency}".rstrip()


def price_of(cpu_h: float, gpu_h: float, cost: Cost) -> float | Absent:
    """Absent where the study does not say what the hours that were used cost."""
    parts = [(cpu_h, cost.per_cpu_hour), (gpu_h, cost.per_gpu_hour)]
    if all(isinstance(rate, Absent) for _, rate in parts):
        return Absent("the study's file has no table [cost]")
    total = 0.0
    for hours, rate in parts:
        if isinstance(rate, float):
            total += hours * rate
        elif hours:
            return Absent("[cost] gives one price, and hours of the other kind were used too")
    return total


def stage_rows(progress: Progress) -> list[tuple[str, ...]]:
    """Of each stage that the study has: its name, then how many steps are done, running, failed and left."""
    rows = []
    for stage in STAGES:
        ids = [id for id, step in progress.steps.items() if step.stage == stage]
        if ids:
            now = [progress.now[id] for id in ids]
            counts = [now.count(state) for state in (Now.DONE, Now.RUNNING, Now.FAILED)]
            left = now.count(Now.WAITING) + now.count(Now.BLOCKED)
            rows.append((stage, *map(str, (*counts, left))))
    return rows


def last_line(progress: Progress, id: str) -> str:
    """What a running step's command said last."""
    standing = progress.ledger.steps.get(id)
    if standing is None or not standing.log:
        return ""
    lines = tail(progress.ledger.workspace.root / standing.log).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
