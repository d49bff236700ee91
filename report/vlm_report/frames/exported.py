"""Each exported artifact beside its checkpoint: parity, accuracy, size; refused ones with the reason."""

from dataclasses import dataclass
from pathlib import Path

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.manifest import Accuracy, ArtifactManifest, Parity
from vlm_report.records import Records

NO_PARITY = Absent("the manifest has no comparison of outputs")


@dataclass(frozen=True)
class Exported:
    """One artifact. Of several comparisons of outputs, that which came nearest to its tolerance."""

    artifact: str
    model: str
    run: str
    data: str | Absent
    samples: int | Absent
    format: str
    precision: str
    opset: int | Absent
    runtime: str | Absent  # that an engine is for
    model_bytes: int  # all files
    parameters: int
    macs: int | Absent
    flops: int | Absent
    compared: str | Absent  # "logits" or "probabilities"
    parity_origin: str | Absent  # which inputs
    parity_samples: int | Absent
    max_abs_difference: float | Absent
    mean_abs_difference: float | Absent
    yardstick: float | Absent  # the difference that rounding alone makes
    tolerance: float | Absent
    cosine: float | Absent
    top1_agreement_percent: float | Absent
    device_max_abs_difference: float | Absent  # in the runtime and on the device that the artifact is for
    device_top1_agreement_percent: float | Absent
    accuracy_percent: float | Absent  # of the artifact
    checkpoint_accuracy_percent: float | Absent
    accuracy_drop_points: float | Absent
    accuracy_samples: int | Absent
    p_value: float | Absent  # of McNemar's test
    build_s: float
    refused: str  # why; empty where it passed every check
    state: str  # "accepted" or "refused"
    evidence: str
    record: str


def exported_rows(records: Records) -> list[Exported]:
    """Every manifest, by model, run, format and precision."""
    cards = {card.run: card for card in records.cards.values()}
    rows = [_row(path, manifest, cards.get(manifest.run), records) for path, manifest in records.manifests.items()]
    return sorted(rows, key=lambda row: (row.model, row.run, row.format, row.precision, row.artifact))


def _row(path: Path, manifest: ArtifactManifest, card: CheckpointCard | None, records: Records) -> Exported:
    parity = nearest(manifest.parity)
    device = manifest.device_parity if isinstance(manifest.device_parity, Absent) else nearest(manifest.device_parity)
    accuracy, gone = manifest.accuracy, Absent(f"the run {manifest.run} is not in this workspace")
    return Exported(
        artifact=manifest.artifact,
        model=card.backbone.label if card else manifest.backbone,
        run=manifest.run,
        data=card.data.name if card else gone,
        samples=card.data.samples if card else gone,
        format=manifest.format,
        precision=manifest.precision,
        opset=manifest.opset,
        runtime=manifest.runtime,
        model_bytes=sum(file.bytes for file in manifest.files),
        parameters=manifest.parameters,
        macs=manifest.macs,
        flops=manifest.flops,
        compared=parity if isinstance(parity, Absent) else parity.compared,
        parity_origin=parity if isinstance(parity, Absent) else parity.origin,
        parity_samples=parity if isinstance(parity, Absent) else parity.samples,
        max_abs_difference=parity if isinstance(parity, Absent) else parity.max_abs_difference,
        mean_abs_difference=parity if isinstance(parity, Absent) else parity.mean_abs_difference,
        yardstick=parity if isinstance(parity, Absent) else parity.yardstick,
        tolerance=parity if isinstance(parity, Absent) else parity.tolerance,
        cosine=parity if isinstance(parity, Absent) else parity.cosine,
        top1_agreement_percent=parity if isinstance(parity, Absent) else parity.top1_agreement_percent,
        device_max_abs_difference=device if isinstance(device, Absent) else device.max_abs_difference,
        device_top1_agreement_percent=device if isinstance(device, Absent) else device.top1_agreement_percent,
        **_accuracy(accuracy),  # type: ignore[arg-type]
        build_s=manifest.build_s,
        refused="; ".join(manifest.refused),
        state="refused" if manifest.refused else "accepted",
        evidence="measured",
        record=records.within(path),
    )


def nearest(parities: tuple[Parity, ...]) -> Parity | Absent:
    """The comparison that came nearest to its tolerance, or went furthest beyond."""
    return max(parities, key=lambda p: p.max_abs_difference / p.tolerance if p.tolerance else 0.0, default=NO_PARITY)


def _accuracy(accuracy: Accuracy | Absent) -> dict[str, float | int | Absent]:
    names = {
        "accuracy_percent": "artifact_percent",
        "checkpoint_accuracy_percent": "checkpoint_percent",
        "accuracy_drop_points": "drop_points",
        "accuracy_samples": "samples",
        "p_value": "p_value",
    }
    return {name: accuracy if isinstance(accuracy, Absent) else getattr(accuracy, of) for name, of in names.items()}
