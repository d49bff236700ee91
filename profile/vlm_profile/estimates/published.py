"""Rows that others published, the devices they are of, and what their models cost: data/, with sources."""

import csv
import re
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from vlm_contract.codec import Absent, decode
from vlm_profile.estimates.families import Family, family_of
from vlm_profile.estimates.processors import Processor, full_limits, processor_from
from vlm_profile.graph.costs import Operation
from vlm_targets.catalogue import Hardware, Limits, limits_of, target_named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).parent / "data"
COSTS = DATA / "published_costs.csv"
COSTS_HEADER = ("network", "image_size", "number", "kind", "macs", "reads", "writes", "weights")
WEIGHT_OF = {"A": 1.0, "B": 0.5, "C": 0.25}  # of a row in the fit, by how well it is described
_OPTIONAL = {
    "target": {"absent": "no target"},
    "power_mode": {"absent": "one only"},
    "hardware": {"absent": "the target's"},
}
DEFAULT = "ncnn default (fp16 where supported)"


@dataclass(frozen=True)
class Row:
    """One published figure."""

    set: str  # "reference", or "further": found later
    device: str
    runtime: str
    precision: str
    batch: int
    model: str  # as its source calls it
    image_size: int
    network: str  # as timm does, or "torchvision/NAME"
    latency_ms: float  # of a whole batch
    power_mode: str
    quality: str
    left_out: str  # why it says nothing of this device; empty where it does
    source: str

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Rows that differ in the model alone, and in its size and batch."""
        return self.device, self.runtime, self.precision, self.power_mode


@dataclass(frozen=True)
class Described:
    """A published device: a target in a power mode, or hardware of its own."""

    target: str | Absent
    power_mode: str | Absent
    hardware: Hardware | Absent


@lru_cache
def published_rows() -> tuple[Row, ...]:
    """Every row, those that are left out too."""
    with open(DATA / "published_latency.csv", newline="") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def usable_rows() -> tuple[Row, ...]:
    return tuple(row for row in published_rows() if not row.left_out)


def operations_of_row(row: Row) -> dict[Operation, int]:
    """The kernels of the row's model, with how many are alike."""
    return _costs()[row.network, row.image_size]


def processor_of_row(row: Row) -> Processor:
    """What computed a row: its clock and its threads are those that the row names."""
    hardware, limits = _peaks(row.device)
    clock = _clock_mhz(row.power_mode)
    if clock is not None:
        limits = _at_clock(limits, clock)
    threads = re.search(r"(\d+) threads", row.runtime)
    return processor_from(hardware, limits, precision_of_row(row), int(threads[1]) if threads else None)


def precision_of_row(row: Row) -> str:
    """As this toolkit names it."""
    return "fp16" if row.precision == DEFAULT else row.precision.removeprefix("AMP ")


def family_of_row(row: Row) -> Family:
    """Raises ValueError for a row of a runtime that nothing is known of: such are left out."""
    family = family_of(row.runtime, hardware_of_device(row.device))
    if family is None:
        raise ValueError(f"{row.runtime} on {row.device} is of no known family")
    return family


def target_of_device(device: str) -> str | None:
    """The target that a published device is; None where it is none."""
    target = _devices()[device].target
    return None if isinstance(target, Absent) else target


def hardware_of_device(device: str) -> Hardware:
    return _peaks(device)[0]


def _row(fields: dict[str, str]) -> Row:
    batch = int(fields["batch"]) if fields["batch"].isdigit() else 1
    latency = float(fields["latency_ms"]) if fields["latency_ms"] else 1e3 * batch / float(fields["throughput_img_s"])
    kept = {name: fields[name] for name in ("set", "device", "runtime", "precision", "model", "network", "power_mode")}
    return Row(
        **kept,
        batch=batch,
        image_size=int(fields["image_size"]),
        latency_ms=latency,
        quality=fields["quality"],
        left_out=fields["left_out"],
        source=fields["source"],
    )


@lru_cache
def _costs() -> dict[tuple[str, int], dict[Operation, int]]:
    found: dict[tuple[str, int], dict[Operation, int]] = {}
    with open(COSTS, newline="") as file:
        for network, size, number, kind, *counts in list(csv.reader(file))[1:]:
            found.setdefault((network, int(size)), {})[Operation(kind, *map(int, counts))] = int(number)
    return found


@lru_cache
def _devices() -> dict[str, Described]:
    text = (DATA / "published_devices.toml").read_text()
    return {
        name: decode(Described, {**_OPTIONAL, **each}, name) for name, each in tomllib.loads(text)["devices"].items()
    }


@lru_cache
def _peaks(device: str) -> tuple[Hardware, Limits]:
    described = _devices()[device]
    if isinstance(described.target, str):
        target = target_named(described.target)
        assert isinstance(target.hardware, Hardware)
        mode = described.power_mode if isinstance(described.power_mode, str) else None
        return target.hardware, limits_of(target, mode)
    assert isinstance(described.hardware, Hardware)
    return described.hardware, full_limits(described.hardware)


def _clock_mhz(power_mode: str) -> float | None:
    """That of a CPU, where a row names it: "CPU 1500 MHz", "1.5 GHz"."""
    found = re.search(r"([\d.]+) ?([MG])Hz", power_mode)
    return None if found is None else float(found[1]) * (1000 if found[2] == "G" else 1)


def _at_clock(limits: Limits, clock_mhz: float) -> Limits:
    share = clock_mhz / limits.clock_mhz
    int8 = limits.int8_tops if isinstance(limits.int8_tops, Absent) else limits.int8_tops * share
    return replace(limits, clock_mhz=clock_mhz, fp32_tflops=limits.fp32_tflops * share, int8_tops=int8)
