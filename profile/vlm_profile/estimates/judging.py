"""How well each rung does on devices and models that the fit has not seen: what the judge prints and the fit stores."""

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vlm_profile.estimates.anchors import Anchor, correction_for, shares_of
from vlm_profile.estimates.calibration import constants_from_rows
from vlm_profile.estimates.intervals import half_width
from vlm_profile.estimates.processors import reference_of
from vlm_profile.estimates.published import (
    Row,
    family_of_row,
    hardware_of_device,
    operations_of_row,
    precision_of_row,
    processor_of_row,
)
from vlm_profile.estimates.roofline import CHARACTER_BATCH, Constants, kernels_of, seconds_by_group

ANCHORS = (1, 2, 3, 5)  # numbers of them that are judged
DRAWS = 30  # of anchors, for each group of rows
FEWEST_NETWORKS = 5  # of a group that anchors are drawn in


@dataclass(frozen=True)
class Judged:
    """A row, and what a rung said of it."""

    row: Row
    rung: str
    residual: float  # logarithm of measured over estimated

    @property
    def error(self) -> float:
        """As a share of the smaller of both: 1 is a factor of 2, whichever way."""
        return math.exp(abs(self.residual)) - 1


@dataclass(frozen=True)
class Sighted:
    """A row under constants that were fitted without it."""

    row: Row
    seconds: tuple[float, ...]  # by group of kernels
    unit: str  # that computed it
    anchor: Anchor

    @property
    def judged(self) -> Judged:
        return Judged(self.row, "specifications", self.anchor.residual)


def architecture(network: str) -> str:
    """Networks that time alike have one: DeiT is ViT, `tf_` pads otherwise."""
    return re.sub("^tf_", "", network).replace("deit_", "vit_")


def sighted(row: Row, constants: Constants, elsewhere: bool = False) -> Sighted:
    processor, family, operations = processor_of_row(row), family_of_row(row), operations_of_row(row)
    seconds = seconds_by_group(kernels_of(operations, row.batch, processor, family), constants)
    reference = reference_of(hardware_of_device(row.device), precision_of_row(row))
    character = seconds_by_group(kernels_of(operations, CHARACTER_BATCH, reference, family), constants)
    residual = math.log(row.latency_ms * 1e-3 / sum(seconds))
    name = f"{row.device}, {row.runtime}, {row.precision}: {row.model} at {row.image_size} px, batch {row.batch}"
    anchor = Anchor(name, residual, shares_of(seconds), shares_of(character), elsewhere)
    return Sighted(row, seconds, processor.unit, anchor)


def without_each_device(rows: Sequence[Row]) -> list[Sighted]:
    """Every row by constants from all other devices, in the order of `rows`."""
    devices = dict.fromkeys(row.device for row in rows)
    constants = {device: constants_from_rows(row for row in rows if row.device != device) for device in devices}
    return [sighted(row, constants[row.device]) for row in rows]


def without_half_of_the_models(rows: Sequence[Row], splits: int = 5, seed: int = 0) -> list[Judged]:
    """Rows of one half of the architectures by constants from the other half; both ways, over several halvings."""
    draw = random.Random(seed)
    names = sorted({architecture(row.network) for row in rows})
    found = []
    for _ in range(splits):
        half = set(draw.sample(names, len(names) // 2))
        for chosen in (half, set(names) - half):
            constants = constants_from_rows(row for row in rows if architecture(row.network) not in chosen)
            found += [sighted(row, constants).judged for row in rows if architecture(row.network) in chosen]
    return found


def with_anchors(rows: Iterable[Sighted], number: int, draws: int = DRAWS, seed: int = 0) -> Iterator[Judged]:
    """Rows of each group by so many others of it, of other architectures, drawn at random again and again."""
    for group in _groups(rows, FEWEST_NETWORKS).values():
        draw = random.Random(f"{seed} {number} {group[0].row.group}")
        names = sorted({architecture(each.row.network) for each in group})
        for _ in range(draws):
            chosen = set(draw.sample(names, number))
            anchors = [
                draw.choice([e for e in group if architecture(e.row.network) == name]) for name in sorted(chosen)
            ]
            for each in group:
                if architecture(each.row.network) not in chosen:
                    yield _corrected(each, [anchor.anchor for anchor in anchors], f"calibrated {number}")


def with_published(rows: Sequence[Sighted]) -> Iterator[Judged]:
    """Each row by those of its device that another runtime left on the same unit, of other architectures."""
    for each in rows:
        others = [other for other in rows if other.row.device == each.row.device and other.unit == each.unit]
        moved = [
            replace(other.anchor, elsewhere=True)
            for other in others
            if other.row.group != each.row.group and architecture(other.row.network) != architecture(each.row.network)
        ]
        if moved:
            yield _corrected(each, moved, "published")


def _corrected(sighted: Sighted, anchors: Sequence[Anchor], rung: str) -> Judged:
    factors = correction_for(sighted.anchor.character, anchors)
    return Judged(sighted.row, rung, math.log(sighted.row.latency_ms * 1e-3 / factors.applied(sighted.seconds)))


def _groups(rows: Iterable[Sighted], fewest: int) -> Mapping[tuple[str, str, str, str], list[Sighted]]:
    found: dict[tuple[str, str, str, str], list[Sighted]] = defaultdict(list)
    for each in rows:
        found[each.row.group].append(each)
    return {
        group: members
        for group, members in found.items()
        if len({architecture(each.row.network) for each in members}) > fewest - 1
    }


def widths_from(rows: Sequence[Sighted]) -> dict[str, float]:
    """The half-width of each rung, "calibrated 3" with three anchors, from rows that are sighted without their device.

    No two published devices are of one family, so a transfer inside one is trusted no further than data sheets alone.
    """
    judged: dict[str, Sequence[Judged]] = {"specifications": [each.judged for each in rows]}
    judged["family"] = judged["specifications"]
    judged["published"] = list(with_published(rows))
    judged |= {f"calibrated {number}": list(with_anchors(rows, number)) for number in ANCHORS}
    return {rung: width_of(found) for rung, found in judged.items()}


def width_of(judged: Sequence[Judged]) -> float:
    """The half-width that covers these rows; each device counts as one."""
    return half_width([each.residual for each in judged], [each.row.device for each in judged])


def covered(judged: Sequence[Judged], others: Sequence[Judged]) -> dict[str, list[bool]]:
    """Which rows of each device lie in an interval whose width comes from all of `others` but that device."""
    widths = {device: width_of([each for each in others if each.row.device != device]) for device in by_device(judged)}
    return {
        device: [abs(each.residual) <= widths[device] for each in found] for device, found in by_device(judged).items()
    }


def by_device(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = defaultdict(list)
    for each in judged:
        found[each.row.device].append(each)
    return found


def rank_correlation(judged: Sequence[Judged]) -> float:
    """Spearman's, of measured with estimated times of an image; ties share their mean rank. Needs two rows at least."""
    measured = _ranks([each.row.latency_ms / each.row.batch for each in judged])
    estimated = _ranks([each.row.latency_ms / each.row.batch / math.exp(each.residual) for each in judged])
    middle = (len(judged) - 1) / 2
    together = sum((a - middle) * (b - middle) for a, b in zip(measured, estimated, strict=True))
    apart = math.sqrt(sum((a - middle) ** 2 for a in measured) * sum((b - middle) ** 2 for b in estimated))
    return together / apart if apart else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2 for value in values
    ]
