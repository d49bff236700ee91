"""The targets as text: within 100 columns, with every unit, mark and reason, and safe for a terminal."""

from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_targets.catalogue import known_targets
from vlm_targets.listing import target_sheet, targets_table

NAMES = [target.name for target in known_targets()]
WHOLE = """name = "odd"
title = "an odd \\u001b[31mboard"
aliases = []
recognised_by = []
compute_capability = { absent = "not known" }
tensor_cores = { absent = "not known" }
tensorrt = { absent = "not known" }
sources = ["a \\u0007 bell"]
"""


@pytest.fixture(autouse=True)
def no_targets_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == start.split())


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[:1] == [start]]


def written(folder: Path, text: str) -> Path:
    (folder / "board.toml").write_text(text)
    return folder / "board.toml"


def test_the_table_fits_100_columns_and_has_two_rows_for_each_target(tmp_path: Path) -> None:
    table = targets_table(root=tmp_path)
    assert max(map(len, table.splitlines())) <= 100
    assert [len(lines_of(table, name)) for name in NAMES] == [2] * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_sheet_fits_100_columns_and_one_tall_screen(tmp_path: Path, name: str) -> None:
    lines = target_sheet(name, root=tmp_path).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 64


def test_the_table_has_the_peaks_of_the_default_mode_with_their_marks(tmp_path: Path) -> None:
    _, peaks = lines_of(targets_table(root=tmp_path), "jetson-agx-orin")
    assert peaks.split()[1:6] == ["MODE_30W", "1.25", "10.0*", "20.1*", "205"]


def test_a_disputed_peak_is_marked_in_the_table(tmp_path: Path) -> None:
    _, peaks = lines_of(targets_table(root=tmp_path), "jetson-thor")
    assert "172*?" in peaks.split()


def test_what_is_absent_says_why(tmp_path: Path) -> None:
    table = targets_table(root=tmp_path)
    assert "— jetson-nano INT8, jetson-tx2 INT8: TensorRT has no INT8 for this compute capability." in table
    assert "INT8            — (the Cortex-A72 has no dot product)" in target_sheet("rpi4", root=tmp_path)


def test_a_sheet_has_units_marks_and_what_disputing_sources_say(tmp_path: Path) -> None:
    sheet = target_sheet("jetson-agx-orin", root=tmp_path)
    assert "42.6 TFLOPS*, tensor cores, dense" in sheet
    assert "L2 cache        4 MB?" in sheet
    assert "L2 cache: deviceQuery says 4 (taken); TechPowerUp says 6" in sheet
    assert "64 GB, LPDDR5, 256 bits, shared by CPU and GPU" in sheet
    assert "shared by CPU and GPU" not in target_sheet("gtx1660ti", root=tmp_path)


def test_a_sheet_has_every_power_mode_with_its_peaks(tmp_path: Path) -> None:
    rows = [line.split() for line in target_sheet("jetson-agx-orin", root=tmp_path).splitlines()]
    assert ["0", "MAXN", "12", "—", "1300", "3200", "16", "5.33", "42.6", "85.2", "205"] in rows
    assert ["2", "MODE_30W", "(default)", "8", "1728", "612", "3200", "8", "1.25", "10.0", "20.1", "205"] in rows


def test_jetpacks_that_install_the_same_share_a_row(tmp_path: Path) -> None:
    row = line_of(target_sheet("jetson-nano", root=tmp_path), "4.6.1")
    assert row.split() == ["4.6.1", "to", "4.6.6", "32.7.1", "to", "32.7.6", "18.04", "3.6", "10.2", "8.2", "8.2.1"]


def test_a_sheet_names_notes_and_sources(tmp_path: Path) -> None:
    sheet = target_sheet("jetson-orin-nano", root=tmp_path)
    assert "the one with 4 GB has 4 SMs" in sheet
    assert "https://www.techpowerup.com/gpu-specs/jetson-orin-nano-8-gb.c4082" in sheet


def test_figures_are_measured_where_the_target_is_and_estimated_elsewhere(tmp_path: Path) -> None:
    model = tmp_path / "proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    table = targets_table(root=tmp_path)
    assert lines_of(table, "rpi5")[0].endswith("measured here")
    assert lines_of(table, "rpi4")[0].endswith("estimated")
    assert "estimated: this is Raspberry Pi 5 Model B" in target_sheet("rpi4", root=tmp_path)
    assert lines_of(table, "host")[0].endswith("measured here")


def test_an_address_of_the_users_is_where_figures_are_measured(tmp_path: Path) -> None:
    file = written(tmp_path, 'like = "rpi5"\naddress = "pi@kitchen"\n')
    assert lines_of(targets_table([file], tmp_path), "rpi5")[0].endswith("measured over SSH at pi@kitchen")
    assert "measured over SSH at pi@kitchen" in target_sheet("rpi5", [file], tmp_path)


def test_a_board_of_which_nothing_is_known_is_not_said_to_be_estimated(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE)
    assert lines_of(targets_table([file], tmp_path), "odd")[0].endswith("none")
    assert "none: nothing is said of how to recognise it" in target_sheet("odd", [file], tmp_path)


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE)
    sheet = target_sheet("odd", [file], tmp_path)
    assert r"an odd \x1b[31mboard" in sheet
    assert r"a \x07 bell" in sheet
    assert (sheet + targets_table([file], tmp_path)).replace("\n", "").isprintable()


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="nearest: jetson-nano"):
        target_sheet("jetson-nona")
