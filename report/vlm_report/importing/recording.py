"""Rows as records, marked reported: what they say, where they say it, and why the rest is absent."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent
from vlm_contract.measurement import Measurement, Verdict
from vlm_contract.reported import ReportedModel, ReportedRun
from vlm_contract.workspace import safe_name
from vlm_report.importing.checks import judged, model_of
from vlm_report.importing.columns import COLUMNS, Record
from vlm_report.importing.documents import Document, Row
from vlm_report.importing.speed import measurement_from
from vlm_report.importing.values import NOT_SAID, Finding, Told, date_of, number_of, text_of, verdicts_of, whole_of


@dataclass(frozen=True)
class Taken:
    """One row as records."""

    row: Row
    told: Told
    measurement: Measurement | None
    model: ReportedModel | None
    run: ReportedRun | None

    @property
    def records(self) -> tuple[tuple[str, Measurement | ReportedModel | ReportedRun], ...]:
        """With the folder of each kind."""
        kinds = (("measurements", self.measurement), ("models", self.model), ("runs", self.run))
        return tuple((folder, record) for folder, record in kinds if record)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that stand in one of its records."""
        names = {"measurements": "speed", "models": "model", "runs": "run"}
        kinds = {names[folder] for folder, _ in self.records}
        return tuple(finding for finding in self.told.findings if kinds & {*finding.records})

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(dict.fromkeys(finding.verdict for finding in self.findings))

    @property
    def refused(self) -> bool:
        """Whether a figure of the row was refused, or the whole row."""
        return any(each.verdict.level == "invalid" or (each.withdrawn and not each.taken) for each in self.findings)


def taken_from(document: Document, target: str = "") -> tuple[Taken, ...]:
    """Every row with a figure. `target` files what is said of speed; without it, what the document calls the device."""
    return tuple(_taken(document, row, target) for row in document.contents.rows if row.figures)


def file_names(taken: Sequence[Taken]) -> list[str]:
    """A name for each row, without a suffix, that no other row has: the model, and the data and samples of a run."""
    names: list[str] = []
    for each in taken:
        run = each.run
        words = [each.told.text("model")]
        words += (
            [str(part) for part in (run.data, run.samples, run.seed) if not isinstance(part, Absent)] if run else []
        )
        name = safe_name("-".join(words))[:100].lower()
        numbered = (name, *(f"{name}.{number}" for number in range(2, len(taken) + 2)))
        names.append(next(each for each in numbered if each not in names))
    return names


def _taken(document: Document, row: Row, target: str) -> Taken:
    told = judged(row, target)
    origin = f"{document.name}, {row.place} (sha256 {document.sha256})"
    kinds = {kind for name in row.figures for kind in COLUMNS[name].records}
    return Taken(
        row,
        told,
        measurement_from(told, origin, target, document.contents.said) if "speed" in kinds else None,
        _model(told, origin) if "model" in kinds else None,
        _run(told, origin) if "run" in kinds else None,
    )


def _model(told: Told, origin: str) -> ReportedModel:
    return ReportedModel(
        model=told.text("model"),
        timm=_timm(told),
        parameters=whole_of(told, "parameters"),
        macs=whole_of(told, "macs"),
        flops=whole_of(told, "flops"),
        image_size=whole_of(told, "image_size"),
        origin=origin,
        approximate=_approximate(told, "model"),
        verdicts=verdicts_of(told, "model"),
    )


def _run(told: Told, origin: str) -> ReportedRun:
    software = " ".join(filter(None, (told.text("runtime"), told.text("runtime_version"))))
    return ReportedRun(
        model=told.text("model"),
        timm=_timm(told),
        data=text_of(told, "data"),
        samples=whole_of(told, "samples"),
        seed=whole_of(told, "seed"),
        epochs=whole_of(told, "epochs"),
        train_accuracy_percent=number_of(told, "train_accuracy_percent"),
        validation_accuracy_percent=number_of(told, "validation_accuracy_percent"),
        test_accuracy_percent=number_of(told, "test_accuracy_percent"),
        train_loss=number_of(told, "train_loss"),
        validation_loss=number_of(told, "validation_loss"),
        wall_s=number_of(told, "wall_s"),
        hyperparameters=hyperparameters_in(told.text("hyperparameters")),
        device=text_of(told, "device"),
        software=software or NOT_SAID,
        notes=text_of(told, "notes"),
        origin=origin,
        approximate=_approximate(told, "run"),
        verdicts=verdicts_of(told, "run"),
        date=date_of(told),
    )


def hyperparameters_in(text: str) -> dict[str, Scalar]:
    """`batch_size=128; optimizer=AdamW`, numbers as numbers."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip(): _scalar(value.strip()) for name, _, value in pairs}


def _scalar(text: str) -> Scalar:
    kinds: tuple[tuple[str, Callable[[str], Scalar]], ...] = (
        (r"[+-]?\d{1,18}", int),
        (r"[+-]?\d+\.\d*(e[+-]?\d{1,2})?", float),
    )
    return next((kind(text) for pattern, kind in kinds if re.fullmatch(pattern, text, re.IGNORECASE)), text)


def _timm(told: Told) -> str | Absent:
    model = model_of(told)
    return model.timm if model else Absent("no timm model is known by that name")


def _approximate(told: Told, record: Record) -> tuple[str, ...]:
    return tuple(name for name in told.approximate if record in COLUMNS[name].records)
