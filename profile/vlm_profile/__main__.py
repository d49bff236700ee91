"""The command vlm-profile: measure artifacts on a device, judge the measuring, print a table."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.console import CHECK_SAID_NO, DONE, LiveLine, Outcome, Parser, run_command

if TYPE_CHECKING:
    from vlm_contract.measurement import Measurement
    from vlm_profile.fleet import Member
    from vlm_profile.protocol import Protocol
    from vlm_profile.rows import Auto, Request
    from vlm_profile.session import Measured


_SECONDS = {"s": 1, "m": 60, "h": 3600}
FIGURES = ("latency", "throughput", "memory", "cold_start", "pacing", "sustained", "energy", "temperature")
EPILOG = """\
examples:
  vlm-profile                                  all artifacts, on this machine
  vlm-profile --target jetson                  estimated: no board was named
  vlm-profile --target jetson --host me@board  measured there, over SSH
  vlm-profile --target jetson,rpi5 --host me@a,me@b

other commands, each with --help:
  vlm-profile targets [show NAME]  known devices, and what is known of each
  vlm-profile doctor               this machine, and what would spoil figures
  vlm-profile compare OLD NEW      what changed; also a gate for CI
  vlm-profile selftest             measures workers of known speed
"""
# A first word that is a command of its own: its module, which holds NAME_parser() and NAME_command(options).
COMMANDS = {
    "targets": "vlm_profile.targets_command",
    "doctor": "vlm_profile.doctor",
    "compare": "vlm_profile.comparing.gate",
    "selftest": "vlm_profile.selftest",
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and (name := words[0]) in COMMANDS:
        module = import_module(COMMANDS[name])
        return run_command(getattr(module, f"{name}_parser")(), getattr(module, f"{name}_command"), words[1:])
    return run_command(parser(), lambda options: profile(options, words), words)


def profile(options: argparse.Namespace, words: Sequence[str]) -> Outcome:
    """Parse, measure or estimate, judge, print."""
    from vlm_contract.workspace import Workspace
    from vlm_profile.comparing.budgets import budgets_from, document_of, judge_budgets, sentences_of
    from vlm_profile.fleet import measure_members, members_of
    from vlm_profile.measuring import measure
    from vlm_profile.printing import print_measured, say

    budgets = budgets_from(options.budget)
    line = LiveLine(quiet=options.quiet)
    members = members_of(options.target, options.host or "", options.fleet, options.target_file)
    try:
        if len(members) > 1:
            measured, failed = measure_members(words, members, line, known=options.target_file)
        else:
            measured, failed = measure(Workspace(options.workspace), request_of(options, members[0]), line), ()
    finally:
        line.clear()
    if not options.quiet and measured.records:
        print_measured(measured, show_invalid=options.show_invalid)
    for sentence in failed:
        say(sentence, sys.stderr)
    judgements = judge_budgets(measured.records.values(), budgets)
    for sentence in sentences_of(judgements):
        print(sentence, file=sys.stdout if not options.quiet else sys.stderr)
    valid = all(record.status == "valid" for record in measured.records.values()) and not failed
    summary = {**summary_of(measured, show_invalid=options.show_invalid), "failed": failed}
    summary["budgets"] = document_of(judgements)
    return Outcome(summary, DONE if valid and not any(each.missed for each in judgements) else CHECK_SAID_NO)


def parser() -> Parser:
    parser = Parser(
        "vlm-profile",
        "Measure artifacts on a device: latency, throughput, memory, each with verdicts.",
        commands=tuple(COMMANDS),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure")
    add = what.add_argument
    add("--target", default="host", metavar="NAME,NAME",
        help="the device (default: host, this machine); one out of reach is estimated, several run side by side",
    )  # fmt: skip
    add("--host", type=hosts, metavar="USER@BOARD,…",
        help="where the target is reached over SSH, one for each: whatever ssh takes, a Host of ~/.ssh/config too",
    )  # fmt: skip
    add("--target-file", type=Path, action="append", default=[], metavar="PATH",
        help="a target of your own, beside those in ~/.config/vlm-edge/targets")  # fmt: skip
    add(
        "--fleet",
        type=Path,
        metavar="PATH",
        help="several boards, in place of --target and --host: a TOML file of [[board]] with target and host",
    )
    add("--power-mode", metavar="NAME", help="what to estimate for (default: the mode that the target starts in)")
    add("--no-estimate", action="store_true", help="refuse a target that is out of reach")
    add("--artifact", type=Path, nargs="+", action="extend", default=[], metavar="PATH",
        help="artifact folders, runs or any ONNX files (default: all artifacts that no check refused)")  # fmt: skip
    add(
        "--runtime",
        default="auto",
        metavar="NAME,NAME",
        help="what runs the model; auto: the first that can (default: auto)",
    )
    add("--batch", type=batches, default=(1, 8), metavar="N,N",
        help="batches, one row each; auto: doubled until throughput gains nothing more (default: 1,8)")  # fmt: skip
    add("--threads", type=threads, metavar="N",
        help="threads inside one inference; auto: tries what makes sense, says what to set (default: all usable CPUs)",
    )  # fmt: skip
    add("--streams", type=sizes, default=(1,), metavar="N,N", help="inferences at a time, one row each (default: 1)")
    add("--fps", type=frames, metavar="F", help="frames come at this rate, as from a camera: latency, late, dropped")
    add("--input-shape", type=input_shape, action="append", default=[], metavar="NAME:1x3x224x224",
        help="the shape of an input with unknown dimensions; its batch is --batch")  # fmt: skip
    add("--trust-file", action="append", default=[], metavar="SHA256",
        help="an engine from elsewhere to load all the same: it is native code, and runs as you")  # fmt: skip
    how = parser.add_argument_group("how")
    add = how.add_argument
    add("--quick", action="store_true", help="3 processes of 1 s instead of 5 to 10 of 2 s; labelled so")
    add("--soak", type=duration, metavar="10m", help="one process, one long loop: where latency and clocks settle")
    add("--max-seconds", type=seconds, metavar="S", help="bound the time of one row; what this cuts, the verdicts say")
    add(
        "--wait-quiet",
        type=waiting,
        default=60.0,
        metavar="S",
        help="wait at most so long for a quiet machine (default: 60)",
    )
    add("--budget", action="append", default=[], metavar="'latency_ms_p99<=20'",
        help="what every row must keep; where one does not, the exit code is 1")  # fmt: skip
    add("--lock-clocks", action="store_true", help="set a Jetson's clocks to their most meanwhile, and put them back")
    add("--seed", type=int, default=0, metavar="N", help="draws the order of processes and the inputs (default: 0)")
    add("--again", action="store_true", help="measure anew what a stored valid result answers")
    add("--show-invalid", action="store_true", help="show the figures of invalid results too")
    return parser


def request_of(options: argparse.Namespace, member: "Member") -> "Request":
    from vlm_profile.rows import Request

    return Request(
        target=member.target,
        host=member.host,
        target_files=tuple(options.target_file),
        power_mode=options.power_mode,
        lock_clocks=options.lock_clocks,
        estimate=not options.no_estimate,
        artifacts=tuple(options.artifact),
        batches=options.batch,
        threads=options.threads,
        streams=options.streams,
        fps=options.fps,
        runtime=options.runtime,
        input_shapes=dict(options.input_shape),
        protocol=protocol_of(options),
        seed=options.seed,
        trusted=tuple(options.trust_file),
        wait_quiet_s=options.wait_quiet,
        again=options.again,
    )


def protocol_of(options: argparse.Namespace) -> "Protocol":
    """Raises VlmError where options ask for what excludes each other."""
    from vlm_contract.errors import VlmError
    from vlm_profile.protocol import FULL, QUICK

    if options.soak and (options.quick or options.max_seconds or options.fps):
        raise VlmError(
            "--soak is one long loop, back to back: --quick, --max-seconds and --fps ask for something else.",
            hint="--soak 10m alone",
        )
    protocol = QUICK if options.quick else FULL
    if options.soak:
        return protocol.soaked(options.soak)
    return protocol.within(options.max_seconds) if options.max_seconds else protocol


def summary_of(measured: "Measured", *, show_invalid: bool) -> dict[str, Any]:
    return {
        "measurements": [
            {
                "file": str(path),
                "kept": path in measured.kept,
                "out_of_reach": path in measured.out_of_reach,
                **figures_of(record, show_invalid=show_invalid),
            }
            for path, record in measured.records.items()
        ],
        "skipped": measured.skipped,
        "noise": measured.noise,
        "advice": measured.advice,
    }


def figures_of(record: "Measurement", *, show_invalid: bool) -> dict[str, Any]:
    """The main figures of one row; those of what is not valid only where asked for."""
    from vlm_contract.codec import encode

    row = {
        "target": record.target,
        "evidence": record.evidence,
        "power_mode": encode(record.device.power_mode),
        "artifact": record.artifact.name,
        "precision": encode(record.artifact.precision),
        **{name: encode(getattr(record.setup, name)) for name in ("batch", "threads", "streams", "fps")},
        "scope": record.setup.scope,
        "runtime": encode(record.runtime.name),
        "options": record.setup.options,
        "mode": record.settings["mode"],
        "status": record.status,
        "verdicts": encode(record.verdicts),
        "estimate": encode(record.estimate),
    }
    if record.status == "valid" or show_invalid:
        row |= {part: encode(getattr(record, part)) for part in FIGURES}
    return row


def batches(text: str) -> "tuple[int, ...] | Auto":
    return "auto" if text == "auto" else sizes(text)


def threads(text: str) -> "int | Auto":
    return "auto" if text == "auto" else _positive(text)


def sizes(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(word) for word in text.split(",")))


def hosts(text: str) -> str:
    """An empty one is a variable of the shell that holds nothing: no estimate may stand in for what it should name."""
    if not text.strip(", "):
        raise argparse.ArgumentTypeError(f"{text!r} names no board; expected USER@BOARD")
    return text


def duration(text: str) -> float:
    """Seconds of "90s", "10m" or "1h"."""
    if text[-1:] not in _SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} names no unit; expected 90s, 10m or 1h")
    return seconds(text[:-1]) * _SECONDS[text[-1:]]


def frames(text: str) -> float:
    try:
        return seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; expected frames a second, such as 30") from None


def waiting(text: str) -> float:
    return 0.0 if text == "0" else seconds(text)


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
