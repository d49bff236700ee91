"""CPUs that control groups leave to a process."""

from collections.abc import Callable
from pathlib import Path

from vlm_targets._files import number_in, text_of


def usable_cpus(root: Path, affinity: int) -> int:
    """CPUs that the affinity mask and the tightest cgroup quota leave, at least 1."""
    return max(1, min([affinity, *map(int, _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """CPUs granted by each cgroup that holds this process, its ancestors too; none where nothing is limited."""
    quotas = []
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mount, quota_of = _hierarchy(root, controllers)
        inner = mount / path.lstrip("/")
        if quota_of and ".." not in inner.relative_to(mount).parts:
            folders = [inner, *(folder for folder in inner.parents if folder.is_relative_to(mount))]
            quotas += [quota for folder in folders if (quota := quota_of(folder))]
    return quotas


def _hierarchy(root: Path, controllers: str) -> tuple[Path, Callable[[Path], float] | None]:
    if not controllers:
        return root / "sys/fs/cgroup", _quota_v2
    return root / "sys/fs/cgroup/cpu", _quota_v1 if "cpu" in controllers.split(",") else None


def _quota_v2(folder: Path) -> float:
    quota, _, period = text_of(folder / "cpu.max").partition(" ")
    return _share(quota, period)


def _quota_v1(folder: Path) -> float:
    quota, period = (text_of(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return _share(quota, period)


def _share(quota: str, period: str) -> float:
    """0 where nothing is limited ("max", -1)."""
    granted, of = number_in(quota), number_in(period)
    return granted / of if granted and of else 0.0
