"""From a checkpoint to ONNX files that are proven to be it: the stage, read top to bottom."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, write_record
from vlm_contract.console import LiveLine, require_extra
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import locked, sha256_of, write_whole
from vlm_contract.garbage import uncollected
from vlm_contract.manifest import ArtifactManifest, FileEntry
from vlm_contract.workspace import MANIFEST_FILE, Workspace, safe_name
from vlm_export.artifacts import Exported, Recipe, draft_folder, kept_artifact, put_in_place
from vlm_export.checkpoint import Checkpoint, Described, checkpoint_from_path
from vlm_export.gates import Gate, gate_of
from vlm_export.quiet import silenced
from vlm_export.reproduction import REPRODUCE_FILE, reproduction
from vlm_export.wanted import CALIBRATION_IMAGES, Wanted

if TYPE_CHECKING:
    from vlm_export.drafts import Bench, Draft
    from vlm_export.graph import Model
    from vlm_export.proof import Findings

MODEL_FILE = "model.onnx"
LIBRARIES = ("vlm-edge", "numpy", "torch", "timm", "onnx", "onnxscript", "onnxruntime")  # that shape the result
NO_ENGINE = Absent("an ONNX file is for any runtime")


@dataclass(frozen=True)
class Job:
    """One artifact to make."""

    precision: str
    name: str
    recipe: Recipe


def export_checkpoint(
    path: Path,
    workspace: Workspace,
    wanted: Wanted | None = None,
    line: LiveLine | None = None,
    described: Described | None = None,
    placed: Callable[[Exported], None] = lambda artifact: None,
) -> tuple[Exported, ...]:
    """Export one checkpoint in each of the precisions, compare each artifact with it, and put it in its place.

    `path` is a run's folder, one of its two files, a run's name, or a file of weights that is described. `placed` is
    told of each artifact as soon as it is there, whatever becomes of the others. An artifact that a check refuses is
    kept aside under `<artifact>.refused`, and its manifest says why. What the same checkpoint, options and libraries
    have made already is kept. Raises VlmError for a wrong input, and CheckFailed where a graph or an engine cannot be
    made.
    """
    wanted, line, exported = wanted or Wanted(), line or LiveLine(quiet=True), []

    def keep(artifact: Exported) -> None:
        exported.append(artifact)
        placed(artifact)

    checkpoint = checkpoint_from_path(path, workspace, described)
    check_data(checkpoint, wanted)
    gate = gate_of(wanted.target, engines=wanted.engines)
    jobs = [job_of(checkpoint, precision, wanted, gate) for precision in wanted.precisions]
    try:
        with locked(workspace.root / "artifacts", "vlm-export"):
            missing = [job for job in jobs if not put_up(kept_artifact(workspace, job.name, job.recipe), keep)]
            if missing:
                make_artifacts(checkpoint, workspace, missing, wanted, gate, line, keep)
        if wanted.engines:
            from vlm_export.engines import export_engines

            for engine in export_engines(tuple(exported), checkpoint, workspace, wanted, line):
                keep(engine)
    finally:
        line.clear()
    return tuple(exported)


def put_up(kept: Exported | None, keep: Callable[[Exported], None]) -> bool:
    """Hand on an artifact if there is one; whether there was."""
    if kept is not None:
        keep(kept)
    return kept is not None


def check_data(checkpoint: Checkpoint, wanted: Wanted) -> None:
    """Raise VlmError where INT8 is wanted of weights that came without images."""
    if "int8" in wanted.precisions and checkpoint.data is None:
        raise VlmError("INT8 needs images to calibrate with and to be judged by.", hint="--data NAME, as of vlm-train")


def job_of(checkpoint: Checkpoint, precision: str, wanted: Wanted, gate: Gate) -> Job:
    """All that one artifact depends on, found without an import. Raises VlmError where a library is missing."""
    try:
        versions = {library: version(library) for library in LIBRARIES}
    except ImportError as error:
        raise require_extra("export", error) from None
    options: dict[str, Scalar] = {
        "opset": gate.opset,
        "batch": wanted.fixed_batch or "dynamic",
        "preprocess": "embedded" if wanted.embed else "outside",
        "described_by": checkpoint.described_by,
    }
    if precision == "fp16":
        options["io"] = "fp16" if wanted.half_io else "fp32"
    if precision == "int8":
        options |= {
            "symmetric": gate.symmetric_int8,
            "max_drop_points": wanted.max_drop_points,
            "calibration_images": CALIBRATION_IMAGES,
        }
    recipe = Recipe(checkpoint.weights_sha256, options, versions)
    return Job(precision, artifact_name(checkpoint, precision, wanted, gate), recipe)


def artifact_name(checkpoint: Checkpoint, precision: str, wanted: Wanted, gate: Gate) -> str:
    """The checkpoint's name and the precision, then what is unlike the default."""
    unusual = {
        f"b{wanted.fixed_batch}": wanted.fixed_batch is not None,
        "io16": wanted.half_io and precision == "fp16",
        "symmetric": gate.symmetric_int8 and precision == "int8",
        "embedded": wanted.embed,
        f"opset{gate.opset}": gate.opset != gate_of("host").opset,
    }
    return "-".join([f"{safe_name(checkpoint.name)}.onnx-{precision}", *(word for word, so in unusual.items() if so)])


