from itertools import pairwise

import pytest

from vlm_report.charts.labels import Box, line_boxes, moves_at_ends, placed, spread_out


@pytest.mark.parametrize("positions", [[10.0, 11.0, 12.0], [0.0, 100.0], [5.0, 5.0, 5.0, 40.0], [30.0, 20.0, 21.0]])
def test_positions_are_spread_out_in_their_order(positions: list[float]) -> None:
    moved = spread_out(positions, 14)
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    assert all(moved[after] - moved[before] >= 14 - 1e-9 for before, after in pairwise(order))
    assert sum(moved) == pytest.approx(sum(positions))


def test_positions_with_room_stay() -> None:
    assert spread_out([0.0, 50.0, 100.0], 14) == [0.0, 50.0, 100.0]


def test_labels_at_ends_move_only_where_they_would_meet() -> None:
    assert moves_at_ends([90.0, 10.0], [0.0, 100.0], 300) == [0, 0]
    up, down = moves_at_ends([50.0, 49.0], [0.0, 100.0], 300)
    assert up < 0 < down


def test_no_label_covers_another_a_mark_or_what_is_taken() -> None:
    marks = [(100.0, 100.0, "first"), (104.0, 102.0, "second"), (100.0, 104.0, "third")]
    assert placed(marks[:1], (), 400, 300)[0] is not None
    first, second, third = placed(marks, (), 400, 300)
    assert first != second != third
    everything = [Box(0, 0, 400, 300)]
    assert placed(marks, everything, 400, 300) == [None, None, None]


def test_a_label_stays_within_the_plot() -> None:
    place = placed([(395.0, 100.0, "a long label")], (), 400, 300)[0]
    assert place is not None and place.align == "right"


def test_a_line_is_covered_all_along() -> None:
    boxes = line_boxes([(0.0, 0.0), (100.0, 0.0)])
    assert all(any(box.left <= x <= box.right for box in boxes) for x in range(101))
