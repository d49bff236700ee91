"""The numbers of the measuring protocol. They are stored with every result; a changed rule is a new name."""

from dataclasses import asdict, dataclass, replace

from vlm_contract.card import Scalar


@dataclass(frozen=True)
class Protocol:
    """Every number that shapes a result. The defaults are the full mode."""

    name: str = "vlm-1"
    mode: str = "full"

    # Repetitions: fresh processes of one configuration.
    processes: int = 5
    processes_max: int = 10  # further ones run until the interval is within `interval_percent`
    processes_sure: int = 5  # run whatever the time; later ones and retries only within `seconds_max`
    retries: int = 2  # of a contended process
    seconds_max: float = 40.0  # a steady configuration needs under half: docs/measuring.md has the arithmetic

    # Warm-up of a process, then windows until their medians agree.
    warmup_iterations: int = 3
    warmup_s: float = 0.5
    warmup_s_gpu: float = 1.0
    warmup_window_iterations: int = 10
    warmup_window_s: float = 0.25
    warmup_within_percent: float = 2.0
    warmup_s_max: float = 10.0

    # The measured loop of a process.
    inputs: int = 4  # random inputs that take turns
    iterations: int = 50
    iterations_slow: int = 5  # enough where `measure_s_max` ends the loop
    measure_s: float = 2.0
    measure_s_max: float = 15.0
    context_s: float = 0.2  # between two looks at the kernel's counters
    repeated_s: float = 0.25  # afterwards, of one input again and again
    soak_s: float = 0.0  # of one long loop in one process; 0: none
    soak_window_s: float = 10.0

    # Limits of the verdicts.
    run_queue_wait_percent: float = 2.0  # of wall time × threads
    foreign_cpu_percent: float = 10.0  # of our CPUs
    steal_percent: float = 2.0  # of the machine
    interval_percent: float = 3.0  # half width; over it a warning
    interval_percent_invalid: float = 10.0
    little_low: float = 0.9
    little_high: float = 1.1
    outputs_within_percent: float = 1.0  # of an output's largest magnitude, while timed and before
    cached_percent: float = 10.0  # that one repeated input may be faster
    neighbours_percent: float = 10.0  # of the machine, by others, on other CPUs than ours
    drift_slope_percent: float = 3.0  # of the median, over the measured loop
    drift_quarter_percent: float = 5.0  # of the last quarter off the first
    settled_percent: float = 3.0  # within which a sustained run has settled
    few_samples: int = 50
    few_processes: int = 3

    def within(self, seconds: float) -> "Protocol":
        """The same rules in at most about `seconds` a configuration; what this cuts, the verdicts say."""
        return replace(
            self,
            processes_sure=2,
            seconds_max=seconds,
            warmup_s=min(self.warmup_s, seconds / 8),
            warmup_s_gpu=min(self.warmup_s_gpu, seconds / 8),
            warmup_s_max=min(self.warmup_s_max, seconds / 8),
            measure_s=min(self.measure_s, seconds / 4),
            measure_s_max=min(self.measure_s_max, seconds / 4),
        )

    def soaked(self, seconds: float) -> "Protocol":
        """One process, one long loop: how latency holds, not how processes agree."""
        return replace(
            self,
            mode="soak",
            processes=1,
            processes_max=1,
            processes_sure=1,
            retries=0,
            iterations=1,
            iterations_slow=1,
            measure_s=seconds,
            measure_s_max=seconds,
            soak_s=seconds,
            soak_window_s=min(self.soak_window_s, seconds / 12),
        )

    def settings(self) -> dict[str, Scalar]:
        """As a record stores them."""
        return asdict(self)


FULL = Protocol()
QUICK = Protocol(
    mode="quick",
    processes=3,
    processes_max=3,
    processes_sure=3,
    seconds_max=16.0,
    warmup_s=0.25,
    warmup_s_gpu=0.5,
    repeated_s=0.125,
    warmup_window_s=0.125,
    warmup_s_max=2.0,
    measure_s=1.0,
    measure_s_max=1.5,
)
