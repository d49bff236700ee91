"""From a finished run to ONNX files that are proven to be its checkpoint: the stage, read top to bottom."""

import copy
import difflib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, write_record
from vlm_contract.console import LiveLine, require_extra
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import locked, sha256_of, write_whole
from vlm_contract.manifest import Accuracy, ArtifactManifest, FileEntry, Parity
from vlm_contract.workspace import MANIFEST_FILE, Workspace, safe_name
from vlm_export.artifacts import Exported, Recipe, draft_folder, kept_artifact, put_in_place
from vlm_export.checkpoint import Checkpoint, checkpoint_from_path

if TYPE_CHECKING:
    import torch

    from vlm_export.parity import Logits, Trial

MODEL_FILE = "model.onnx"
PRECISIONS = ("fp32", "fp16")
OPSET = 18  # what the dynamo exporter writes without a conversion; TensorRT 10 reads up to 20
LIBRARIES = ("vlm-edge", "numpy", "torch", "timm", "onnx", "onnxscript", "onnxruntime")  # that shape the result

BATCH = 32  # of the comparisons and of the accuracy; not the traced one, so the dimension is shown to be dynamic
SINGLE_IMAGES = 8  # compared at batch 1
RANDOM_IMAGES = 64
HALF_IMAGES = 32  # at most; torch computes them in FP16, which is slow on most CPUs
RANDOM_SEED = 0


@dataclass(frozen=True)
class Oracle:
    """What the checkpoint itself answers."""

    trials: tuple["Trial", ...]  # the whole validation set first
    labels: Any  # int64 [n], of the validation set


@dataclass(frozen=True)
class Graph:
    """One ONNX graph."""

    model: Any  # onnx.ModelProto
    precision: str
    build_s: float  # to make it, tracing included, checks not


@dataclass(frozen=True)
class Findings:
    """What the checks say of one artifact."""

    parity: tuple[Parity, ...]
    accuracy: Accuracy | Absent
    refused: tuple[str, ...]


def export_checkpoint(
    path: Path, workspace: Workspace, precisions: Sequence[str] = PRECISIONS, line: LiveLine | None = None
) -> tuple[Exported, ...]:
    """Export one run in each of the precisions, compare each artifact with the checkpoint, and put it in its place.

    `path` is a run's folder, one of its two files, or a run's name. An artifact that a check refuses is kept aside
    under `<artifact>.refused`, and its manifest says why. What the same checkpoint, options and libraries have made
    already is kept. Raises VlmError for a wrong input, and CheckFailed where torch cannot export the network.
    """
    check_precisions(precisions)
    checkpoint = checkpoint_from_path(path, workspace)
    recipe = recipe_of(checkpoint)
    with locked(workspace.root / "artifacts", "vlm-export"):
        done = {p: kept_artifact(workspace, artifact_name(checkpoint, p), recipe) for p in precisions}
        missing = [precision for precision, kept in done.items() if kept is None]
        if missing:
            done |= make_artifacts(checkpoint, workspace, recipe, missing, line or LiveLine(quiet=True))
    return tuple(exported for exported in done.values() if exported is not None)


def check_precisions(precisions: Sequence[str]) -> None:
    """Raise VlmError naming the nearest precision unless all are known."""
    for precision in precisions:
        if precision not in PRECISIONS:
            nearest = difflib.get_close_matches(precision, PRECISIONS, n=1, cutoff=0.5) or PRECISIONS
            raise VlmError(
                f"Unknown precision {precision!r}; known: {', '.join(PRECISIONS)}.", hint=f"--precision {nearest[0]}"
            )


def recipe_of(checkpoint: Checkpoint) -> Recipe:
    """All that the artifacts depend on, found without an import. Raises VlmError where a library is missing."""
    try:
        versions = {library: version(library) for library in LIBRARIES}
    except ImportError as error:
        raise require_extra("export", error) from None
    options: dict[str, Scalar] = {"opset": OPSET, "card_sha256": sha256_of(checkpoint.card_file)}
    return Recipe(checkpoint.card.weights_sha256, options, versions)


def artifact_name(checkpoint: Checkpoint, precision: str) -> str:
    return f"{safe_name(checkpoint.card.run)}.onnx-{precision}"


def make_artifacts(
    checkpoint: Checkpoint, workspace: Workspace, recipe: Recipe, precisions: Sequence[str], line: LiveLine
) -> dict[str, Exported]:
    """Load, ask the checkpoint, trace once; then for each precision convert, write, check, describe, put in place."""
    with silenced():
        from vlm_export.graph import describe, fp16_from_fp32, onnx_from_module
        from vlm_train.backbones import module_from_checkpoint

        card = checkpoint.card
        line.show(f"{card.run}: the checkpoint's own answers")
        module = module_from_checkpoint(card.backbone, checkpoint.weights)
        oracle = oracle_of(module, checkpoint)
        line.show(f"{card.run}: tracing")
        began = time.perf_counter()
        fp32 = onnx_from_module(module, card.backbone, OPSET)
        traced_s = time.perf_counter() - began
        exported = {}
        for precision in precisions:
            line.show(f"{card.run}: {precision}")
            began = time.perf_counter()
            model = fp32 if precision == "fp32" else fp16_from_fp32(fp32)
            describe(model, card, precision)
            graph = Graph(model, precision, traced_s + time.perf_counter() - began)
            final = workspace.artifact(artifact_name(checkpoint, precision))
            exported[precision] = place_artifact(final, graph, checkpoint, recipe, oracle)
        line.clear()
        return exported


