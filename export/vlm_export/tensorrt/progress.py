"""A builder's progress, as short texts."""

from collections.abc import Callable
from typing import Any


def monitor_of(module: Any, tell: Callable[[str], None]) -> Any:
    """A progress monitor that tells what is built, and cancels the build once `cancelled` is set.

    None before TensorRT 10, which has none.
    """
    if not hasattr(module, "IProgressMonitor"):
        return None

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.cancelled = False
            self._phases: dict[str, tuple[int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._show(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._show(phase_name, step + 1, self._phases.get(phase_name, (0, step + 1))[1])
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def _show(self, phase: str, step: int, steps: int) -> None:
            self._phases[phase] = step, steps
            outermost = next(iter(self._phases))
            shown = dict.fromkeys((outermost, phase))
            tell(", ".join(f"{name} {'/'.join(map(str, self._phases[name]))}" for name in shown))

    return Monitor()
