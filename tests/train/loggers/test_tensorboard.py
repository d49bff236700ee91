"""What TensorBoard reads back."""

from pathlib import Path
from typing import Any

import pytest

from vlm_contract.card import CheckpointCard, Scores
from vlm_train.loggers import logger_named

pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers order the files of one second by this counter, as text: the ninth would stand behind the tenth."""
    from tensorboard.summary.writer import event_file_writer

    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def log(folder: Path, scores: list[Scores], card: CheckpointCard | None = None) -> None:
    with logger_named("tensorboard", folder, folder.name, {"learning_rate": 1e-3, "optimizer": "AdamW"}) as logger:
        for each in scores:
            logger.epoch(each, 0.1 / each.epoch)
        if card:
            logger.finished(card)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def points(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def test_every_figure_of_an_epoch_is_a_scalar(folder: Path, scores: list[Scores], card: CheckpointCard) -> None:
    log(folder, scores, card)
    events = read(folder)
    assert points(events, "accuracy_percent/validation") == [(1, 81.0), (2, 82.0), (3, 83.0)]
    assert points(events, "accuracy_percent/train") == [(1, 91.0), (2, 92.0), (3, 93.0)]
    assert points(events, "loss/validation") == [(1, 0.8), (2, 0.4), (3, 0.8 / 3)]
    assert points(events, "loss/train") == [(1, 0.5), (2, 0.25), (3, 0.5 / 3)]
    assert points(events, "learning_rate") == [(1, 0.1), (2, 0.05), (3, 0.1 / 3)]
    assert points(events, "best/accuracy_percent/test") == [(2, 81.5)]


def test_the_hyperparameters_stand_beside_the_figures(folder: Path, scores: list[Scores], card: CheckpointCard) -> None:
    log(folder, scores, card)
    files = b"".join(path.read_bytes() for path in (folder / "tensorboard").iterdir())
    assert b"_hparams_/session_start_info" in files
    assert b"AdamW" in files


def test_a_resumed_run_shows_no_epoch_twice(folder: Path, scores: list[Scores], card: CheckpointCard) -> None:
    log(folder, scores[:2])
    log(folder, scores[1:], card)  # the second epoch was logged, and then cut off before it was kept
    assert points(read(folder), "loss/train") == [(1, 0.5), (2, 0.25), (3, 0.5 / 3)]


def test_a_run_that_is_overwritten_hides_the_earlier_one(folder: Path, scores: list[Scores]) -> None:
    log(folder, scores)
    log(folder, scores[:1])
    assert points(read(folder), "loss/train") == [(1, 0.5)]


def test_a_run_whose_epochs_were_all_logged_can_still_be_closed(
    folder: Path, scores: list[Scores], card: CheckpointCard
) -> None:
    log(folder, scores)
    log(folder, [], card)
    events = read(folder)
    assert points(events, "best/epoch") == [(2, 2.0)]
    assert len(events.Scalars("loss/train")) == 3
