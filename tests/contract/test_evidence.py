"""Records of doubles and of emulators say nothing of a model on a device."""

from dataclasses import replace
from typing import Any

import pytest

from vlm_contract.codec import Absent, decode, encode
from vlm_contract.evidence import why_no_evidence
from vlm_contract.measurement import Measurement

ABSENT = {"absent": "a double of this test"}


@pytest.fixture
def record() -> Measurement:
    """A record by hand; only its names matter."""
    nothing = dict.fromkeys(
        ("latency", "throughput", "cold_start", "pacing", "sustained", "energy", "temperature", "estimate", "origin"),
        ABSENT,
    )
    return _decoded(
        {
            **nothing,
            "target": "host",
            "evidence": "measured",
            "protocol": "vlm-1",
            "settings": {},
            "device": {"name": "a board", **dict.fromkeys(_OF_DEVICE, ABSENT)},
            "runtime": {"name": "onnxruntime", "version": "1", "provider": "CPU", "options": {}},
            "artifact": {"name": "a", "file": "a", "sha256": "0", "bytes": 1, "format": "onnx", "precision": "fp32"},
            "setup": {"batch": 1, "threads": 1, "streams": 1, "scope": "", "fps": ABSENT, "options": {}},
            "memory": {**dict.fromkeys(_OF_MEMORY, ABSENT), "by_source": {}, "covers": ""},
            "verdicts": [],
            "repetitions": [],
            "environment": {},
            "measured_utc": "",
        }
    )


_OF_DEVICE = ("cpu", "cpus", "usable_cpus", "memory_bytes", "gpu", "power_mode", "system", "machine")
_OF_MEMORY = ("peak_rss_bytes", "model_rss_bytes", "device_peak_bytes")


def _decoded(document: dict[str, Any]) -> Measurement:
    record: Measurement = decode(Measurement, document)
    assert encode(record) == document
    return record


def test_a_real_runtime_on_a_real_device_is_evidence(record: Measurement) -> None:
    assert why_no_evidence(record) == ""


def test_a_double_of_a_runtime_is_none(record: Measurement) -> None:
    double = replace(record, runtime=replace(record.runtime, name="selftest:sleep"))
    assert why_no_evidence(double) == "selftest:sleep is a double of the self-test, and runs no model"


@pytest.mark.parametrize("field", ["name", "cpu", "gpu"])
def test_an_emulator_is_no_device_wherever_it_says_so(record: Measurement, field: str) -> None:
    emulated = replace(record, device=replace(record.device, **{field: "Jetson (Emulator)"}))
    assert why_no_evidence(emulated) == "Jetson (Emulator) is no device"
    assert why_no_evidence(replace(record, device=replace(record.device, gpu=Absent("none")))) == ""
