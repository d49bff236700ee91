"""What is measured: artifacts of the workspace, the network of a run, or any ONNX file."""

import difflib
import hashlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import read_record
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of
from vlm_contract.manifest import ArtifactManifest, Engine
from vlm_contract.measurement import ArtifactUsed
from vlm_contract.workspace import CARD_FILE, MANIFEST_FILE, WEIGHTS_FILE, Workspace, default_workspace
from vlm_profile.onnxfile.check import MODEL_LIMIT_BYTES, check_onnx_file

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")
FOREIGN_ENGINE = "foreign engine"  # a format that no runtime takes


@dataclass(frozen=True)
class Subject:
    """One model: a file, or a run's folder."""

    path: Path
    used: ArtifactUsed
    label: str  # in the name of a measurement's file: two models never share one
    may_not_end: bool = False  # it holds a loop: its first inference wants a short limit


@dataclass(frozen=True)
class Trust:
    """Which engines may be loaded: native code that was built in this workspace for this GPU, or that was named."""

    workspace: Workspace | None = None
    digests: Collection[str] = ()
    gpu: str | None = None  # of a board, as trtexec there names it; None: this machine's

    def why_not(self, folder: Path, manifest: ArtifactManifest) -> str:
        """The end of a sentence that says why the artifact's engine is not loaded; empty where it may be."""
        engine = manifest.engine
        if manifest.files[0].sha256 in self.digests:
            return ""
        if self.workspace is None or folder.resolve().parent != self.workspace.artifact("").resolve():
            return "it does not stand in the workspace that it was built in"
        if not isinstance(engine, Engine) or engine.flavor != "tensorrt" or not isinstance(engine.device, str):
            return "its manifest names no GPU of this kind of TensorRT"
        there = gpu_here() if self.gpu is None else self.gpu
        return "" if engine.device == there else f"it was built for {engine.device}; here is {there or 'no GPU'}"


def subjects_of(workspace: Workspace, paths: Sequence[Path], trust: Trust | None = None) -> tuple[Subject, ...]:
    """The models at `paths`, or every artifact of the workspace that no check refused. Raises VlmError.

    An engine comes in the format "engine" only where it may be loaded. One of the workspace that may not comes in a
    format that no runtime takes; one that was named is refused.
    """
    trust = trust or Trust(workspace)
    if paths:
        return tuple(dict.fromkeys(subject_at(located(workspace, path), trust) for path in paths))
    found = workspace.manifests()
    if found.problems:
        raise VlmError(found.problems[0])
    usable = [path.parent for path, manifest in found.records.items() if not manifest.refused]
    if not usable:
        lacks = "holds no artifact to measure" if workspace.root.exists() else "does not exist"
        raise VlmError(f"{workspace.root} {lacks}.", hint="vlm-export, or --artifact model.onnx")
    return tuple(_of_workspace(folder, trust) for folder in usable)


def located(workspace: Workspace, path: Path) -> Path:
    """The path itself or, where there is nothing, the artifact or the run of the workspace that has this name.

    Raises VlmError with the nearest name where there is one.
    """
    if path.parts != (path.name,):
        return path
    with suppress(OSError):
        for folder in (path, workspace.artifact(path.name), workspace.run(path.name)):
            if folder.exists():
                return folder
        names = [folder.name for folder in (*workspace.root.glob("artifacts/*"), *workspace.root.glob("runs/*"))]
        if nearest := difflib.get_close_matches(path.name, names, n=1):
            raise VlmError(f"{path} does not exist; did you mean {nearest[0]}?", hint=f"--artifact {nearest[0]}")
    return path


def subject_at(path: Path, trust: Trust = Trust()) -> Subject:
    """The model at a path: an artifact's or a run's folder, the model file in it, or a file made elsewhere.

    Raises VlmError that says what is wrong with it, and CheckFailed where its weights hold NaN.
    """
    try:
        folder = path if path.is_dir() else path.parent
        if (folder / CARD_FILE).exists() and (path.is_dir() or path.name == WEIGHTS_FILE):
            return _run(folder)
        if (folder / MANIFEST_FILE).exists():
            manifest = manifest_in(folder)
            if path.is_dir() or path.name == manifest.files[0].name:
                return _artifact(folder, manifest, trust)
        if path.is_dir():
            raise no_model_in(path)
        return _trusted_engine(path, trust) if path.suffix in ENGINE_SUFFIXES else _foreign(path)
    except OSError as error:
        raise VlmError(f"{path} cannot be read: {error.strerror}.", hint="check the path") from None


def no_model_in(folder: Path) -> VlmError:
    """The error for a folder that is neither an artifact nor a run; a workspace, or one of its parts, is named so."""
    for root in (folder, folder.parent):
        models = [*root.glob(f"artifacts/*/{MANIFEST_FILE}"), *root.glob(f"runs/*/{CARD_FILE}")]
        names = [path.parent.name for path in sorted(models)]
        if names and folder in (root, root / "artifacts", root / "runs"):
            where = "" if root == default_workspace() else f" --workspace {root}"
            return VlmError(
                f"{folder} is {'' if folder == root else 'a folder of '}a workspace, and no model. It holds "
                f"{listed(names)}; without --artifact all artifacts of a workspace are measured.",
                hint=f"--artifact {names[0]}{where}",
            )
    return VlmError(f"{folder} holds no {MANIFEST_FILE}; expected an artifact's folder, a run's, or a model file.")


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def exported_from(subject: Subject, formats: Collection[str]) -> tuple[str, ...]:
    """The artifacts that were exported from a run, beside it in its workspace, in one of these formats.

    None of what is no run. For an error that says that a runtime takes no checkpoint: these it takes.
    """
    if subject.used.format != "checkpoint":
        return ()
    manifests = Workspace(subject.path.parent.parent).manifests().records.values()
    return tuple(
        manifest.artifact
        for manifest in manifests
        if manifest.run == subject.used.name and not manifest.refused and _format_of(manifest) in formats
    )


