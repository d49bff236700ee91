"""What a run cost, or why that is not known."""

from pathlib import Path

import torch

from vlm_contract.codec import Absent
from vlm_train.effort import NO_GPU, GpuUse, device_peak_bytes, peak_rss_bytes


def test_peak_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert peak_rss_bytes(tmp_path) == 2 * 2**20
    assert isinstance(peak_rss_bytes(), int)


def test_peak_memory_that_nobody_counts_is_absent_with_the_reason(tmp_path: Path) -> None:
    assert peak_rss_bytes(tmp_path) == Absent("this system has no /proc/self/status")


def test_a_cpu_has_no_figures_of_a_gpu() -> None:
    use = GpuUse(torch.device("cpu"))
    use.look()
    assert use.percent() == device_peak_bytes(torch.device("cpu")) == NO_GPU
