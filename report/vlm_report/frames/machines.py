"""A machine in words."""

from vlm_contract.codec import Absent
from vlm_contract.measurement import Device


def machine_of(device: Device) -> str:
    """The device's name, its CPUs, memory, GPU, power mode and system, as far as the record has them."""
    cpus = [] if isinstance(device.cpus, Absent) else [f"{device.usable_cpus} of {device.cpus} CPUs"]
    memory = [] if isinstance(device.memory_bytes, Absent) else [f"{device.memory_bytes / 1e9:.0f} GB"]
    parts = (device.gpu, device.power_mode, device.system)
    rest = [part for part in parts if isinstance(part, str) and part != device.name]
    cpu = "" if isinstance(device.cpu, Absent) or device.cpu == device.name else f": {device.cpu}"
    return ", ".join([device.name + cpu, *cpus, *memory, *rest])
