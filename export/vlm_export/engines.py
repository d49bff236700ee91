"""From proven ONNX files to TensorRT engines, each built where its target is: the second stage, read top to bottom."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, write_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import locked, sha256_of, write_whole
from vlm_contract.manifest import ArtifactManifest, FileEntry
from vlm_contract.workspace import MANIFEST_FILE, Workspace
from vlm_export.artifacts import Exported, Recipe, draft_folder, kept_artifact, put_in_place
from vlm_export.checkpoint import Checkpoint
from vlm_export.on_device import Judgement, Questions, images_for, judged_on_device, questions_of
from vlm_export.place import Place, Tell
from vlm_export.reproduction import REPRODUCE_FILE, reproduction
from vlm_export.tensorrt.api import Precision
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import Made, engine_from_child
from vlm_export.tensorrt.device import identity
from vlm_export.wanted import Wanted
from vlm_targets.catalogue import Target, target_named
from vlm_targets.host import is_here, names_of

if TYPE_CHECKING:
    from vlm_export.proof import Oracle

ENGINE_FILE = "model.engine"
LAYERS_FILE = "layers.json"
NOT_REPRODUCIBLE = {
    "tensorrt": f"{ENGINE_FILE}: TensorRT chooses kernels by timing them, and another build may choose others",
    "rtx": f"{ENGINE_FILE}: two builds of TensorRT-RTX for the same GPU differ in their bytes",
}


@dataclass(frozen=True)
class Workshop:
    """What all engines of one checkpoint share."""

    checkpoint: Checkpoint
    workspace: Workspace
    wanted: Wanted
    place: Place
    tell: Tell

    @cached_property
    def oracle(self) -> "Oracle":
        """What the checkpoint answers, in all precisions: asked once, and where an engine is built alone."""
        from vlm_export.proof import oracle_of

        return oracle_of(self.checkpoint.module(), self.checkpoint, self.wanted.precisions)


def export_engines(
    graphs: Sequence[Exported], checkpoint: Checkpoint, workspace: Workspace, wanted: Wanted, line: LiveLine
) -> Iterator[Exported]:
    """Build an engine from each ONNX artifact of a checkpoint that no check refused; yield each, put in its place.

    `graphs` is what `export_checkpoint` gave. Raises VlmError where there is no TensorRT to build with. Raises
    CheckFailed where TensorRT refuses graphs, once those that it takes are built; and where the target is not this
    machine and no board is named: then the command that builds an engine lies beside each ONNX file.
    """
    proven = [graph for graph in graphs if not graph.manifest.refused]
    if not proven:
        return
    refusals = []
    with place_for(wanted, proven) as place, locked(workspace.root / "artifacts", "vlm-export"):
        shop = Workshop(checkpoint, workspace, wanted, place, line.show)
        for graph in proven:
            try:
                yield engine_from(graph, shop)
            except CheckFailed as error:
                refusals.append((graph.manifest.artifact, error))
    line.clear()
    if refusals:
        said = "; ".join(f"{artifact}: {error}" for artifact, error in refusals)
        raise CheckFailed(f"No engine was built of {said}", hint=refusals[0][1].hint)


@contextmanager
def place_for(wanted: Wanted, graphs: Sequence[Exported]) -> Iterator[Place]:
    """The board that is named, this machine where it is the target, or nowhere."""
    target = target_with_gpu(wanted.target)
    if wanted.host is not None:
        from vlm_export.board import place_on_board

        with place_on_board(wanted.host, wanted.target) as place:
            yield place
    elif wanted.flavor == "rtx" or is_here(target):
        from vlm_export.tensorrt.api import TensorRT

        yield Place(
            identity(TensorRT.installed(wanted.flavor)),
            lambda onnx, _, order, images, tell: engine_from_child(onnx, order, images, tell),
        )
    else:
        raise not_here(target, wanted, graphs)


def target_with_gpu(name: str) -> Target:
    """The target. Raises VlmError where no engine can be for it."""
    target = target_named(name)
    if target.name != "host" and isinstance(target.compute_capability, Absent):
        raise VlmError(
            f"No engine can be built for {target.title}: {target.compute_capability.reason}.", hint="--fmt onnx"
        )
    return target


def not_here(target: Target, wanted: Wanted, graphs: Sequence[Exported]) -> CheckFailed:
    """Write the command that builds each engine beside its ONNX file; the error says so."""
    from vlm_export.board import build_script

    files, names = [], " with ".join(names_of()) or "one without a name"
    for graph in graphs:
        files.append(graph.folder / f"build-{target.name}.sh")
        write_whole(files[-1], build_script(graph.manifest, wanted))
    return CheckFailed(
        f"No engine was built: it must be built on {target.title}, this machine is {names}, and --host names no other. "
        f"The command for it lies in {', '.join(map(str, files))}.",
        hint="--host USER@BOARD",
    )


def engine_from(graph: Exported, shop: Workshop) -> Exported:
    """One engine: kept if it is there already, else built, run where that can be, described, and put in its place."""
    model = graph.folder / graph.manifest.files[0].name
    name = engine_name(graph.manifest, shop.wanted)
    recipe = recipe_of(graph.manifest, proven_sha256(graph, model), shop)
    kept = kept_artifact(shop.workspace, name, recipe)
    if kept is not None:
        return kept
    shop.tell(f"{shop.place.identity.runtime}, {graph.manifest.precision}")
    order = order_of(graph.manifest.precision, shop)
    questions = questions_where_it_runs(order, shop)
    images = images_for(questions, shop.checkpoint.backbone, order)
    made = shop.place.build(model, graph.manifest.inputs[0], order, images, shop.tell)
    with draft_folder(shop.workspace.artifact(name)) as folder:
        files = written(folder, name, made, graph.manifest, recipe, shop)
        judged = judged_on_device(made, questions, order)
        manifest = engine_manifest(name, graph.manifest, recipe, made, files, judged, shop.wanted)
        write_record(manifest, folder / MANIFEST_FILE)
        final = put_in_place(folder, shop.workspace.artifact(name), refused=bool(manifest.refused))
        return Exported(final, manifest, kept=False)


def engine_name(graph: ArtifactManifest, wanted: Wanted) -> str:
    """As the ONNX artifact's, with what the engine is for; a target by its name, whichever alias was said."""
    target = target_named(wanted.target).name
    kind = "rtx" if wanted.flavor == "rtx" else "trt"
    words = [graph.artifact.replace(".onnx-", f".{kind}-"), *(f"sm{sm}" for sm in wanted.compute_capabilities)]
    return "-".join(words if target == "host" else [*words, target])


