"""Records that nothing measured: doubles, whose names say so. Only their shape is that of real ones."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scores
from vlm_contract.codec import Absent, write_record
from vlm_contract.manifest import Accuracy, ArtifactManifest, FileEntry, TensorSpec
from vlm_contract.measurement import (
    ArtifactUsed,
    ColdStart,
    Device,
    Estimate,
    Latency,
    Measurement,
    Memory,
    RuntimeUsed,
    Setup,
    Throughput,
    Verdict,
)
from vlm_contract.reported import ReportedModel, ReportedRun
from vlm_contract.workspace import CARD_FILE, MANIFEST_FILE, Workspace, safe_name
from vlm_report.records import Records

CONTENDED = Verdict("contended", "invalid", "run-queue wait 14.0 %", "run-queue wait 2 %", "Stop what else runs.")
KILLED = Verdict(
    "worker", "failed", "killed by SIGKILL", "every process ends well", "A smaller batch needs less memory."
)
UNSTABLE = Verdict("unstable", "warning", "the interval is ±4.0 %", "±3 %", "Measure again on a quieter machine.")
FEW = Verdict("few", "warning", "9 samples of 2 processes: not comparable", "50 samples", "Measure longer.")
DEVICE = Device(
    "double board", "double CPU", 2, 2, 8_000_000_000, Absent("no GPU"), Absent("none"), "double OS", "x86_64"
)


def a_card(run: str = "double-net-digits-1437-s0", **changes: Any) -> CheckpointCard:
    card = CheckpointCard(
        run=run,
        backbone=a_backbone("double_net"),
        start="random weights, seed 0",
        data=Data("digits", "digits", "d" * 64, "e" * 64, 1437, 1149, 288, "one in five", 360, "every fifth", 0, 0),
        recipe="scratch",
        hyperparameters={},
        precision="FP32",
        best=Scores(38, 1149, 99.83, 0.0132, 98.26, 0.0711),
        last=Scores(40, 1149, 99.91, 0.0101, 97.92, 0.0733),
        test_accuracy_percent=97.78,
        effort=Effort(121.4, 240.2, 812.3, 6.4, 500_000_000, Absent("no GPU"), Absent("no GPU")),
        weights_sha256="f" * 64,
        device="double CPU",
        versions={"double-torch": "0.0"},
        finished_utc="2001-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(card, **changes)


def a_trained(
    model: str, samples: int = 5000, seed: int = 0, validation: float = 60.0, gap: float = 1.0, **changes: Any
) -> CheckpointCard:
    """A run of a model on so many samples, on one data set, with an accuracy and a gap in points."""
    best = Scores(38, samples, validation + gap, 0.5, validation, 1.5)
    data = Data("doubles", "doubles", "d" * 64, "e" * 64, samples, samples - 500, 500, "a part", 360, "others", 0, seed)
    return a_card(
        **{
            "run": f"{model}-doubles-{samples}-s{seed}",
            "backbone": a_backbone(model),
            "data": data,
            "best": best,
            "last": dataclasses.replace(best, epoch=40),
            "hyperparameters": {"weights": "random", "epochs": 40, "batch_size": 128},
            "test_accuracy_percent": validation - 1,
            **changes,
        },
    )


def a_history(*accuracies: tuple[float, float]) -> tuple[Scores, ...]:
    """Epochs of these training and validation accuracies, with falling losses."""
    return tuple(
        Scores(epoch, 500, train, 2.0 / epoch, validation, 2.0)
        for epoch, (train, validation) in enumerate(accuracies, 1)
    )


def a_reported_run(model: str = "Double-Net", validation: float | Absent = 51.58, **changes: Any) -> ReportedRun:
    """As an import makes it of a document that is a double."""
    unsaid = Absent("the document does not say")
    run = ReportedRun(
        model=model,
        timm="double_net",
        data="Doubles",
        samples=5000,
        seed=unsaid,
        epochs=100,
        train_accuracy_percent=99.52,
        validation_accuracy_percent=validation,
        test_accuracy_percent=unsaid,
        train_loss=0.0132,
        validation_loss=3.3098,
        wall_s=3000.0,
        hyperparameters={"batch_size": 128},
        device=unsaid,
        software=unsaid,
        notes="Heavy overfitting",
        origin=ORIGIN,
        approximate=("wall_s",),
        verdicts=(),
        date=unsaid,
    )
    return dataclasses.replace(run, **changes)


def a_reported_model(model: str = "Double-Net", parameters: int | Absent = 27_870_000, **changes: Any) -> ReportedModel:
    nothing = Absent("the document does not say")
    found = ReportedModel(model, "double_net", parameters, 91_000_000, 182_000_000, nothing, ORIGIN, (), ())
    return dataclasses.replace(found, **changes)


def a_reported_measurement(model: str = "Double-Net", p50: float = 22.51, **changes: Any) -> Measurement:
    """A latency without an interval, a batch, or a file."""
    unsaid = Absent("the document does not say")
    latency = dataclasses.replace(
        a_latency(p50, 0.1), latency_ms_p50_low=unsaid, latency_ms_p50_high=unsaid, latency_ms_p90=unsaid
    )
    return dataclasses.replace(
        a_measurement(model, p50),
        **{
            "target": "gtx1660ti",
            "evidence": "reported",
            "artifact": ArtifactUsed(model, unsaid, unsaid, unsaid, unsaid, unsaid),
            "setup": Setup(unsaid, unsaid, unsaid, "not said", unsaid, {}),
            "runtime": RuntimeUsed(unsaid, unsaid, unsaid, {}),
            "latency": latency,
            "throughput": unsaid,
            "memory": Memory(unsaid, unsaid, unsaid, {}, "not said"),
            "settings": {},
            "origin": ORIGIN,
            "measured_utc": unsaid,
            **changes,
        },
    )


def an_estimate(artifact: str, p50: float = 9.0, factor: float = 1.5, **changes: Any) -> Measurement:
    """What nothing ran: an interval of a factor each way."""
    latency = dataclasses.replace(
        a_latency(p50, 0.1), latency_ms_p50_low=p50 / factor, latency_ms_p50_high=p50 * factor
    )
    estimate = Estimate("specifications", "a double", 90.0, factor, factor, (), {}, "measure it")
    return a_measurement(
        artifact, p50, **{"evidence": "estimated", "latency": latency, "estimate": estimate, "settings": {}, **changes}
    )


ORIGIN = f"double.md, table 1, row 1 (sha256 {'a' * 64})"


def a_backbone(name: str, adapt: str = "stock") -> Backbone:
    return Backbone(name, adapt, {}, ("0", "1"), 32, 3, (0.5,), (0.5,), 4_210_000, 7_000_000)


def a_manifest(artifact: str, accuracy: float | Absent = 98.26, **changes: Any) -> ArtifactManifest:
    tensor = TensorSpec("images", ("batch", 3, 32, 32), "float32")
    manifest = ArtifactManifest(
        artifact=artifact,
        run="double-net-digits-1437-s0",
        checkpoint_sha256="f" * 64,
        backbone="double_net",
        format="onnx",
        precision="fp16" if artifact.endswith("fp16") else "fp32",
        opset=18,
        runtime=Absent("any"),
        compute_capability=Absent("any"),
        preprocess="outside",
        inputs=(tensor,),
        outputs=(tensor,),
        batch_min=1,
        batch_max=Absent("dynamic"),
        files=(FileEntry("model.onnx", 17_000_000, sha256_double(artifact)),),
        parameters=4_210_000,
        macs=7_000_000,
        flops=14_000_000,
        parity=(),
        device_parity=Absent("a double"),
        range_scan=Absent("a double"),
        quantisation=Absent("a double"),
        engine=Absent("a double"),
        accuracy=accuracy if isinstance(accuracy, Absent) else Accuracy(288, accuracy, 98.26, 99.0, 2, 1, 1.0),
        refused=(),
        options={},
        build_s=3.0,
        not_reproducible=(),
        versions={"double-onnx": "0.0"},
        made_utc="2001-01-01T00:01:00+00:00",
    )
    return dataclasses.replace(manifest, **changes)


def a_measurement(
    artifact: str, p50: float = 4.5678, *, half: float = 0.034, batch: int = 1, threads: int = 2, **changes: Any
) -> Measurement:
    measurement = Measurement(
        target="host",
        evidence="measured",
        protocol="vlm-1",
        settings={"mode": "full"},
        device=DEVICE,
        runtime=RuntimeUsed("double-runtime", "0.0", "DoubleProvider", {}),
        artifact=ArtifactUsed(artifact, "model.onnx", sha256_double(artifact), 17_000_000, "onnx", artifact[-4:]),
        setup=Setup(batch, threads, 1, "the call", Absent("one call after the other"), {}),
        latency=a_latency(p50, half),
        throughput=Throughput(
            1000 * batch / p50, 990 * batch / p50, 1010 * batch / p50, batch, 1, threads, "by the wall clock"
        ),
        memory=Memory(181_000_000, 90_000_000, Absent("the model ran on the CPU"), {}, "the process"),
        cold_start=ColdStart(0.1, 0.2, 0.009),
        pacing=Absent("no frame rate was asked for"),
        sustained=Absent("no sustained run was asked for"),
        energy=Absent("no sensor"),
        temperature=Absent("no sensor"),
        estimate=Absent("measured"),
        origin=Absent("measured here"),
        verdicts=(),
        repetitions=(),
        environment={},
        measured_utc="2001-01-01T00:02:00+00:00",
    )
    return dataclasses.replace(measurement, **changes)


def a_latency(p50: float, half: float) -> Latency:
    return Latency(
        latency_ms_p50=p50,
        latency_ms_p50_low=p50 - half,
        latency_ms_p50_high=p50 + half,
        latency_ms_floor=p50 * 0.9,
        latency_ms_p90=p50 * 1.1,
        latency_ms_p95=p50 * 1.2,
        latency_ms_p99=Absent("p99 needs 662 samples; there are 500"),
        latency_ms_mean=p50,
        latency_ms_std=0.1,
        latency_ms_mad=0.1,
        latency_ms_min=p50 * 0.8,
        latency_ms_max=p50 * 2,
        outliers=3,
        samples=500,
        processes=5,
        first_inference_ms=9.0,
        cpu_ms_per_inference=p50,
        device_ms_p50=Absent("the model ran on the CPU"),
    )


def sha256_double(artifact: str) -> str:
    return artifact.encode().hex()[:64].ljust(64, "0")


def records_in_memory(*measurements: Measurement, manifests: tuple[ArtifactManifest, ...] = ()) -> Records:
    workspace = Workspace(Path("workspace"))
    return Records(
        workspace,
        {},
        {workspace.artifact(m.artifact) / MANIFEST_FILE: m for m in manifests},
        {workspace.measurement("host", f"{index}"): m for index, m in enumerate(measurements)},
        (),
    )


def all_records(
    *found: CheckpointCard | ArtifactManifest | Measurement | ReportedRun | ReportedModel,
    workspace: Workspace | None = None,
) -> Records:
    """Records of every kind in memory, each by the path that it would have."""
    workspace = workspace or Workspace(Path("workspace"))
    paths = {index: workspace.reported / "double" / f"{index}.json" for index in range(len(found))}
    kinds: dict[type, dict[Path, Any]] = {kind: {} for kind in KINDS}
    for index, record in enumerate(found):
        told = isinstance(record, (ReportedRun, ReportedModel))
        place = paths[index] if told else path_of(record, workspace)
        kinds[type(record)][place.with_stem(f"{place.stem}-{index}") if isinstance(record, Measurement) else place] = (
            record
        )
    cards, manifests, measurements, runs, models = (kinds[kind] for kind in KINDS)
    return Records(workspace, cards, manifests, measurements, (), runs, models)


KINDS = (CheckpointCard, ArtifactManifest, Measurement, ReportedRun, ReportedModel)


@pytest.fixture(scope="session")
def double() -> SimpleNamespace:
    """What makes doubles."""
    return SimpleNamespace(
        backbone=a_backbone,
        card=a_card,
        manifest=a_manifest,
        measurement=a_measurement,
        trained=a_trained,
        history=a_history,
        reported_run=a_reported_run,
        reported_model=a_reported_model,
        reported_measurement=a_reported_measurement,
        estimate=an_estimate,
        all=all_records,
        records=records_in_memory,
        device=DEVICE,
        contended=CONTENDED,
        killed=KILLED,
        few=FEW,
        unstable=UNSTABLE,
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace of the default name in an empty current folder."""
    monkeypatch.delenv("VLM_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    return Workspace(Path("workspace"))


Keep = Callable[..., None]


@pytest.fixture
def keep(workspace: Workspace) -> Keep:
    """Write doubles into the workspace, each where its kind belongs."""

    def write(*records: CheckpointCard | ArtifactManifest | Measurement) -> None:
        for record in records:
            write_record(record, path_of(record, workspace))

    return write


def path_of(record: CheckpointCard | ArtifactManifest | Measurement, workspace: Workspace) -> Path:
    if isinstance(record, CheckpointCard):
        return workspace.run(safe_name(record.run)) / CARD_FILE
    if isinstance(record, ArtifactManifest):
        return workspace.artifact(safe_name(record.artifact)) / MANIFEST_FILE
    setup = record.setup
    return workspace.measurement(record.target, safe_name(f"{record.artifact.name}-b{setup.batch}-t{setup.threads}"))


@pytest.fixture
def doubles(keep: Keep) -> None:
    """Valid, invalid, failed, refused and unmeasured rows side by side."""
    fast, exact, lean = (f"double-{name}.onnx" for name in ("fast", "exact", "lean"))
    keep(
        a_card(),
        a_card(
            "double-other-digits-1437-s1", backbone=a_backbone("double_other", "small"),
            test_accuracy_percent=Absent("the data has no test part"),
        ),
        a_card("pixels-digits-1437-s0", backbone=a_backbone("pixels"), test_accuracy_percent=97.9),
        a_manifest(f"{fast}-fp32", 98.26),
        a_manifest(f"{fast}-fp16", 98.26, refused=("max_abs_difference 0.9 over the tolerance 0.05",)),
        a_manifest(f"{exact}-fp32", 98.96, backbone="double_big", macs=Absent("an operator has no known count")),
        a_manifest(f"{lean}-fp32", 91.32, backbone="double_lean"),
        a_manifest(f"{lean}-fp16", 91.32, backbone="double_lean"),
        a_measurement(f"{fast}-fp32", 4.5678),
        a_measurement(f"{fast}-fp32", 30.12, half=0.8, batch=8, verdicts=(CONTENDED,)),
        a_measurement(f"{exact}-fp32", 11.25, half=0.4, verdicts=(UNSTABLE,)),
        a_measurement(
            f"{exact}-fp32", 80.0, batch=8, latency=Absent("the worker died"), throughput=Absent("the worker died"),
            verdicts=(KILLED,),
        ),
        a_measurement(
            f"{lean}-fp32", 2.5, settings={"mode": "quick"},
            memory=Memory(*[Absent("no process read a memory counter")] * 3, {}, "the process"),
        ),
    )  # fmt: skip
