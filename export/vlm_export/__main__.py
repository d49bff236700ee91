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
    from vlm_export.checkpoint import Described
    from vlm_export.wanted import Wanted


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(parser(), export, arguments)


def parser() -> Parser:
    parser = Parser("vlm-export", "Export checkpoints, and check each artifact against the checkpoint that it is from.")
    add = parser.add_argument
    add("--ckpt", type=Path, metavar="RUN_OR_FILE",
        help="a run's folder or name, or a file of weights with --model (default: every finished run of the workspace)",
    )  # fmt: skip
    add("--fmt", choices=("onnx", "trt", "all"), default="onnx",
        help="onnx, or TensorRT engines too, which come from the ONNX files (default: onnx)")  # fmt: skip
    add("--precision", type=words, default=("fp32", "fp16"), metavar="P,P",
        help="any of fp32, fp16, int8 (default: fp32,fp16)")  # fmt: skip
    add("--target", default="host", help="what must be able to read the graph, such as jetson-nano (default: host)")
    add("--batch", type=batches, default=(1, 8, 32), metavar="N,N",
        help="one batch: that only; several: any, and an engine's least, usual and largest (default: 1,8,32)",
    )  # fmt: skip
    add("--io", choices=("fp32", "fp16"), default="fp32", help="what FP16 graphs take and give (default: fp32)")
    add("--preprocess", choices=("outside", "embed"), default="outside",
        help="embed: uint8 images in, resized and normalised inside, probabilities and labels out")  # fmt: skip
    add("--max-drop", type=points, default=1.0, metavar="POINTS",
        help="of accuracy, that INT8 may lose before layers go back to float (default: 1)")  # fmt: skip
    engine = parser.add_argument_group("TensorRT engines", "built where the target is")
    engine.add_argument("--host", metavar="USER@BOARD", help="build on this board, over ssh")
    engine.add_argument("--flavor", choices=("tensorrt", "rtx"), default="tensorrt",
        help="rtx: TensorRT-RTX, built ahead of time with no GPU, for RTX cards (default: tensorrt)")  # fmt: skip
    engine.add_argument("--sm", type=words, default=(), metavar="SM,SM",
        help="compute capabilities that an RTX engine is for, such as 75,86,120")  # fmt: skip
    engine.add_argument(
        "--builds", type=count, default=1, metavar="K", help="builds of each, the fastest kept (default: 1)"
    )
    engine.add_argument("--workspace-mib", type=count, metavar="MIB", help="memory that its kernels may use")
    file = parser.add_argument_group("a file of weights", "what the file itself does not say")
    file.add_argument("--model", help="timm's name of the network")
    file.add_argument("--num-classes", type=int, metavar="N", help="outputs of its head")
    file.add_argument("--image-size", type=int, metavar="S", help="pixels, square")
    file.add_argument("--adapt", default="stock", help="as of vlm-train (default: stock)")
    for name in ("mean", "std"):
        file.add_argument(f"--{name}", type=channels, metavar="X,X,X",
            help=f"{name} by channel of pixels scaled to 0..1 (default: as timm's weights expect)")  # fmt: skip
    file.add_argument(
        "--data", help="vlm-train's name of the data it is for: its validation images judge the artifacts"
    )
    return parser


def words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def batches(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(word) for word in text.split(",")}))
    if sizes[0] < 1:
        raise ValueError(text)
    return sizes


