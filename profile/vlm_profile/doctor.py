"""`vlm-profile doctor`: what this machine is, what can be measured on it, and what would spoil it, on one screen."""

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm_contract.codec import Absent, encode, known
from vlm_contract.console import CHECK_SAID_NO, DONE, Outcome, Parser, plain_table, printable
from vlm_contract.measurement import Device
from vlm_profile.machine import Fault, faults_of, fingerprint_of
from vlm_profile.preflight import preflight
from vlm_profile.runtimes import runtimes
from vlm_targets.host import device_of

WIDTH = 110


@dataclass(frozen=True)
class Usable:
    """A runtime, and why it cannot be used here."""

    name: str
    formats: tuple[str, ...]
    version: str  # empty where it is not installed
    why_not: str  # empty where it can be used


@dataclass(frozen=True)
class Diagnosis:
    """All that is known before measuring."""

    device: Device
    state: dict[str, str]
    runtimes: tuple[Usable, ...]
    sensors: dict[str, float]  # their values now
    faults: tuple[Fault, ...]
    noise: tuple[str, ...]  # one second's look


def doctor_parser() -> Parser:
    return Parser("vlm-profile doctor", "What this machine is, and what would spoil a measurement on it.")


def doctor_command(options: argparse.Namespace) -> Outcome:
    """Look, print; exit code 1 where no runtime can be used."""
    diagnosis = diagnose()
    if not options.quiet:
        print("\n".join(shown(diagnosis)))
    usable = any(not runtime.why_not for runtime in diagnosis.runtimes)
    return Outcome(document_of(diagnosis), DONE if usable else CHECK_SAID_NO)


def diagnose(root: Path = Path("/")) -> Diagnosis:
    """Takes about a second."""
    device, looked = device_of(root), preflight(root)
    kinds = sorted(runtimes().values(), key=lambda kind: (bool(kind.unusable()), kind.name))
    return Diagnosis(
        device=device,
        state=fingerprint_of(root),
        runtimes=tuple(Usable(k.name, k.formats, k.version(), k.unusable()) for k in kinds),
        sensors=looked.values,
        faults=tuple(faults_of(device, root)),
        noise=looked.sentences,
    )


def shown(diagnosis: Diagnosis) -> Iterator[str]:
    """The lines of the screen."""
    device = diagnosis.device
    named = device.name if device.name == device.cpu else f"{device.name}, {device.cpu}"
    gib = known(device.memory_bytes) / 2**30
    yield f"{printable(named)}: {device.usable_cpus} of {device.cpus} CPUs, {gib:.1f} GiB"
    yield f"{device.system}, {device.machine}; " + ", ".join(f"{k} {v}" for k, v in diagnosis.state.items())
    for what, value in (("GPU", device.gpu), ("power mode", device.power_mode)):
        yield f"{what}: {value.reason if isinstance(value, Absent) else value}"
    yield ""
    usable = [(r.name, r.version, ", ".join(r.formats)) for r in diagnosis.runtimes if not r.why_not]
    yield plain_table(("runtime", "version", "runs"), usable)
    for why, names in _by_reason(diagnosis.runtimes).items():
        yield from _wrapped(f"not {', '.join(names)}: {why}")
    yield ""
    values = [f"{key} {value:g}" for key, value in diagnosis.sensors.items()]
    yield from _wrapped("sensors: " + (", ".join(values) or "none: energy and temperature will be absent"))
    yield ""
    for fault in diagnosis.faults:
        yield from _wrapped(f"! {fault.seen}")
        yield f"    {fault.remedy}"
    for sentence in diagnosis.noise:
        yield from _wrapped(f"! now: {sentence}")
    if not diagnosis.faults and not diagnosis.noise:
        yield "Nothing was found that would spoil a measurement."


def _by_reason(found: Sequence[Usable]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for runtime in found:
        if runtime.why_not:
            names.setdefault(runtime.why_not, []).append(runtime.name)
    return names


def document_of(diagnosis: Diagnosis) -> dict[str, Any]:
    """As JSON types."""
    return {
        "device": encode(diagnosis.device),
        "state": diagnosis.state,
        "runtimes": [asdict(runtime) for runtime in diagnosis.runtimes],
        "sensors": diagnosis.sensors,
        "faults": [asdict(fault) for fault in diagnosis.faults],
        "noise": diagnosis.noise,
    }


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent="    ")