def place_artifact(final: Path, graph: Graph, checkpoint: Checkpoint, recipe: Recipe, oracle: Oracle) -> Exported:
    """Write a graph into a draft, check what was written, and rename the draft once its manifest is in it."""
    with draft_folder(final) as draft:
        file = draft / MODEL_FILE
        write_whole(file, graph.model.SerializeToString(deterministic=True))
        findings = check_artifact(file, graph, oracle)
        manifest = manifest_of(final.name, file, graph, checkpoint, recipe, findings)
        write_record(manifest, draft / MANIFEST_FILE)
        return Exported(put_in_place(draft, final, refused=bool(findings.refused)), manifest, kept=False)


def oracle_of(module: "torch.nn.Module", checkpoint: Checkpoint) -> Oracle:
    """The checkpoint's logits on the whole validation set, and on seeded noise, where rounding shows most."""
    import numpy as np

    from vlm_export.parity import Trial
    from vlm_train.data import splits_of

    validation = splits_of(checkpoint.card.data).validation
    shape = (RANDOM_IMAGES, *validation.pixels.shape[1:])
    noise = np.random.RandomState(RANDOM_SEED).randint(0, 256, shape).astype(np.uint8)
    seen, unseen = (logits_of(module, pixels, checkpoint) for pixels in (validation.pixels, noise))
    half = copy.deepcopy(module).half()
    seen_error, unseen_error = (
        float(np.abs(logits_of(half, pixels[:HALF_IMAGES], checkpoint) - logits[:HALF_IMAGES]).max())
        for pixels, logits in ((validation.pixels, seen), (noise, unseen))
    )
    single = slice(SINGLE_IMAGES)
    trials = (
        Trial("validation images", validation.pixels, seen, BATCH, seen_error),
        Trial("validation images, one at a time", validation.pixels[single], seen[single], 1, seen_error),
        Trial("random input", noise, unseen, BATCH, unseen_error),
    )
    return Oracle(trials, validation.labels)


def logits_of(module: "torch.nn.Module", pixels: Any, checkpoint: Checkpoint) -> "Logits":
    """Outputs [n, classes] for images [n, h, w, c] normalised as the card says, computed in the module's own dtype."""
    import numpy as np
    import torch

    from vlm_train.data import normalised

    backbone, dtype = checkpoint.card.backbone, next(module.parameters()).dtype
    logits = []
    with torch.inference_mode():
        for i in range(0, len(pixels), BATCH):
            images = torch.from_numpy(normalised(pixels[i : i + BATCH], backbone.mean, backbone.std))
            logits.append(module(images.to(dtype)).float().numpy())
    return np.concatenate(logits)


def check_artifact(file: Path, graph: Graph, oracle: Oracle) -> Findings:
    """Check the graph, and run the file as it was written beside the checkpoint."""
    from vlm_export.graph import OnnxSession, check_graph
    from vlm_export.parity import parity_of, reason_of

    refused, parity = list(check_graph(graph.model, OPSET)), []
    accuracy: Accuracy | Absent = Absent("the exported model gave no outputs that can be scored")
    try:
        session = OnnxSession(str(file))
        for trial in oracle.trials:
            outputs = session.logits(trial.pixels, trial.batch)
            parity.append(parity_of(trial, outputs, graph.precision))
            if trial is oracle.trials[0]:
                accuracy = accuracy_of(outputs, oracle)
    except CheckFailed as error:
        refused.append(str(error))
    refused += [reason_of(compared) for compared in parity if not compared.passed]
    return Findings(tuple(parity), accuracy, tuple(refused))


def accuracy_of(outputs: "Logits", oracle: Oracle) -> Accuracy:
    """Top-1 accuracy of outputs for the validation set, beside the checkpoint's own."""
    from vlm_export.parity import accuracy_percent

    return Accuracy(
        samples=len(oracle.labels),
        artifact_percent=accuracy_percent(outputs, oracle.labels),
        checkpoint_percent=accuracy_percent(oracle.trials[0].reference, oracle.labels),
    )


def manifest_of(
    name: str, file: Path, graph: Graph, checkpoint: Checkpoint, recipe: Recipe, findings: Findings
) -> ArtifactManifest:
    """All that is known of one artifact."""
    from vlm_export.graph import opset_of, tensor_specs

    backbone = checkpoint.card.backbone
    no_engine = Absent("an ONNX file is for any runtime")
    return ArtifactManifest(
        artifact=name,
        run=checkpoint.card.run,
        checkpoint_sha256=recipe.checkpoint_sha256,
        backbone=backbone.name,
        format="onnx",
        precision=cast(Literal["fp32", "fp16"], graph.precision),
        opset=opset_of(graph.model),
        runtime=no_engine,
        compute_capability=no_engine,
        inputs=tensor_specs(graph.model.graph.input),
        outputs=tensor_specs(graph.model.graph.output),
        batch_min=1,
        batch_max=Absent("the batch dimension is dynamic"),
        files=(FileEntry(file.name, file.stat().st_size, sha256_of(file)),),
        parameters=backbone.parameters,
        macs=backbone.macs,
        flops=backbone.macs if isinstance(backbone.macs, Absent) else 2 * backbone.macs,
        parity=findings.parity,
        accuracy=findings.accuracy,
        refused=findings.refused,
        options=recipe.options,
        build_s=graph.build_s,
        versions=recipe.versions,
        made_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what torch's exporter prints, warns and logs off the terminal; what goes wrong is raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
