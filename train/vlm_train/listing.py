"""The runs of a workspace as a table. Every table carries the floors: what needs no deep model, and a small one."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent, encode, read_record
from vlm_contract.console import plain_table, time_left
from vlm_contract.errors import VlmError
from vlm_contract.floors import (
    FLOORS,
    NotTrained,
    below_pixels,
    below_pixels_sentence,
    floor_for,
    is_floor,
    model_of,
    not_trained,
    regime_of,
)
from vlm_contract.history import history_of
from vlm_contract.workspace import CARD_FILE, Workspace

HEADER = ("run", "model", "data", "samples", "seed", "recipe", "epoch", "val %", "test %", "gap", "time", "state")
SEEDS_HEADER = ("model", "seed", "epoch", "val %", "test %", "gap", "time")
NOTHING = "—"
Row: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """A figure over several runs."""

    mean: float
    deviation: float  # sample standard deviation, n - 1

    def text(self, digits: int = 2) -> str:
        return f"{self.mean:.{digits}f} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True)
class Spreads:
    """The figures of several runs that differ in the seed."""

    validation_accuracy_percent: Spread
    test_accuracy_percent: Spread | Absent
    gap_points: Spread
    wall_s: Spread


@dataclass(frozen=True)
class Runs:
    """What a workspace holds of runs: finished ones in the order of the table, others by name."""

    finished: tuple[CheckpointCard, ...]
    unfinished: dict[str, int]  # epochs done
    damaged: dict[str, str]  # why


def runs_of(workspace: Workspace) -> Runs:
    """Read the runs. Raises VlmError where there is none."""
    finished: list[CheckpointCard] = []
    unfinished: dict[str, int] = {}
    damaged: dict[str, str] = {}
    for folder in sorted(path for path in workspace.root.glob("runs/[!.]*") if path.is_dir()):
        try:
            if (folder / CARD_FILE).exists():
                finished.append(read_record(CheckpointCard, folder / CARD_FILE))
            else:
                unfinished[folder.name] = len(history_of(folder))
        except VlmError as error:
            damaged[folder.name] = f"{error} To mend it, {error.hint}." if error.hint else str(error)
    if not (finished or unfinished or damaged):
        raise VlmError(f"{workspace.root} holds no run.", hint="vlm-train --model resnet50 --data digits")
    return Runs(tuple(sorted(finished, key=_place)), unfinished, damaged)


def runs_table(workspace: Workspace) -> str:
    """Every run of the workspace, its floors, means over seeds, and what the table says of them in sentences."""
    runs = runs_of(workspace)
    missing = not_trained(runs.finished, workspace)
    rows: list[Row] = []
    for regime, cards in groupby(runs.finished, lambda card: regime_of(card.data)):
        rows += [_row_of_missing(floor) for floor in missing if regime_of(floor.data) == regime]
        for _, group in groupby(cards, _but_for_the_seed):
            rows += _rows_of_group(list(group))
    rows += [_row_without_card(run, f"unfinished, {_counted(done, 'epoch')}") for run, done in runs.unfinished.items()]
    rows += [_row_without_card(run, "damaged") for run in runs.damaged]
    reasons = [f"{run} is damaged: {reason}" for run, reason in runs.damaged.items()]
    return _with_remarks(plain_table(HEADER, rows), [*_remarks(runs.finished, missing), *reasons])


def seeds_table(cards: Sequence[CheckpointCard], workspace: Workspace) -> str:
    """Runs that differ in the seed, one a row, below the floors of their regime; at last mean ± standard deviation."""
    finished = runs_of(workspace).finished
    missing = not_trained([card for card in finished if regime_of(card.data) == regime_of(cards[0].data)], workspace)
    matches = (floor_for(card, name, finished) for name in FLOORS for card in cards)
    floors = list(dict.fromkeys(floor.run for floor in matches if floor and floor not in cards))
    shown = [*(card for card in finished if card.run in floors), *cards]
    rows: list[Row] = [(f"{floor.model} (floor)", *[NOTHING] * 6) for floor in missing]
    rows += [(model_of(card), str(card.data.seed), *_figures(card)) for card in shown]
    if len(cards) > 1:
        figures = _figures_of_spreads(mean_and_deviation(cards))
        rows.append((model_of(cards[0]), f"{len(cards)} seeds", NOTHING, *figures))
    return _with_remarks(plain_table(SEEDS_HEADER, rows), _remarks(shown, missing))


def floors_table(card: CheckpointCard, workspace: Workspace) -> str:
    """One run below the floors of its regime."""
    return seeds_table((card,), workspace)


def summary(workspace: Workspace) -> dict[str, Any]:
    """What `runs_table` shows, as JSON types."""
    runs = runs_of(workspace)
    lines: list[dict[str, Any]] = [_line(card) for card in runs.finished]
    lines += [{"run": run, "state": "unfinished", "epochs": done} for run, done in runs.unfinished.items()]
    lines += [{"run": run, "state": "damaged", "reason": reason} for run, reason in runs.damaged.items()]
    return {
        "runs": lines,
        "groups": [
            {"runs": [card.run for card in group], **encode(mean_and_deviation(group))}
            for group in map(list, _each(groupby(runs.finished, _but_for_the_seed)))
            if _differ_in_seed(group)
        ],
        "floors_not_trained": [
            {"model": floor.model, "data": floor.data.name, "samples": floor.data.samples, "command": floor.command}
            for floor in not_trained(runs.finished, workspace)
        ],
        "below_pixels": [card.run for card, _ in below_pixels(runs.finished)],
    }


def mean_and_deviation(cards: Sequence[CheckpointCard]) -> Spreads:
    """Means and sample standard deviations over two runs or more."""
    test = [card.test_accuracy_percent for card in cards]
    scored = [percent for percent in test if not isinstance(percent, Absent)]
    return Spreads(
        validation_accuracy_percent=_spread([card.best.validation_accuracy_percent for card in cards]),
        test_accuracy_percent=_spread(scored) if len(scored) == len(test) else Absent("not every run was scored"),
        gap_points=_spread([gap_points(card) for card in cards]),
        wall_s=_spread([card.effort.wall_s for card in cards]),
    )


def gap_points(card: CheckpointCard) -> float:
    """Training minus validation accuracy at the epoch that was kept."""
    return card.best.train_accuracy_percent - card.best.validation_accuracy_percent


def _but_for_the_seed(card: CheckpointCard) -> tuple[object, ...]:
    """What runs of one group share. Normalisation follows the subset, and so the seed."""
    backbone = card.backbone
    settings = repr((sorted(backbone.arguments.items()), sorted(card.hyperparameters.items())))
    return *regime_of(card.data), not is_floor(card), backbone.label, card.recipe, settings


def _place(card: CheckpointCard) -> tuple[Any, ...]:
    return *_but_for_the_seed(card), card.data.seed, card.run


def _differ_in_seed(group: Sequence[CheckpointCard]) -> bool:
    return len({card.data.seed for card in group}) == len(group) > 1


def _each(groups: Iterable[tuple[object, Iterable[CheckpointCard]]]) -> Iterable[Iterable[CheckpointCard]]:
    return (group for _, group in groups)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.mean(values), statistics.stdev(values))


def _rows_of_group(group: Sequence[CheckpointCard]) -> list[Row]:
    rows = [_row(card) for card in group]
    if _differ_in_seed(group):
        shared, figures = _shared(group[0]), _figures_of_spreads(mean_and_deviation(group))
        seeds = f"{len(group)} seeds"
        rows.append(("mean ± standard deviation", *shared[:3], seeds, shared[3], NOTHING, *figures, ""))
    return rows


def _row(card: CheckpointCard) -> Row:
    shared = _shared(card)
    return card.run, *shared[:3], str(card.data.seed), shared[3], *_figures(card), "finished"


def _shared(card: CheckpointCard) -> tuple[str, str, str, str]:
    return model_of(card), card.data.name, str(card.data.samples), card.recipe


def _figures(card: CheckpointCard) -> Row:
    best, test = card.best, card.test_accuracy_percent
    return (
        f"{best.epoch}/{card.last.epoch}",
        f"{best.validation_accuracy_percent:.2f}",
        NOTHING if isinstance(test, Absent) else f"{test:.2f}",
        f"{gap_points(card):.2f}",
        time_left(card.effort.wall_s),
    )


def _figures_of_spreads(spreads: Spreads) -> Row:
    test, wall_s = spreads.test_accuracy_percent, spreads.wall_s
    return (
        spreads.validation_accuracy_percent.text(),
        NOTHING if isinstance(test, Absent) else test.text(),
        spreads.gap_points.text(),
        f"{time_left(wall_s.mean)} ± {time_left(wall_s.deviation)}",
    )


def _row_of_missing(floor: NotTrained) -> Row:
    data = floor.data
    return NOTHING, f"{floor.model} (floor)", data.name, str(data.samples), *[NOTHING] * 7, "not trained"


def _row_without_card(run: str, state: str) -> Row:
    return run, *[NOTHING] * 10, state


def _remarks(cards: Sequence[CheckpointCard], missing: Iterable[NotTrained]) -> list[str]:
    below = below_pixels_sentence(cards)
    floors = [
        f"Not trained: the floor {floor.model} on {floor.data.name}, {floor.data.samples} samples: {floor.command}"
        for floor in missing
    ]
    return [*[below] * bool(below), *floors]


def _with_remarks(table: str, remarks: Sequence[str]) -> str:
    return "\n".join((table, *[""] * bool(remarks), *remarks))


def _line(card: CheckpointCard) -> dict[str, Any]:
    return {
        "run": card.run,
        "state": "finished",
        "model": card.backbone.label,
        "floor": is_floor(card),
        "data": card.data.name,
        "samples": card.data.samples,
        "seed": card.data.seed,
        "recipe": card.recipe,
        "epoch": card.best.epoch,
        "epochs": card.last.epoch,
        "validation_accuracy_percent": card.best.validation_accuracy_percent,
        "test_accuracy_percent": encode(card.test_accuracy_percent),
        "gap_points": gap_points(card),
        "wall_s": card.effort.wall_s,
    }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
