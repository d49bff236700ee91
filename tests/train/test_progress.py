"""The progress line, on a clock that is told the time."""

from vlm_contract.card import Scores
from vlm_train.progress import Progress


def test_the_line_carries_loss_accuracy_speed_and_time_left() -> None:
    lines: list[str] = []
    now = iter([0.0, 2.0, 4.0])
    progress = Progress(100, 1, 3, lines.append, clock=lambda: next(now))
    progress.stepped(1.5, 50)
    progress.scored(Scores(2, 10, 90.0, 0.4, 88.0, 0.5))
    progress.stepped(0.25, 50)
    assert lines == [
        "epoch 2/3  loss 1.500  25 images/s  6 s left",
        "epoch 3/3  loss 0.250  validation 88.0 %  25 images/s  4 s left",
    ]
