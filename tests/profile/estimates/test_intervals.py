"""Intervals cover what they say, for a device that was not among those that they come from."""

import math
import random

import pytest

from vlm_profile.estimates.intervals import half_width, interval_of


def test_a_width_covers_its_share_of_new_rows() -> None:
    draw = random.Random(0)
    seen = [draw.gauss(0, 0.3) for _ in range(4000)]
    width = half_width(seen, range(len(seen)), 80)
    new = [draw.gauss(0, 0.3) for _ in range(4000)]
    assert 0.78 < sum(abs(each) <= width for each in new) / len(new) < 0.82
    assert width == pytest.approx(1.2816 * 0.3, rel=0.05)


def test_a_device_with_many_rows_counts_as_one() -> None:
    residuals = [0.1] * 1000 + [0.2, 0.3, 0.4, 0.5]
    groups = ["many"] * 1000 + ["a", "b", "c", "d"]
    assert half_width(residuals, groups, 65) == 0.4
    assert half_width(residuals, range(1004), 75) == 0.1


def test_few_rows_make_no_narrow_interval() -> None:
    with pytest.raises(ValueError, match="too few"):
        half_width([0.1, 0.2, 0.3], "abc", 80)
    assert half_width([0.1, 0.2, 0.3, 0.4], "abcd", 80) == 0.4


def test_many_rows_of_few_devices_make_no_narrow_interval_either() -> None:
    """What is new is a device: of three, one more may be further off than all."""
    with pytest.raises(ValueError, match="3 groups are too few"):
        half_width([0.1, 0.2, 0.3] * 100, "abc" * 100, 80)


def test_a_new_device_is_covered_as_often_as_promised() -> None:
    """Devices that are each off by something of their own, with many rows: the mean over draws of ten and one more."""
    draw = random.Random(1)
    covered = []
    for _ in range(400):
        off = [draw.gauss(0, 0.4) for _ in range(11)]
        rows = [(abs(draw.gauss(off[i], 0.05)), i) for i in range(10) for _ in range(20)]
        width = half_width([size for size, _ in rows], [i for _, i in rows], 80)
        covered.append(sum(abs(draw.gauss(off[10], 0.05)) <= width for _ in range(20)) / 20)
    assert 0.79 < sum(covered) / len(covered) < 0.93


def test_an_interval_is_a_factor_both_ways() -> None:
    assert interval_of(10.0, math.log(2)) == pytest.approx((5.0, 20.0))