def make_artifacts(
    checkpoint: Checkpoint,
    workspace: Workspace,
    jobs: Sequence[Job],
    wanted: Wanted,
    gate: Gate,
    line: LiveLine,
    keep: Callable[[Exported], None],
) -> None:
    """Load, ask the checkpoint, trace once; then for each precision convert, write, check, describe, put in place.

    Raises CheckFailed at the end where some precision could not be made.
    """
    # As the trainer does, before torch is imported: its threads would spin while they wait.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with silenced():
        line.show(f"{checkpoint.name}: the checkpoint's own answers")
        with uncollected(), ThreadPoolExecutor(1) as beside:
            beside.submit(lambda: checkpoint.splits)  # what is wrong with them is raised where they are needed
            from vlm_export.drafts import Bench, draft_in, faulted, proven, traced
            from vlm_export.proof import oracle_of

            module = checkpoint.module()
        oracle = oracle_of(module, checkpoint, ["fp32", *(job.precision for job in jobs)])
        bench = Bench(checkpoint, wanted, gate, oracle, lambda text: line.show(f"{checkpoint.name}: {text}"))
        bench.tell("tracing")
        with uncollected():
            fp32, failed = traced(module, bench), []
        if all(job.precision != "fp32" for job in jobs):
            fp32 = proven(fp32, bench)
        for job in sorted(jobs, key=lambda job: job.precision != "fp32"):
            bench.tell(job.precision)
            try:
                artifact = place_artifact(workspace, job, draft_in(job.precision, fp32, bench), bench)
                keep(artifact)
                if job.precision == "fp32":
                    fp32 = faulted(fp32, artifact.manifest.refused)
            except CheckFailed as error:
                failed.append(f"{job.name} was not made: {error}")
    if failed:
        raise CheckFailed(" ".join(failed))


def place_artifact(workspace: Workspace, job: Job, draft: "Draft", bench: "Bench") -> Exported:
    """Write a graph into a draft folder, check what was written, and rename the folder once its manifest is in it."""
    from vlm_export.graph import describe

    final = workspace.artifact(job.name)
    with draft_folder(final) as folder:
        file, script = folder / MODEL_FILE, folder / REPRODUCE_FILE
        describe(draft.model, bench.checkpoint, job.precision)
        graph = finished(draft.model, bench)
        write_whole(file, graph.SerializeToString(deterministic=True))
        findings = findings_of(file, graph, job, draft, bench)
        write_whole(script, reproduction(job.name, bench.checkpoint, job.precision, bench.wanted, job.recipe, file))
        manifest = manifest_of(job, (file, script), graph, draft, findings, bench)
        write_record(manifest, folder / MANIFEST_FILE)
        return Exported(put_in_place(folder, final, refused=bool(findings.refused)), manifest, kept=False)


def finished(model: "Model", bench: "Bench") -> "Model":
    """The graph to write: it prepares its images itself where that is wanted."""
    if not bench.wanted.embed:
        return model
    from vlm_export.preprocessing import embed_preprocessing

    return embed_preprocessing(model, bench.checkpoint.backbone)


def findings_of(file: Path, graph: "Model", job: Job, draft: "Draft", bench: "Bench") -> "Findings":
    """Run the file beside the checkpoint; where it prepares images itself, first the graph that it embeds."""
    from vlm_export.gates import check_gate
    from vlm_export.graph import check_graph
    from vlm_export.proof import embedding_proven, prove

    if bench.wanted.embed:
        inner = draft.model.SerializeToString(deterministic=True)
        findings = prove(inner, job.precision, bench.oracle)
        findings = embedding_proven(findings, inner, file, bench.checkpoint.backbone, bench.oracle)
    else:
        findings = prove(str(file), job.precision, bench.oracle)
    faults = (*check_graph(graph, bench.wanted.fixed_batch), *check_gate(graph, bench.gate))
    return replace(findings, refused=(*draft.refused, *faults, *findings.refused))


def manifest_of(
    job: Job, files: Sequence[Path], graph: "Model", draft: "Draft", findings: "Findings", bench: "Bench"
) -> ArtifactManifest:
    """All that is known of one artifact."""
    from vlm_export.graph import opset_of, tensor_specs

    checkpoint, backbone, wanted = bench.checkpoint, bench.checkpoint.backbone, bench.wanted
    return ArtifactManifest(
        artifact=job.name,
        run=checkpoint.name,
        checkpoint_sha256=job.recipe.checkpoint_sha256,
        backbone=backbone.name,
        format="onnx",
        precision=cast(Literal["fp32", "fp16", "int8"], job.precision),
        opset=opset_of(graph),
        runtime=NO_ENGINE,
        compute_capability=NO_ENGINE,
        preprocess="embedded" if wanted.embed else "outside",
        inputs=tensor_specs(graph.graph.input),
        outputs=tensor_specs(graph.graph.output),
        batch_min=wanted.fixed_batch or 1,
        batch_max=wanted.fixed_batch or Absent("the batch dimension is dynamic"),
        files=tuple(FileEntry(file.name, file.stat().st_size, sha256_of(file)) for file in files),
        parameters=backbone.parameters,
        macs=backbone.macs,
        flops=backbone.macs if isinstance(backbone.macs, Absent) else 2 * backbone.macs,
        parity=findings.parity,
        device_parity=Absent("not run on a device: vlm-export runs ONNX files on this machine's CPU"),
        range_scan=draft.range_scan,
        quantisation=draft.quantisation,
        engine=NO_ENGINE,
        accuracy=findings.accuracy,
        refused=findings.refused,
        options=job.recipe.options,
        build_s=draft.build_s,
        not_reproducible=(),
        versions=job.recipe.versions,
        made_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
