"""What epochs tell: where a run stops gaining, where it has learnt its images, whether its loss rose again."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent
from vlm_report.frames.histories import Course, course_of, overfitting, remarks_on, resistance


def test_the_plateau_begins_where_at_most_a_point_is_still_to_gain(double: SimpleNamespace) -> None:
    course = course_of(double.history((20, 20), (50, 50.0), (60, 50.9), (70, 51.0), (80, 50.5)))
    assert isinstance(course, Course)
    assert (course.plateau_epoch, course.plateau_percent) == (2, 50.0)


def test_images_are_never_learnt_where_training_accuracy_stays_low(double: SimpleNamespace) -> None:
    course = course_of(double.history((20, 20), (94.9, 50)))
    assert isinstance(course, Course)
    assert isinstance(course.fitted_epoch, Absent)


def test_a_loss_that_doubles_again_is_no_stable_run(double: SimpleNamespace) -> None:
    history = double.history((20, 20), (50, 50), (60, 55))
    risen = (*history[:-1], replace(history[-1], train_loss=2.1))
    assert isinstance(whole := course_of(history), Course) and whole.stable
    assert isinstance(broken := course_of(risen), Course) and not broken.stable
    assert "training loss rose again" in remarks_on(2, 3, 0.0, broken)


def test_the_last_epoch_as_the_best_is_said() -> None:
    assert remarks_on(40, 40, 1.0, Absent("no history")) == ["best at the last epoch"]
    assert remarks_on(1, 1, 1.0, Absent("no history")) == []


@pytest.mark.parametrize(
    ("gap", "words"),
    [(-2.0, ("little", "High")), (5.0, ("little", "High")), (5.1, ("some", "Medium")), (47.94, ("heavy", "Low"))],
)
def test_a_gap_is_a_word_by_stated_thresholds(gap: float, words: tuple[str, str]) -> None:
    assert (overfitting(gap), resistance(gap)) == words
