"""The commands that made an artifact, as a script that lies beside it."""

import shlex
from pathlib import Path

from vlm_contract.files import sha256_of
from vlm_export.artifacts import Recipe
from vlm_export.checkpoint import Checkpoint
from vlm_export.gates import gate_of
from vlm_export.wanted import Wanted

REPRODUCE_FILE = "reproduce.sh"
NOT_ON_PYPI = ("vlm-edge", "runtime")
WITH_TENSORRT = "gtx1660ti"  # a target whose graphs are those of engines for this machine


def reproduction(
    artifact: str, checkpoint: Checkpoint, precision: str, wanted: Wanted, recipe: Recipe, model: Path | None = None
) -> str:
    """A shell script that exports anew.

    `model` is the file of an ONNX artifact: its script makes no engine, whatever was wanted, and compares the sha256,
    unless names of classes that no option says are in the file.
    """
    asked = wanted if model is None else without_engine(wanted, precision)
    export = ["vlm-export", *words_for(checkpoint), *words_of(asked), "--precision", precision]
    lines = [
        "#!/bin/sh",
        f"# Makes {artifact} again, in the folder `reproduced` unless another is named. It was made with",
        *(f"#   {library} {version}" for library, version in recipe.versions.items()),
        f"# from weights of sha256 {recipe.checkpoint_sha256}",
        "set -eu",
        'folder="${1:-reproduced}"',
    ]
    pinned = [f"{library}=={version}" for library, version in recipe.versions.items() if library not in NOT_ON_PYPI]
    if pinned:
        lines.append(f"python -m pip install {shlex.join(pinned)}")
    lines.append(f'{shlex.join(export)} --workspace "$folder"')
    if has_classes_that_no_option_says(checkpoint):
        lines.append("# Its classes were named through the Python API, which alone can name them again.")
    elif model is not None:
        file = shlex.quote(f"artifacts/{artifact}/{model.name}")
        lines.append(f'echo {sha256_of(model)}  "$folder"/{file} | sha256sum --check')
    return "\n".join(lines) + "\n"


def without_engine(wanted: Wanted, precision: str) -> Wanted:
    """What gives the same ONNX file, and no engine of it.

    Where engines for this machine are wanted, TensorRT reads its graphs, and their INT8 is symmetric. Without engines
    a target that has TensorRT says so.
    """
    symmetric, without = (gate_of(wanted.target, engines=engines).symmetric_int8 for engines in (wanted.engines, False))
    target = WITH_TENSORRT if precision == "int8" and symmetric != without else wanted.target
    return Wanted(
        target=target,
        batches=wanted.batches,
        half_io=wanted.half_io,
        embed=wanted.embed,
        max_drop_points=wanted.max_drop_points,
    )


def words_for(checkpoint: Checkpoint) -> list[str]:
    """The options that name it, wherever the script is run. Links are not followed: a link names the artifact."""
    option, path, *others = checkpoint.words
    if checkpoint.data is not None and "--data" in others:
        others[others.index("--data") + 1] = checkpoint.data.source
    return [option, str(Path(path).absolute()), *others]


def has_classes_that_no_option_says(checkpoint: Checkpoint) -> bool:
    """Whether weights from elsewhere came with other names of classes than those of their data, or than numbers."""
    if checkpoint.is_run:
        return False
    classes = checkpoint.backbone.classes
    return classes != (checkpoint.splits.classes if checkpoint.data else tuple(map(str, range(len(classes)))))


def words_of(wanted: Wanted) -> list[str]:
    """The options of the command that say what is unlike the default."""
    default = Wanted()
    words = {
        "target": (wanted.target, default.target),
        "batch": (",".join(map(str, wanted.batches)), ",".join(map(str, default.batches))),
        "io": ("fp16" if wanted.half_io else "fp32", "fp32"),
        "preprocess": ("embed" if wanted.embed else "outside", "outside"),
        "fmt": ("trt" if wanted.engines else "onnx", "onnx"),
        "flavor": (wanted.flavor, default.flavor),
        "sm": (",".join(wanted.compute_capabilities), ""),
        "builds": (str(wanted.builds), str(default.builds)),
        "workspace-mib": (str(wanted.workspace_mib), str(default.workspace_mib)),
        "host": (wanted.host or "", ""),
        "max-drop": (str(wanted.max_drop_points), str(default.max_drop_points)),
    }
    return [text for name, (value, usual) in words.items() if value != usual for text in (f"--{name}", value)]
