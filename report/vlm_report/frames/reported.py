"""Runs that documents tell of."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.measurement import Verdict
from vlm_contract.reported import ReportedModel, ReportedRun
from vlm_report.frames.backbones import family_of
from vlm_report.frames.run import Run
from vlm_report.records import Records

UNSAID = Absent("the document does not say")
NO_HISTORY = Absent("a document has no history")


def reported_runs(records: Records) -> list[Run]:
    """Each as a row."""
    return [_reported_run(path, run, records) for path, run in records.reported_runs.items()]


def _reported_run(path: Path, run: ReportedRun, records: Records) -> Run:
    train, validation = run.train_accuracy_percent, run.validation_accuracy_percent
    model = model_reported(run.model, run.origin, records.reported_models.values())
    return Run(
        run=UNSAID,
        model=run.model,
        timm=run.timm,
        family=family_of(run.timm if isinstance(run.timm, str) else run.model),
        floor=False,
        data=run.data,
        fingerprint=_fingerprint(run.data, records),
        samples=run.samples,
        validation_samples=UNSAID,
        seed=run.seed,
        recipe=UNSAID,
        variant="",
        series=run.model,
        train_accuracy_percent=train,
        validation_accuracy_percent=validation,
        train_loss=run.train_loss,
        validation_loss=run.validation_loss,
        test_accuracy_percent=run.test_accuracy_percent,
        overfitting_gap_points=_difference(train, validation),
        wall_s=run.wall_s,
        cpu_s=UNSAID,
        images_per_s=UNSAID,
        iterations_per_s=UNSAID,
        gpu_use_percent=UNSAID,
        peak_rss_bytes=UNSAID,
        device_peak_bytes=UNSAID,
        epoch=UNSAID,
        epochs=run.epochs,
        plateau_epoch=NO_HISTORY,
        fitted_epoch=NO_HISTORY,
        stable=NO_HISTORY,
        parameters=model.parameters if model else UNSAID,
        macs=model.macs if model else UNSAID,
        precision=UNSAID,
        device=run.device,
        settings=run.hyperparameters,
        approximate=run.approximate,
        notes=_reported_notes(run),
        state=_state(run.verdicts),
        evidence="reported",
        to_type="",
        record=records.within(path),
    )


def model_reported(model: str, origin: str, models: Iterable[ReportedModel]) -> ReportedModel | None:
    """What a document says of the size of a network that it names elsewhere too; never of what was refused."""
    same = [each for each in models if each.model == model and document_of(each.origin) == document_of(origin)]
    return next((each for each in same if each.status == "valid"), None)


def document_of(origin: str) -> str:
    """The sha256 of the document that an origin names; the origin itself where it names none."""
    found = re.search(r"sha256 ([0-9a-f]{64})", origin)
    return found[1] if found else origin


def document_named(origin: str) -> str:
    """`results.csv (sha256 …)`: an origin without the place in the document."""
    return re.sub(r",.*(?=\(sha256 )", " ", origin)


def _fingerprint(data: str | Absent, records: Records) -> str:
    """Of the data that the workspace has by that name, however it is written, where it has but one such."""
    word = "" if isinstance(data, Absent) else re.sub(r"\W|_", "", data.casefold())
    found = {c.data.fingerprint for c in records.cards.values() if re.sub(r"\W|_", "", c.data.name.casefold()) == word}
    return found.pop() if len(found) == 1 else ""


def _difference(one: float | Absent, other: float | Absent) -> float | Absent:
    if isinstance(one, Absent) or isinstance(other, Absent):
        return one if isinstance(one, Absent) else other
    return one - other


def _reported_notes(run: ReportedRun) -> str:
    said = [] if isinstance(run.notes, Absent) else [f"the document notes: {run.notes}"]
    return "; ".join(said + [f"{verdict.code}: {verdict.seen}" for verdict in run.verdicts])


def _state(verdicts: Sequence[Verdict]) -> str:
    against = ", ".join(verdict.code for verdict in verdicts if verdict.level != "warning")
    return f"invalid: {against}" if against else "valid"
