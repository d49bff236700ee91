"""The command vlm-profile: measure artifacts on a device, judge the measuring, print a table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.console import CHECK_SAID_NO, DONE, LiveLine, Outcome, Parser, run_command

if TYPE_CHECKING:
    from vlm_contract.measurement import Measurement
    from vlm_profile.session import Measured, Request


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(parser(), profile, arguments)


def profile(options: argparse.Namespace) -> Outcome:
    """Parse, measure, judge, print."""
    from vlm_contract.workspace import Workspace
    from vlm_profile.session import measure

    measured = measure(Workspace(options.workspace), request_of(options), LiveLine(quiet=options.quiet))
    if not options.quiet:
        print_tables(measured, show_invalid=options.show_invalid)
    valid = all(record.status == "valid" for record in measured.records.values())
    return Outcome(summary_of(measured, show_invalid=options.show_invalid), DONE if valid else CHECK_SAID_NO)


def parser() -> Parser:
    parser = Parser("vlm-profile", "Measure artifacts on a device: latency, throughput, memory, each with verdicts.")
    add = parser.add_argument
    add("--target", default="host", help="the device (default: host, this machine)")
    add("--artifact", type=Path, nargs="+", action="extend", default=[], metavar="PATH",
        help="artifact folders or any ONNX files (default: all of the workspace that no check refused)")  # fmt: skip
    add("--batch", type=batches, default=(1, 8), metavar="N,N", help="batches, one row each (default: 1,8)")
    add("--threads", type=int, metavar="N", help="threads inside one inference (default: all usable CPUs)")
    add("--runtime", default="auto", help="auto or onnxruntime (default: auto)")
    add("--input-shape", type=input_shape, action="append", default=[], metavar="NAME:1x3x224x224",
        help="the shape of an input with unknown dimensions; its batch is --batch")  # fmt: skip
    add("--quick", action="store_true", help="3 processes of 1 s instead of 5 to 10 of 2 s; labelled so")
    add("--max-seconds", type=seconds, metavar="S", help="bound the time of one row; what this cuts, the verdicts say")
    add("--seed", type=int, default=0, help="of the order of processes and of the inputs (default: 0)")
    add("--again", action="store_true", help="measure anew what a stored valid result answers")
    add("--show-invalid", action="store_true", help="show the figures of invalid results too")
    return parser


def request_of(options: argparse.Namespace) -> "Request":
    from vlm_profile.protocol import FULL, QUICK
    from vlm_profile.session import Request

    protocol = QUICK if options.quick else FULL
    return Request(
        target=options.target,
        artifacts=tuple(options.artifact),
        batches=options.batch,
        threads=options.threads,
        runtime=options.runtime,
        input_shapes=dict(options.input_shape),
        protocol=protocol.within(options.max_seconds) if options.max_seconds else protocol,
        seed=options.seed,
        again=options.again,
    )


def print_tables(measured: "Measured", *, show_invalid: bool) -> None:
    """The table, then every verdict with its next step; what was kept or left out goes to stderr."""
    from vlm_profile.table import sentences_of, table_of

    print(table_of(measured.records.values(), show_invalid=show_invalid))
    for sentence in sentences_of(measured.records.values()):
        print(sentence)
    for path in sorted(measured.kept):
        print(f"kept: {path} ({measured.records[path].status}; --again measures it anew)", file=sys.stderr)
    for sentence in measured.skipped:
        print(f"skipped: {sentence}", file=sys.stderr)


def summary_of(measured: "Measured", *, show_invalid: bool) -> dict[str, Any]:
    return {
        "measurements": [
            {"file": str(path), "kept": path in measured.kept, **figures_of(record, show_invalid=show_invalid)}
            for path, record in measured.records.items()
        ],
        "skipped": measured.skipped,
    }


def figures_of(record: "Measurement", *, show_invalid: bool) -> dict[str, Any]:
    """The main figures of one row; those of what is not valid only where asked for."""
    from vlm_contract.codec import encode

    row = {
        "artifact": record.artifact.name,
        "precision": record.artifact.precision,
        "batch": record.setup.batch,
        "threads": record.setup.threads,
        "mode": record.settings["mode"],
        "status": record.status,
        "verdicts": encode(record.verdicts),
    }
    if record.status == "valid" or show_invalid:
        row |= {part: encode(getattr(record, part)) for part in ("latency", "throughput", "memory")}
    return row


def batches(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(word) for word in text.split(",")))


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, shape = text.rpartition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; expected NAME:1x3x224x224")
    return name, tuple(_positive(word) for word in shape.split("x"))


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected seconds over 0")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected a whole number over 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
