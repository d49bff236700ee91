"""A training run as a row: what a card, a document, or the lack of either says."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent
from vlm_report.frames.backbones import Family


@dataclass(frozen=True)
class Run:
    """One run. Accuracies and losses are of the epoch that was kept; losses are mean cross-entropies in nats."""

    run: str | Absent  # the run's folder
    model: str  # the label, marked where it is a floor; a document's own word
    timm: str | Absent  # the model's name in timm
    family: Family | Absent
    floor: bool
    data: str | Absent
    fingerprint: str  # of the data; empty where a document names them
    samples: int | Absent  # labelled images, for training and validation
    validation_samples: int | Absent
    seed: int | Absent
    recipe: str | Absent
    variant: (
        str  # what tells it from the model's other runs on as many samples, the seed aside; empty where nothing does
    )
    series: str  # the model with the variant: what a curve over samples is of
    train_accuracy_percent: float | Absent
    validation_accuracy_percent: float | Absent
    train_loss: float | Absent
    validation_loss: float | Absent
    test_accuracy_percent: float | Absent
    overfitting_gap_points: float | Absent  # training minus validation accuracy
    wall_s: float | Absent
    cpu_s: float | Absent
    images_per_s: float | Absent
    iterations_per_s: float | Absent
    gpu_use_percent: float | Absent
    peak_rss_bytes: int | Absent
    device_peak_bytes: int | Absent
    epoch: int | Absent  # that was kept
    epochs: int | Absent
    plateau_epoch: int | Absent  # from which the best validation accuracy gains at most histories.PLATEAU_POINTS more
    fitted_epoch: int | Absent  # from which training accuracy is at least histories.FITTED_PERCENT
    stable: bool | Absent  # whether the training loss ended near its least
    parameters: int | Absent
    macs: int | Absent
    precision: str | Absent
    device: str | Absent
    settings: dict[str, Scalar]  # hyperparameters
    approximate: tuple[str, ...]  # columns that a document gives as about so much
    notes: str  # what the record says beside its figures, in words
    state: str  # "valid", or the verdict that keeps it from rankings
    evidence: str | Absent  # "measured" or "reported"
    to_type: str  # the command that trains it, where it is missing
    record: str | Absent

    @property
    def ranks(self) -> bool:
        """Whether it is there, and may be compared."""
        return not isinstance(self.evidence, Absent) and self.state == "valid"


def nothing(why: Absent, model: str, command: str) -> Run:
    absent = {each.name: why for each in fields(Run)}
    texts = {"model": model, "series": model, "fingerprint": "", "variant": "", "notes": "", "state": "missing"}
    return Run(**{**absent, **texts, "floor": False, "settings": {}, "approximate": (), "to_type": command})  # type: ignore[arg-type]


def with_variants(runs: Sequence[Run]) -> list[Run]:
    """Each run with what tells it from others of its model: settings that differ on the same data and samples."""
    telling: dict[str, set[str]] = {}
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.ranks:
            groups.setdefault((run.model, run.data, run.fingerprint, run.samples), []).append(run)
    for (model, *_), group in groups.items():
        names = {name for run in group for name in run.settings}
        telling.setdefault(str(model), set()).update(
            _telling(group, sorted(names, key=lambda name: (name != "recipe", name)))
        )
    return [
        _with_variant(run, sorted(telling.get(run.model, ()), key=lambda name: (name != "recipe", name)))
        for run in runs
    ]


def _telling(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """The settings that tell runs apart, the first that do: what follows from a recipe's name is not said again."""
    chosen: list[str] = []
    parts = 1
    for name in names:
        found = len({repr([run.settings.get(each) for each in (*chosen, name)]) for run in runs})
        if found > parts:
            chosen, parts = [*chosen, name], found
    return chosen


def _with_variant(run: Run, telling: Sequence[str]) -> Run:
    words = [f"{name.replace('_', ' ')} {run.settings[name]}" for name in telling if name in run.settings]
    variant = ", ".join(words)
    return replace(run, variant=variant, series=f"{run.model}, {variant}" if variant else run.model)
