"""What the epochs of a run tell of its course."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_contract.card import Scores
from vlm_contract.codec import Absent

PLATEAU_POINTS = 1.0  # of validation accuracy, that the epochs after a plateau's first may still gain
FITTED_PERCENT = 95.0  # of training images right: what more training cannot teach
UNSTABLE = 2.0  # times the least training loss, at the end of a run
LOW_GAP, HIGH_GAP = 5.0, 15.0  # points between training and validation accuracy: under, between, over
EARLY = 0.8  # of all epochs: what a plateau begins before


@dataclass(frozen=True)
class Course:
    """When a run learnt what it learnt."""

    plateau_epoch: int
    plateau_percent: float  # best validation accuracy by then
    fitted_epoch: int | Absent
    stable: bool


def course_of(history: Sequence[Scores] | Absent) -> Course | Absent:
    """The course of a run; absent, for its reason, where the history is."""
    if isinstance(history, Absent):
        return history
    most = max(scores.validation_accuracy_percent for scores in history)
    plateau = next(each for each in history if each.validation_accuracy_percent >= most - PLATEAU_POINTS)
    fitted = next((each.epoch for each in history if each.train_accuracy_percent >= FITTED_PERCENT), None)
    return Course(
        plateau_epoch=plateau.epoch,
        plateau_percent=plateau.validation_accuracy_percent,
        fitted_epoch=fitted or Absent(f"training accuracy stayed under {FITTED_PERCENT:g} %"),
        stable=history[-1].train_loss <= UNSTABLE * min(each.train_loss for each in history),
    )


def remarks_on(epoch: int, epochs: int, gap_points: float, course: Course | Absent) -> list[str]:
    """What a row's notes say: overfitting, and where the epochs went."""
    said = [f"{overfitting(gap_points)} overfitting"] if gap_points > LOW_GAP else []
    if epoch == epochs > 1:
        said.append("best at the last epoch")
    if isinstance(course, Absent):
        return said
    if course.plateau_epoch < EARLY * epochs:
        said.append(f"validation plateau from epoch {course.plateau_epoch}")
    return said + ["training loss rose again"] * (not course.stable)


def overfitting(gap_points: float) -> str:
    """How much, in a word, by LOW_GAP and HIGH_GAP."""
    return "heavy" if gap_points > HIGH_GAP else "some" if gap_points > LOW_GAP else "little"


def resistance(gap_points: float) -> str:
    """To overfitting: the same thresholds, from the other side."""
    return {"heavy": "Low", "some": "Medium", "little": "High"}[overfitting(gap_points)]