def manifest_in(folder: Path) -> ArtifactManifest:
    """The manifest of an artifact's folder. Raises VlmError where it speaks of no file, or of one elsewhere."""
    manifest = read_record(ArtifactManifest, folder / MANIFEST_FILE)
    names = [file.name for file in manifest.files]
    if not names or any(name in ("", "..") or Path(name).name != name for name in names):
        raise VlmError(f"{folder / MANIFEST_FILE}: files: expected names of files beside it, found {names}.")
    return manifest


def gpu_here() -> str:
    """The name of this machine's first GPU, as the driver says it and manifests too; empty where there is none."""
    from vlm_export.tensorrt.device import first_gpu

    try:
        return first_gpu("libcuda.so.1")[0]
    except VlmError:
        return ""


def _of_workspace(folder: Path, trust: Trust) -> Subject:
    manifest = manifest_in(folder)
    if manifest.format == "trt" and trust.why_not(folder, manifest):
        return Subject(folder / manifest.files[0].name, _used(manifest, FOREIGN_ENGINE), manifest.artifact)
    return _artifact(folder, manifest, trust)


def _artifact(folder: Path, manifest: ArtifactManifest, trust: Trust) -> Subject:
    """An artifact whose files are what its manifest says. Raises VlmError."""
    remedy = f"vlm-export makes {manifest.artifact} again"
    if manifest.refused:
        raise VlmError(f"{folder} was refused by its export: {manifest.refused[0]}.", hint=remedy)
    described = {folder / file.name: file.sha256 for file in manifest.files}
    path, digest = next(iter(described.items()))
    check_regular_file(path, limit_bytes=MODEL_LIMIT_BYTES)
    if sha256_of(path) != digest:
        raise VlmError(f"{path} is not the file that its manifest describes.", hint=remedy)
    if manifest.format == "trt":
        if why := trust.why_not(folder, manifest):
            raise untrusted(path, why, digest)
        return Subject(path, _used(manifest, _format_of(manifest)), manifest.artifact)
    found = check_onnx_file(path)
    for data in found.data_files:
        if described.get(data) != sha256_of(data):
            raise VlmError(f"{data} is not a file that the manifest beside it describes.", hint=remedy)
    return Subject(path, _used(manifest, _format_of(manifest)), manifest.artifact, found.may_not_end)


def _format_of(manifest: ArtifactManifest) -> str:
    """As runtimes name it."""
    return "engine" if manifest.format == "trt" else manifest.format


def _used(manifest: ArtifactManifest, kind: str) -> ArtifactUsed:
    file = manifest.files[0]
    return ArtifactUsed(manifest.artifact, file.name, file.sha256, file.bytes, kind, manifest.precision)


def _run(folder: Path) -> Subject:
    """The network of a finished run, as its card describes it."""
    card, weights = read_record(CheckpointCard, folder / CARD_FILE), folder / WEIGHTS_FILE
    size = check_regular_file(weights, limit_bytes=MODEL_LIMIT_BYTES).st_size
    if sha256_of(weights) != card.weights_sha256:
        raise VlmError(f"{weights} is not the file that its card describes.", hint=f"vlm-train makes {card.run} again")
    used = ArtifactUsed(card.run, WEIGHTS_FILE, card.weights_sha256, size, "checkpoint", "fp32")
    return Subject(folder, used, card.run)


def _foreign(path: Path) -> Subject:
    """A file made elsewhere. Weights beside it count to its bytes and to its sha256, which is then that of them all."""
    found = check_onnx_file(path)
    files = (path, *found.data_files)
    digests = [sha256_of(file) for file in files]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return _made_elsewhere(path, digest, sum(file.stat().st_size for file in files), "onnx", found.may_not_end)


def _trusted_engine(path: Path, trust: Trust) -> Subject:
    """An engine without a manifest. Raises VlmError unless its sha256 was named."""
    size = check_regular_file(path, limit_bytes=MODEL_LIMIT_BYTES).st_size
    if (digest := sha256_of(path)) not in trust.digests:
        raise untrusted(path, "no manifest beside it says who built it", digest)
    return _made_elsewhere(path, digest, size, "engine")


def _made_elsewhere(path: Path, digest: str, size: int, kind: str, may_not_end: bool = False) -> Subject:
    used = ArtifactUsed(path.name, path.name, digest, size, kind, "as is")
    return Subject(path, used, f"{path.name[:80]}-{digest[:8]}", may_not_end)


def untrusted(path: Path, why: str, digest: str) -> VlmError:
    return VlmError(
        f"{path} is a TensorRT engine, which is native code, and {why}.",
        hint=f"vlm-export --fmt trt, which builds one here; or --trust-file {digest}, if you know who built it",
    )