def proven_sha256(graph: Exported, model: Path) -> str:
    """Of the file that is built. Raises CheckFailed where it is no longer the one that was proven."""
    sha256 = sha256_of(model)
    if sha256 != graph.manifest.files[0].sha256:
        raise CheckFailed(f"{model} is not the file that its manifest describes", hint="vlm-export, once more")
    return sha256


def recipe_of(graph: ArtifactManifest, onnx_sha256: str, shop: Workshop) -> Recipe:
    """An engine depends on its graph, on what builds it, and on the device."""
    wanted, here = shop.wanted, shop.place.identity
    options: dict[str, Scalar] = {
        "onnx_sha256": onnx_sha256,
        "batch": ",".join(map(str, wanted.batches)),
        "builds": wanted.builds,
        "workspace_mib": wanted.workspace_mib or "no limit",
        "compute_capabilities": ",".join(wanted.compute_capabilities) or "default",
        "device_calls": shop.place.calls,
        "device": "none" if isinstance(here.device, Absent) else here.device,
    }
    return Recipe(graph.checkpoint_sha256, options, {"vlm-edge": version("vlm-edge"), "runtime": here.runtime})


def order_of(precision: Precision, shop: Workshop) -> Order:
    wanted, file = shop.wanted, shop.place.identity.file_name()
    return Order(
        flavor=wanted.flavor,
        precision=precision,
        batches=wanted.profile,
        workspace_limit_bytes=wanted.workspace_mib and wanted.workspace_mib * 2**20,
        timing_cache=shop.workspace.root / "timings" / file if file else None,
        builds=wanted.builds,
        compute_capabilities=wanted.compute_capabilities,
    )


def questions_where_it_runs(order: Order, shop: Workshop) -> Questions | None:
    """What the engine is asked on its device; None where it is run nowhere."""
    if isinstance(shop.place.identity.device, Absent) or order.flavor != "tensorrt":
        return None
    return questions_of(shop.oracle, shop.checkpoint.backbone, order, shop.place.calls)


def written(
    folder: Path, name: str, made: Made, graph: ArtifactManifest, recipe: Recipe, shop: Workshop
) -> tuple[Path, ...]:
    """The engine, how it was made, and what its inspector says of its layers."""
    engine, layers, script = folder / ENGINE_FILE, folder / LAYERS_FILE, folder / REPRODUCE_FILE
    write_whole(engine, made.built.engine)
    of_both = replace(recipe, versions=graph.versions | recipe.versions)
    write_whole(script, reproduction(name, shop.checkpoint, graph.precision, shop.wanted, of_both))
    if isinstance(made.built.layers, Absent):
        return engine, script
    write_whole(layers, made.built.layers)
    return engine, script, layers


def engine_manifest(
    name: str,
    graph: ArtifactManifest,
    recipe: Recipe,
    made: Made,
    files: Sequence[Path],
    judged: Judgement,
    wanted: Wanted,
) -> ArtifactManifest:
    """What is unlike the manifest of the ONNX file that the engine was built from."""
    return replace(
        graph,
        artifact=name,
        format="trt",
        runtime=made.identity.runtime,
        compute_capability=built_for(wanted, made),
        batch_min=wanted.batches[0],
        batch_max=wanted.batches[-1],
        files=tuple(FileEntry(file.name, file.stat().st_size, sha256_of(file)) for file in files),
        device_parity=judged.parity,
        accuracy=judged.accuracy,
        engine=made.built.record,
        refused=judged.refused,
        options=recipe.options,
        build_s=made.built.record.build_s[made.built.record.chosen],
        not_reproducible=(NOT_REPRODUCIBLE[wanted.flavor],),
        versions=recipe.versions,
        made_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def built_for(wanted: Wanted, made: Made) -> str | Absent:
    """The compute capability, "8.6" of SM86; several with commas between them."""
    if wanted.flavor == "rtx":
        asked = (f"{sm[:-1]}.{sm[-1]}" for sm in wanted.compute_capabilities)
        return ", ".join(asked) or Absent("TensorRT-RTX's default GPUs")
    return made.identity.compute_capability
