"""The clock of a Jetson's GPU, by its kernel."""

from pathlib import Path

from vlm_profile.sensors._files import FileSensor, text_of
from vlm_targets.jetson import GPU


def found(root: Path) -> list[FileSensor]:
    """The clock of each GPU; where it is held, by `jetson_clocks`, also what it is held at: under that it is throttled.

    A clock that follows the load is low for want of load as well as for heat.
    """
    clocks = sorted(root.glob("sys/class/devfreq/*/cur_freq"))
    gpus = [file.parent for file in clocks if GPU.fullmatch(file.parent.name) and text_of(file).isdecimal()]
    held = [gpu for gpu in gpus if text_of(gpu / "min_freq") == text_of(gpu / "max_freq") != ""]
    return [
        *(FileSensor(gpu.name, gpu / "cur_freq", f"gpu_mhz {gpu.name}", 1e-6) for gpu in gpus),
        *(FileSensor(gpu.name, gpu / "max_freq", f"gpu_mhz_default {gpu.name}", 1e-6) for gpu in held),
    ]