def channels(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split(","))


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def points(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError(text)
    return value


def export(options: argparse.Namespace) -> Outcome:
    """Find the checkpoints, export each, print the table, then what was refused."""
    from vlm_contract.workspace import Workspace
    from vlm_export.checkpoint import finished_runs

    workspace = Workspace(options.workspace)
    paths = (options.ckpt,) if options.ckpt else finished_runs(workspace)
    exported, errors = export_all(paths, workspace, options)
    if exported and not options.quiet:
        print_table(exported)
    codes = [complain("vlm-export", error, debug=options.debug) for error in errors]
    return Outcome(
        {"artifacts": [figures_of(each) for each in exported], "errors": [str(error) for error in errors]},
        max(codes, default=DONE),
    )


def export_all(
    paths: Sequence[Path], workspace: Any, options: argparse.Namespace
) -> tuple[list["Exported"], list["VlmError"]]:
    """Every checkpoint in every precision; one that fails keeps none of the others from being exported."""
    from vlm_contract.errors import VlmError
    from vlm_export.export import export_checkpoint

    wanted, described, line = wanted_by(options), described_by(options), LiveLine(quiet=options.quiet)
    exported: list[Exported] = []
    errors: list[VlmError] = []
    for path in paths:
        try:
            export_checkpoint(path, workspace, wanted, line, described, exported.append)
        except VlmError as error:
            errors.append(error)
    return exported, errors + [refusal_of(each) for each in exported if each.manifest.refused]


def described_by(options: argparse.Namespace) -> "Described | None":
    """What the options say of a file of weights; None where they say nothing. Raises VlmError for the half of it."""
    from vlm_contract.errors import VlmError
    from vlm_export.checkpoint import DESCRIBE, Described

    needed = (options.model, options.num_classes, options.image_size)
    if not any((*needed, options.mean, options.std, options.data)) and options.adapt == "stock":
        return None
    if None in needed:
        raise VlmError("A file of weights needs its model, classes and image size said together.", hint=DESCRIBE)
    return Described(*needed, adapt=options.adapt, mean=options.mean, std=options.std, data=options.data)


def wanted_by(options: argparse.Namespace) -> "Wanted":
    """Raises VlmError where options contradict each other, or say something of engines and none is wanted."""
    from vlm_contract.errors import VlmError
    from vlm_export.wanted import Wanted

    of_engines = (options.host, options.sm, options.workspace_mib, options.builds > 1, options.flavor == "rtx")
    if options.fmt == "onnx" and any(of_engines):
        raise VlmError("--host, --flavor, --sm, --builds and --workspace-mib are of engines.", hint="--fmt trt")
    return Wanted(
        precisions=options.precision,
        target=options.target,
        batches=options.batch,
        half_io=options.io == "fp16",
        embed=options.preprocess == "embed",
        max_drop_points=options.max_drop,
        engines=options.fmt != "onnx",
        flavor=options.flavor,
        compute_capabilities=options.sm,
        builds=options.builds,
        workspace_mib=options.workspace_mib,
        host=options.host,
    )


def refusal_of(exported: "Exported") -> "VlmError":
    from vlm_contract.errors import CheckFailed

    return CheckFailed(
        f"{exported.manifest.artifact} was refused: {'; '.join(exported.manifest.refused)}. "
        f"It is kept aside in {exported.folder}, and no command uses it."
    )


def print_table(exported: Sequence["Exported"]) -> None:
    from vlm_contract.console import plain_table

    header = ("artifact", "", "MB", "max abs difference", "top-1 agreement %", "accuracy %", "drop", "p", "build s")
    print(plain_table(header, [row_of(each) for each in exported]))


def row_of(exported: "Exported") -> tuple[str, ...]:
    """Differences are from FP64, agreement and accuracy of all images that judge; an engine's are its own."""
    figures = figures_of(exported)
    shown = {
        "megabytes": ".1f",
        "max_abs_difference": ".1e",
        "top1_agreement_percent": ".2f",
        "accuracy_percent": ".2f",
        "drop_points": "+.2f",
        "p_value": ".2g",
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
    compared = manifest.parity if manifest.format == "onnx" else manifest.device_parity
    parity = None if isinstance(compared, Absent) or not compared else compared[0]
    accuracy = None if isinstance(manifest.accuracy, Absent) else manifest.accuracy
    return {
        "folder": str(exported.folder),
        "artifact": manifest.artifact,
        "precision": manifest.precision,
        "kept": exported.kept,
        "refused": manifest.refused,
        "megabytes": manifest.files[0].bytes / 1e6,
        "max_abs_difference": parity and parity.max_abs_difference,
        "top1_agreement_percent": accuracy.agreement_percent if accuracy else parity and parity.top1_agreement_percent,
        "accuracy_percent": accuracy and accuracy.artifact_percent,
        "drop_points": accuracy and accuracy.drop_points,
        "p_value": accuracy and accuracy.p_value,
        "build_s": manifest.build_s,
    }


if __name__ == "__main__":
    sys.exit(main())
