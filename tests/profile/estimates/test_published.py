"""The rows behind the fit: all of them whole, and the fit that is stored is theirs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest

from vlm_profile.estimates import judging
from vlm_profile.estimates.anchors import Anchor
from vlm_profile.estimates.calibration import constants_from_rows
from vlm_profile.estimates.fitted import stored_fit
from vlm_profile.estimates.judging import (
    Judged,
    Sighted,
    architecture,
    covered,
    rank_correlation,
    sighted,
    with_anchors,
    with_published,
    without_each_device,
    without_half_of_the_models,
)
from vlm_profile.estimates.priors import PRIORS
from vlm_profile.estimates.published import (
    family_of_row,
    hardware_of_device,
    operations_of_row,
    processor_of_row,
    published_rows,
    usable_rows,
)


def test_every_row_that_is_used_can_be_estimated() -> None:
    for row in usable_rows():
        assert operations_of_row(row), row
        assert processor_of_row(row).peak > 0
        assert family_of_row(row).name
        assert row.latency_ms > 0


def test_every_row_has_a_source_and_what_is_left_out_a_reason() -> None:
    rows = published_rows()
    assert Counter(row.set for row in rows)["reference"] == 491
    assert all(row.source for row in rows)
    left_out = [row for row in rows if row.left_out]
    assert len(left_out) < 0.1 * len(rows)
    assert {row.device for row in usable_rows()} == {row.device for row in rows}


def test_a_row_is_computed_by_what_it_names() -> None:
    by_clock = {
        row.power_mode: row for row in usable_rows() if row.runtime == "TFLite 2.7.1 CPU" and row.precision == "fp32"
    }
    slow = next(row for row in usable_rows() if row.power_mode == "CPU 1500 MHz")
    assert processor_of_row(slow).peak == pytest.approx(processor_of_row(by_clock["CPU 1800 MHz"]).peak * 1500 / 1800)
    single = next(row for row in usable_rows() if row.runtime == "ncnn CPU 1 threads")
    assert processor_of_row(single).threads == 1
    assert processor_of_row(single).peak == pytest.approx(hardware_of_device("Raspberry Pi 4").fp32_tflops * 1e12 / 4)


def test_the_stored_constants_are_those_of_the_rows() -> None:
    fit = stored_fit()
    assert set(fit.constants) == set(PRIORS)
    assert fit.rows == len(usable_rows())
    assert fit.constants == pytest.approx(constants_from_rows(usable_rows()), rel=0.01)


def test_no_efficiency_exceeds_its_peak() -> None:
    constants = stored_fit().constants
    efficiencies = [name for name in constants if name.startswith(("efficiency", "bandwidth", "depthwise"))]
    assert len(efficiencies) > 10
    assert all(0 < constants[name] <= 1 for name in efficiencies)


def test_published_rows_are_judged_as_the_ladder_takes_them_and_without_their_own_architecture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anchors are of the same device and unit, of another runtime, and never of the network that is estimated."""
    rows = [each for each in usable_rows() if each.device in ("Raspberry Pi 4", "Jetson TX2", "Jetson Nano")]
    seen = [sighted(row, stored_fit().constants) for row in rows]
    by_name = {each.anchor.name: each for each in seen}
    taken = []

    def note(each: Sighted, anchors: Sequence[Anchor], rung: str) -> Judged:
        taken.append((each, [by_name[anchor.name] for anchor in anchors]))
        assert all(anchor.elsewhere for anchor in anchors)
        return each.judged

    monkeypatch.setattr(judging, "_corrected", note)
    assert 0 < len(list(with_published(seen))) < len(seen)
    for each, anchors in taken:
        for other in anchors:
            assert (other.row.device, other.unit) == (each.row.device, each.unit)
            assert other.row.group != each.row.group
            assert architecture(other.row.network) != architecture(each.row.network)


def test_more_power_leaves_the_character_of_a_published_row_alone() -> None:
    """Or a faster device would take other models for alike."""
    fast = next(row for row in usable_rows() if row.power_mode == "CPU 1800 MHz")
    slow = replace(fast, power_mode="CPU 600 MHz")
    constants = stored_fit().constants
    assert sum(sighted(slow, constants).seconds) > 1.5 * sum(sighted(fast, constants).seconds)
    assert sighted(slow, constants).anchor.character == sighted(fast, constants).anchor.character


@pytest.mark.slow
def test_the_goals_hold_on_devices_and_models_that_the_fit_has_not_seen() -> None:
    seen = without_each_device(usable_rows())
    reference = [each.judged for each in seen if each.row.set == "reference"]
    halves = [each for each in without_half_of_the_models(usable_rows(), splits=2) if each.row.set == "reference"]
    for judged in (reference, halves):
        errors = sorted(each.error for each in judged)
        assert errors[len(errors) // 2] <= 0.30
        assert sum(error < 1 for error in errors) >= 0.85 * len(errors)
    anchored = sorted(each.error for each in with_anchors(seen, 3, draws=10) if each.row.set == "reference")
    assert anchored[len(anchored) // 2] <= 0.13
    for judged in ([each.judged for each in seen], list(with_anchors(seen, 3, draws=10))):
        assert 0.75 <= fmean(fmean(inside) for inside in covered(judged, judged).values()) <= 0.9
    for device in {each.row.device for each in reference} - {"Jetson AGX Orin"}:  # which has one model
        assert rank_correlation([each for each in reference if each.row.device == device]) >= 0.9, device
