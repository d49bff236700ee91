"""`vlm-profile targets`: the known devices, and what can be said of each here."""

import argparse
from pathlib import Path

from vlm_contract.codec import encode
from vlm_contract.console import Outcome, Parser
from vlm_contract.errors import VlmError
from vlm_targets.catalogue import all_targets, target_named
from vlm_targets.listing import state_of, target_sheet, targets_table


def targets_parser() -> Parser:
    parser = Parser(
        "vlm-profile targets",
        "The known targets: what each is, its peaks, and whether its figures are measured or estimated.",
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="show NAME", help="all that is known of one target, with its sources")
    add("--target-file", type=Path, action="append", default=[], metavar="PATH",
        help="a target of your own, beside those in ~/.config/vlm-edge/targets")  # fmt: skip
    return parser


def targets_command(options: argparse.Namespace) -> Outcome:
    """The table of all, or the sheet of one."""
    match options.words:
        case []:
            shown, names = targets_table(options.target_file), None
        case ["show", name]:
            shown, names = target_sheet(name, options.target_file), name
        case [first, *_]:
            known = {word for target in all_targets(options.target_file) for word in (target.name, *target.aliases)}
            hint = f"vlm-profile targets show {first if first in known else 'jetson-orin-nano'}"
            raise VlmError(f"{' '.join(options.words)!r} is no request; expected nothing, or show NAME.", hint=hint)
    if not options.quiet:
        print(shown)
    wanted = [target_named(names, options.target_file)] if names else all_targets(options.target_file)
    return Outcome({"targets": [{**encode(each), "figures": state_of(each, Path("/"))} for each in wanted]})
