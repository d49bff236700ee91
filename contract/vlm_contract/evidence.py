"""Which records say something of a model on a device: those of doubles and of emulators do not."""

from vlm_contract.codec import Absent
from vlm_contract.measurement import Measurement

DOUBLES = "selftest:"  # begins the name of each runtime whose truth is known beforehand
EMULATOR = "emulator"  # stands in the name of a device that is none


def why_no_evidence(record: Measurement) -> str:
    """Why a record may be in no report, comparison or estimate, whatever its figures; empty where it may."""
    runtime = record.runtime.name
    if not isinstance(runtime, Absent) and runtime.startswith(DOUBLES):
        return f"{runtime} is a double of the self-test, and runs no model"
    device = record.device
    for name in (device.name, device.cpu, device.gpu):
        if not isinstance(name, Absent) and EMULATOR in name.casefold():
            return f"{name} is no device"
    return ""
