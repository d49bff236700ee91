"""The command vlm-export: runs to ONNX, each artifact checked against its checkpoint."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.console import DONE, LiveLine, Outcome, Parser, complain, run_command

if TYPE_CHECKING:
    from vlm_contract.errors import VlmError
    from vlm_export.artifacts import Exported


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(parser(), export, arguments)


def parser() -> Parser:
    parser = Parser("vlm-export", "Export finished runs to ONNX, and check each artifact against its checkpoint.")
    add = parser.add_argument
    add("--ckpt", type=Path, metavar="RUN_OR_FILE",
        help="a run's folder, its checkpoint.json or model.safetensors (default: every finished run of the workspace)",
    )  # fmt: skip
    add("--fmt", choices=("onnx",), default="onnx", help="what to write (default: onnx)")
    add("--precision", type=precisions, default=("fp32", "fp16"), metavar="P,P",
        help="fp32, fp16 or both (default: fp32,fp16)")  # fmt: skip
    return parser


def precisions(text: str) -> tuple[str, ...]:
    from vlm_export.export import check_precisions

    named = tuple(dict.fromkeys(text.split(",")))
    check_precisions(named)
    return named


def export(options: argparse.Namespace) -> Outcome:
    """Find the runs, export each, print the table, then what was refused."""
    from vlm_contract.workspace import Workspace
    from vlm_export.checkpoint import finished_runs

    workspace = Workspace(options.workspace)
    runs = (options.ckpt,) if options.ckpt else finished_runs(workspace)
    exported, errors = export_all(runs, workspace, options)
    if exported and not options.quiet:
        print_table(exported)
    codes = [complain("vlm-export", error, debug=options.debug) for error in errors]
    return Outcome(
        {"artifacts": [figures_of(each) for each in exported], "errors": [str(error) for error in errors]},
        max(codes, default=DONE),
    )


def export_all(
    runs: Sequence[Path], workspace: Any, options: argparse.Namespace
) -> tuple[list["Exported"], list["VlmError"]]:
    """Every run in every precision; one that fails keeps none of the others from being exported."""
    from vlm_contract.errors import VlmError
    from vlm_export.export import export_checkpoint

    exported: list[Exported] = []
    errors: list[VlmError] = []
    for run in runs:
        try:
            exported += export_checkpoint(run, workspace, options.precision, LiveLine(quiet=options.quiet))
        except VlmError as error:
            errors.append(error)
    return exported, errors + [refusal_of(each) for each in exported if each.manifest.refused]


def refusal_of(exported: "Exported") -> "VlmError":
    from vlm_contract.errors import CheckFailed

    return CheckFailed(
        f"{exported.manifest.artifact} was refused: {'; '.join(exported.manifest.refused)}. "
        f"It is kept aside in {exported.folder}, and no command uses it."
    )


def print_table(exported: Sequence["Exported"]) -> None:
    from vlm_contract.console import plain_table

    header = ("artifact", "", "MB", "max abs difference", "top-1 agreement %", "accuracy %", "drop", "build s")
    print(plain_table(header, [row_of(each) for each in exported]))


def row_of(exported: "Exported") -> tuple[str, ...]:
    """Parity is that on the validation images."""
    figures = figures_of(exported)
    shown = {
        "megabytes": ".1f",
        "max_abs_difference": ".1e",
        "top1_agreement_percent": ".2f",
        "accuracy_percent": ".2f",
        "drop_points": "+.2f",
        "build_s": ".1f",
    }
    cells = ("—" if figures[name] is None else format(figures[name], digits) for name, digits in shown.items())
    return exported.manifest.artifact, state_of(exported), *cells


def state_of(exported: "Exported") -> str:
    return "refused" if exported.manifest.refused else "kept" if exported.kept else "made"


def figures_of(exported: "Exported") -> dict[str, Any]:
    """The main figures of one artifact; null where the manifest says why there is none."""
    from vlm_contract.codec import Absent

    manifest = exported.manifest
    parity = manifest.parity[0] if manifest.parity else None
    accuracy = None if isinstance(manifest.accuracy, Absent) else manifest.accuracy
    return {
        "folder": str(exported.folder),
        "artifact": manifest.artifact,
        "precision": manifest.precision,
        "kept": exported.kept,
        "refused": manifest.refused,
        "megabytes": manifest.files[0].bytes / 1e6,
        "max_abs_difference": parity and parity.max_abs_difference,
        "top1_agreement_percent": parity and parity.top1_agreement_percent,
        "accuracy_percent": accuracy and accuracy.artifact_percent,
        "drop_points": accuracy and accuracy.drop_points,
        "build_s": manifest.build_s,
    }


if __name__ == "__main__":
    sys.exit(main())
