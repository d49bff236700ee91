"""How long a model's kernels take at least and about: a roofline a kernel, with efficiencies that were fitted once.

A kernel takes its launch, and then its arithmetic or its traffic, whichever is longer; where both are alike, a little
more than either. Each is what the data sheet's peak would need, over an efficiency of at most 1. So three things hold
whatever the constants are: no figure lies under the roofline itself; a larger batch takes no less time; and more peak
or more bandwidth never slows a model.

Source of the form: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", Communications of the ACM 52(4), 2009. The constants: priors.py and data/fit.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from vlm_profile.estimates.families import FAMILIES, Family
from vlm_profile.estimates.processors import CLASSES, LANES, UNITS, Processor
from vlm_profile.graph.costs import KINDS, Operation

if TYPE_CHECKING:
    import numpy as np

    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

Constants: TypeAlias = Mapping[str, float]  # by the names of priors.PRIORS
GROUPS = ("convolutions", "products", "depthwise", "attention", "norm", "moves", "launches")  # that rows can tell apart
_GROUP_OF = {
    "conv": "convolutions",
    "grouped": "convolutions",
    "matmul": "products",
    "depthwise": "depthwise",
    "attention": "attention",
    "norm": "norm",
}
CHARACTER_BATCH = 32  # at which models are compared, whatever batch they run with
LEAST_EFFICIENCY = 1e-6  # of a product that is all edge: no division by 0
KERNEL_SHARPNESS = 2  # of the passage from memory-bound to compute-bound: the norm of both times


@dataclass(frozen=True)
class Kernels:
    """Kernels with where they run, as columns: of one model, or of many one after the other."""

    kind: "Numbers"
    macs: "Numbers"
    reads: "Numbers"
    writes: "Numbers"
    weights: "Numbers"
    count: "Numbers"  # kernels that are alike
    batch: "Numbers"
    unit: "Numbers"
    lane: "Numbers"
    core: "Numbers"
    family: "Numbers"
    peak: "Numbers"
    vector_peak: "Numbers"
    bandwidth: "Numbers"
    element_bytes: "Numbers"
    sms: "Numbers"
    clock_hz: "Numbers"
    threads: "Numbers"

    def __len__(self) -> int:
        return len(self.kind)


def kernels_of(operations: Mapping[Operation, int], batch: int, processor: Processor, family: Family) -> Kernels:
    """The columns of one model; `operations` with how many are alike."""
    import numpy as np

    rows = [
        (KINDS.index(each.kind), each.macs, each.reads, each.writes, each.weights, number)
        for each, number in operations.items()
    ]
    place = (
        batch,
        UNITS.index(processor.unit),
        LANES.index(processor.lane),
        CLASSES.index(processor.core),
        FAMILIES.index(family),
        processor.peak,
        processor.vector_peak,
        processor.bandwidth,
        processor.element_bytes,
        processor.sms,
        processor.clock_hz,
        processor.threads,
    )
    columns = np.array([(*row, *place) for row in rows], dtype=float).reshape(len(rows), len(rows[0]) + len(place))
    return Kernels(*columns.T)


def joined(parts: Sequence[Kernels]) -> Kernels:
    import numpy as np

    return Kernels(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Kernels)))


def seconds_of(kernels: Kernels, constants: Constants) -> tuple["Numbers", "Numbers"]:
    """What all kernels of each row take, launches apart: (bodies, launches)."""
    arithmetic, traffic = _arithmetic_seconds(kernels, constants), _traffic_seconds(kernels, constants)
    bodies = (arithmetic**KERNEL_SHARPNESS + traffic**KERNEL_SHARPNESS) ** (1 / KERNEL_SHARPNESS)
    per_clock = _by_family(kernels, constants, "launch_cycles") / kernels.clock_hz
    launches = per_clock + _by_family(kernels, constants, "launch_us") * 1e-6
    return bodies * kernels.count, launches * kernels.threads * kernels.count


def seconds_by_group(kernels: Kernels, constants: Constants) -> tuple[float, ...]:
    """Seconds of one model in each of GROUPS; their sum is its latency."""
    import numpy as np

    bodies, launches = seconds_of(kernels, constants)
    places = np.array([GROUPS.index(_GROUP_OF.get(kind, "moves")) for kind in KINDS])[kernels.kind.astype(int)]
    found = np.bincount(places, weights=bodies, minlength=len(GROUPS))
    found[GROUPS.index("launches")] = launches.sum()
    return tuple(map(float, found))


def least_seconds(kernels: Kernels) -> float:
    """What no runtime undercuts: all arithmetic at the peak, or the weights, once, at the full bandwidth.

    Activations are left out: they may stay in caches, and how far a runtime fuses is its own affair.
    """
    arithmetic = (2 * kernels.macs * kernels.batch / kernels.peak * kernels.count).sum()
    traffic = (kernels.weights * kernels.element_bytes / kernels.bandwidth * kernels.count).sum()
    return float(max(arithmetic, traffic))


def _arithmetic_seconds(kernels: Kernels, constants: Constants) -> "Numbers":
    """At batch 1 few outputs leave most multiprocessors idle: `wave` is how many outputs fill one of them."""
    import numpy as np

    is_depthwise = kernels.kind == KINDS.index("depthwise")
    rate = kernels.peak * _lookup(kernels.unit, [constants[f"efficiency {unit}"] for unit in UNITS])
    vector = kernels.vector_peak * _lookup(kernels.lane, [constants[f"depthwise {lane}"] for lane in LANES])
    shared = 1 + _lookup(kernels.core, [constants[f"sharing {core}"] for core in CLASSES]) * (kernels.threads - 1)
    rate = np.where(is_depthwise, vector, rate * _shape_efficiency(kernels, constants)) / shared
    fill = _lookup(kernels.lane, [constants["wave tensor"], constants["wave cuda"], 0.0])
    on_cpu = kernels.lane == LANES.index("cpu")
    few = np.where(
        on_cpu,
        _by_family(kernels, constants, "repacks") * kernels.weights / np.maximum(kernels.macs, 1),
        fill * kernels.sms / np.maximum(kernels.writes, 1),
    )
    outputs = np.where(on_cpu, kernels.batch + few, np.hypot(kernels.batch, few))
    return 2 * kernels.macs * outputs / rate


def _shape_efficiency(kernels: Kernels, constants: Constants) -> "Numbers":
    """A product with few columns or short sums fills no tile: half the rate at `depth` terms, at `width` columns."""
    import numpy as np

    depth = kernels.macs / np.maximum(kernels.writes, 1)  # terms of a sum
    width = kernels.weights / np.maximum(depth, 1)  # channels out
    half_depth = _lookup(kernels.lane, [constants[f"depth {lane}"] for lane in LANES])
    half_width = _lookup(kernels.lane, [constants[f"width {lane}"] for lane in LANES])
    dense = depth / (depth + half_depth) * width / (width + half_width)
    has_weights = (kernels.weights > 0) & (kernels.macs > 0)
    is_attention = kernels.kind == KINDS.index("attention")
    tokens = 2 * kernels.macs / np.maximum(kernels.reads + kernels.writes, 1)  # that each is weighed against
    attention = tokens / (tokens + constants["attention tokens"])
    found = np.where(is_attention, attention, np.where(has_weights, dense, 1.0))
    return np.maximum(found, LEAST_EFFICIENCY)


def _traffic_seconds(kernels: Kernels, constants: Constants) -> "Numbers":
    """Each kernel reads its inputs and weights, and writes; a runtime that fuses less passes over them again."""
    import numpy as np

    is_convolution = np.isin(kernels.kind, [KINDS.index(kind) for kind in ("conv", "grouped", "depthwise")])
    is_matmul = kernels.kind == KINDS.index("matmul")
    moved = kernels.reads + kernels.writes
    again = is_convolution * (
        2 * kernels.writes * _by_family(kernels, constants, "passes")
        + moved * _by_family(kernels, constants, "layouts")
    ) + is_matmul * 2 * kernels.writes * _by_family(kernels, constants, "product_passes")
    norms = np.where(kernels.kind == KINDS.index("norm"), _by_family(kernels, constants, "norm_passes"), 1.0)
    activations = (moved * norms + again) * kernels.batch
    by_lane = _lookup(kernels.lane, [constants["bandwidth tensor"], constants["bandwidth cuda"], 1.0])
    by_core = _lookup(kernels.core, [1.0, constants["bandwidth x86"], constants["bandwidth arm"]])
    rate = kernels.bandwidth * by_lane * by_core
    found: Numbers = (activations + kernels.weights) * kernels.element_bytes / rate
    return found


def _by_family(kernels: Kernels, constants: Constants, field: str) -> "Numbers":
    """A property of each row's runtime family: the number that it names, or the constant."""
    values = [getattr(family, field) for family in FAMILIES]
    return _lookup(kernels.family, [constants[value] if isinstance(value, str) else value for value in values])


def _lookup(index: "Numbers", values: Sequence[float]) -> "Numbers":
    import numpy as np

    found: Numbers = np.asarray(values, dtype=float)[index.astype(int)]
    return found
