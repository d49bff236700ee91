#!/usr/bin/env python3
"""How far the estimates are off on devices and on models that the fit has not seen: the table of acceptance.

Each device's rows are estimated by constants that were fitted to all others. An interval counts as covering by a width
from the other devices alone. Coverage is given twice: of all rows, of which half are of three RTX cards, and as the
mean of the devices' own, which is what a device that is new may expect. The error of a row is the larger of measured
and estimated over the smaller, less 1. Anchors are drawn at random among rows of the same device, runtime, precision
and power mode, and of other architectures than the row that is estimated. Half a minute.
"""

import argparse
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from vlm_contract.console import plain_table
from vlm_profile.estimates.judging import (
    ANCHORS,
    Judged,
    by_device,
    covered,
    rank_correlation,
    with_anchors,
    with_published,
    without_each_device,
    without_half_of_the_models,
)
from vlm_profile.estimates.published import published_rows, target_of_device, usable_rows

HEADER = ["", "rows", "median error, %", "within 2, %", "rows in the interval, %", "devices, %", "rank correlation"]
WORST = 10
GOALS = """Goals: specifications: median error 30 % at most, 85 % within a factor of 2; three anchors: 13 % at most;
rank correlation 0.9 at least; intervals of 80 % cover 75 to 90 %."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worst", type=int, default=WORST, help=f"rows to list (default: {WORST})")
    worst: int = parser.parse_args().worst
    _print_rows()
    seen = without_each_device(usable_rows())
    specifications = [each.judged for each in seen]
    rungs: dict[str, list[Judged]] = {"specifications": specifications, "published": list(with_published(seen))}
    rungs |= {f"calibrated {number}": list(with_anchors(seen, number)) for number in ANCHORS}
    all_rows = _reference(rungs)
    _print_table("Devices left out, by rung", [_line(rung, judged, rungs[rung]) for rung, judged in all_rows.items()])
    boards = {rung: [each for each in judged if _is_board(each)] for rung, judged in all_rows.items()}
    _print_table("The boards alone, by rung", [_line(rung, judged, rungs[rung]) for rung, judged in boards.items()])
    halves = [e for e in without_half_of_the_models(usable_rows()) if e.row.set == "reference"]
    _print_table("Half of the models left out, five times", [_line("specifications", halves, is_covered=False)])
    for rung in ("specifications", "calibrated 3"):
        lines = [_line(device, found, others=rungs[rung]) for device, found in by_device(rungs[rung]).items()]
        _print_table(f"Devices left out, each: {rung}", lines)
    print(GOALS)
    print()
    _print_worst(specifications, worst)


def _print_rows() -> None:
    rows = published_rows()
    print(f"{len(rows)} published rows, {sum(row.set == 'reference' for row in rows)} of the reference; left out:")
    for reason, number in Counter(row.left_out for row in rows if row.left_out).most_common():
        print(f"  {number:3} {reason}")
    print()


def _print_table(title: str, lines: list[list[str]]) -> None:
    print(title)
    print(plain_table(HEADER, lines))
    print()


def _reference(rungs: dict[str, list[Judged]]) -> dict[str, list[Judged]]:
    return {rung: [each for each in judged if each.row.set == "reference"] for rung, judged in rungs.items()}


def _line(
    name: str, judged: Sequence[Judged], others: Sequence[Judged] | None = None, is_covered: bool = True
) -> list[str]:
    errors = [each.error for each in judged]
    within = statistics.fmean(error < 1 for error in errors)
    shares = covered(judged, others or judged) if is_covered else {}
    rows = f"{100 * statistics.fmean(inside for found in shares.values() for inside in found):.0f}" if shares else ""
    devices = f"{100 * statistics.fmean(map(statistics.fmean, shares.values())):.0f}" if shares else ""
    ranks = [rank_correlation(found) for found in by_device(judged).values() if _distinct(found) > 2]
    least = f"{min(ranks):.2f}" if ranks else "one model"
    return [
        name,
        str(len(judged)),
        f"{100 * statistics.median(errors):.1f}",
        f"{100 * within:.1f}",
        rows,
        devices,
        least,
    ]


def _is_board(judged: Judged) -> bool:
    """A Jetson or a Pi, which are what estimates are for: targets, and no published PC."""
    return target_of_device(judged.row.device) is not None


def _distinct(judged: Iterable[Judged]) -> int:
    return len({(each.row.network, each.row.image_size) for each in judged})


def _print_worst(judged: Sequence[Judged], number: int) -> None:
    print(f"The {number} worst rows from specifications alone")
    lines = [["device", "runtime", "precision", "model", "measured, ms", "estimated, ms"]]
    for each in sorted(judged, key=lambda each: -each.error)[:number]:
        row, estimated = each.row, each.row.latency_ms / math.exp(each.residual)
        model = f"{row.model}, {row.image_size} px, batch {row.batch}"
        lines.append([row.device, row.runtime, row.precision, model, f"{row.latency_ms:.3g}", f"{estimated:.3g}"])
    print(plain_table(lines[0], lines[1:]))


if __name__ == "__main__":
    main()
