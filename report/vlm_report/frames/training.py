"""Training runs: those of the workspace, those that documents tell of, and those that are missing."""

from pathlib import Path
from typing import Any

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.floors import is_floor, model_of
from vlm_report.frames.backbones import family_of
from vlm_report.frames.histories import Course, course_of, remarks_on
from vlm_report.frames.missing import missing_runs
from vlm_report.frames.reported import reported_runs
from vlm_report.frames.run import Run, with_variants
from vlm_report.records import Records


def runs_of(records: Records) -> tuple[Run, ...]:
    """Every run by regime, the floors first; what is missing stands where it would."""
    known = [_run_of_card(path, card, records) for path, card in records.cards.items()]
    own = with_variants([*known, *missing_runs(records)])
    return tuple(sorted([*own, *reported_runs(records)], key=_by_regime))


def _by_regime(run: Run) -> tuple[object, ...]:
    samples = run.samples if isinstance(run.samples, int) else 0
    seed = run.seed if isinstance(run.seed, int) else -1
    return str(run.data), run.fingerprint, samples, not run.floor, run.series, seed


def _run_of_card(path: Path, card: CheckpointCard, records: Records) -> Run:
    best, effort, backbone = card.best, card.effort, card.backbone
    history = records.history(path)
    course = course_of(history)
    gap = best.train_accuracy_percent - best.validation_accuracy_percent
    return Run(
        run=card.run,
        model=model_of(card),
        timm=backbone.name,
        family=family_of(backbone.name),
        floor=is_floor(card),
        data=card.data.name,
        fingerprint=card.data.fingerprint,
        samples=card.data.samples,
        validation_samples=card.data.validation_samples,
        seed=card.data.seed,
        recipe=card.recipe,
        variant="",
        series=model_of(card),
        train_accuracy_percent=best.train_accuracy_percent,
        validation_accuracy_percent=best.validation_accuracy_percent,
        train_loss=best.train_loss,
        validation_loss=best.validation_loss,
        test_accuracy_percent=card.test_accuracy_percent,
        overfitting_gap_points=gap,
        wall_s=effort.wall_s,
        cpu_s=effort.cpu_s,
        images_per_s=effort.images_per_s,
        iterations_per_s=effort.iterations_per_s,
        gpu_use_percent=effort.gpu_use_percent,
        peak_rss_bytes=effort.peak_rss_bytes,
        device_peak_bytes=effort.device_peak_bytes,
        epoch=best.epoch,
        epochs=card.last.epoch,
        **_course(course),
        parameters=backbone.parameters,
        macs=backbone.macs,
        precision=card.precision,
        device=card.device,
        settings={"recipe": card.recipe, **card.hyperparameters, **backbone.arguments},
        approximate=(),
        notes="; ".join(remarks_on(best.epoch, card.last.epoch, gap, course)),
        state="valid",
        evidence="measured",
        to_type="",
        record=records.within(path),
    )


def _course(course: Course | Absent) -> dict[str, Any]:
    names = ("plateau_epoch", "fitted_epoch", "stable")
    return {name: course if isinstance(course, Absent) else getattr(course, name) for name in names}
