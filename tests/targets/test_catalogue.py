"""Targets are data files, found by name or alias."""

from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_targets.catalogue import known_targets, target_named

# The targets that the commands promise: compute capability, tensor cores, TensorRT.
PROMISED = {
    "gtx1660ti": ("7.5", False, None),
    "jetson-nano": ("5.3", False, "8.2.1"),
    "jetson-tx2": ("6.2", False, "8.2.1"),
    "jetson-xavier-nx": ("7.2", True, "8.5.2"),
    "jetson-agx-xavier": ("7.2", True, "8.5.2"),
    "jetson-orin-nano": ("8.7", True, "10.3.0"),
    "jetson-orin-nano-super": ("8.7", True, "10.3.0"),
    "jetson-orin-nx": ("8.7", True, "10.3.0"),
    "jetson-agx-orin": ("8.7", True, "10.3.0"),
    "jetson-thor": ("11.0", True, "10.13.3"),
    "rpi4": (None, None, None),
    "rpi5": (None, None, None),
    "host": (None, None, None),
}
WHOLE = """name = "b"
title = "b"
aliases = []
recognised_by = []
compute_capability = "8.7"
tensor_cores = true
tensorrt = { absent = "none" }
sources = []
"""


def test_the_host_is_known_by_name_and_alias() -> None:
    assert target_named("host").name == target_named("localhost").name == "host"


def test_a_jetson_is_an_orin_nano() -> None:
    assert target_named("jetson").name == "jetson-orin-nano"


def test_every_promised_target_is_known_with_its_gpu_and_tensorrt() -> None:
    known = {
        target.name: tuple(
            None if isinstance(value, Absent) else value
            for value in (target.compute_capability, target.tensor_cores, target.tensorrt)
        )
        for target in known_targets()
    }
    assert known == PROMISED


def test_every_device_names_its_sources() -> None:
    assert [target.name for target in known_targets() if not target.sources] == ["host"]


def test_every_device_is_recognised_by_a_name() -> None:
    assert [target.name for target in known_targets() if not target.recognised_by] == ["host"]


def test_no_two_targets_share_a_name() -> None:
    names = [name for target in known_targets() for name in (target.name, *target.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="nearest: host") as caught:
        target_named("hots")
    assert caught.value.hint == "--target host"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (WHOLE.replace("aliases = []\n", ""), "aliases: missing"),
        (WHOLE + "nmae = 1", "did you mean name"),
        (WHOLE.replace('"8.7"', "8.7"), "compute_capability: expected a string, found 8.7"),
        (WHOLE.replace('"8.7"', '"sm87"'), "'sm87' is no version"),
        ("name =", "Invalid value"),
    ],
)
def test_a_wrong_data_file_is_named_with_its_field(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(VlmError, match=problem) as caught:
        target_named("board", tmp_path)
    assert "board.toml" in str(caught.value)
