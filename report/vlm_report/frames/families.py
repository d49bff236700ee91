"""Convolutional networks against Transformers, by the number of samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Any, Literal, TypeAlias

from vlm_contract.codec import Absent, known
from vlm_report.frames.rows import joined
from vlm_report.frames.seeds import Group, Place, by_regime

CHANCE = 0.05  # how likely chance alone may be to order the models so, for one family to be called ahead
MOST_ORDERS = 200_000  # of models, that are counted
Ahead: TypeAlias = Literal["CNNs", "Transformers", "undecided"]


@dataclass(frozen=True)
class FamilyRow:
    """The two families in one regime. Each model counts once: by the mean over its seeds, of its best variant."""

    data: str
    fingerprint: str
    samples: int
    start: str  # from which weights: "random weights", "pretrained weights"
    cnn_models: int
    transformer_models: int
    cnn_accuracy_percent: float | Absent  # mean over the models, validation images
    cnn_accuracy_percent_low: float | Absent  # of the least accurate model
    cnn_accuracy_percent_high: float | Absent
    transformer_accuracy_percent: float | Absent
    transformer_accuracy_percent_low: float | Absent
    transformer_accuracy_percent_high: float | Absent
    difference_points: float | Absent  # CNNs minus Transformers
    chance: float | Absent  # that an order as one-sided as this comes about by chance alone, of either family
    ahead: Ahead
    why: str
    models: str  # in falling order, with family and accuracy
    evidence: str
    record: str


def family_rows(groups: Iterable[Group]) -> list[FamilyRow]:
    """One row for each regime, kind of first weights and evidence that has a model of either family."""
    found: dict[tuple[Place, str, str], list[Group]] = {}
    for place, rivals in by_regime(list(groups)).items():
        for group in rivals:
            if group.family in ("CNN", "Transformer") and not (
                group.first.floor or isinstance(accuracy_of(group), Absent)
            ):
                found.setdefault((place, start_of(group), group.evidence), []).append(group)
    return [_row(place, start, rivals) for (place, start, _), rivals in sorted(found.items(), key=lambda item: item[0])]


def accuracy_of(group: Group) -> float | Absent:
    """Mean validation accuracy over the seeds, in percent."""
    found = group.spread("validation_accuracy_percent")
    return found if isinstance(found, Absent) else found.mean


def start_of(group: Group) -> str:
    """Which kind of weights training began with; a document that does not say is taken for none of them."""
    weights = group.settings.get("weights")
    if weights is None:
        return "weights not said"
    return "random weights" if weights == "random" else "pretrained weights"


def chance_of(higher: Sequence[float], lower: Sequence[float]) -> float | Absent:
    """How likely chance puts `higher` at least so far above `lower`: the exact one-sided test of Mann and Whitney.

    Every assignment of the values to two groups of these sizes is as likely as another; ties count half.
    """
    values = [*higher, *lower]
    everyone = range(len(values))
    found = _wins(higher, lower)
    orders = list(zip(range(MOST_ORDERS + 1), combinations(everyone, len(higher)), strict=False))
    if len(orders) > MOST_ORDERS:
        return Absent(f"{len(values)} models are too many to count their orders")
    as_far = 0
    for _, chosen in orders:
        rest = [values[index] for index in everyone if index not in chosen]
        as_far += _wins([values[index] for index in chosen], rest) >= found
    return as_far / len(orders)


def _wins(higher: Sequence[float], lower: Sequence[float]) -> float:
    return sum((one > other) + (one == other) / 2 for one in higher for other in lower)


def _row(place: Place, start: str, groups: Sequence[Group]) -> FamilyRow:
    best = _best_variants(groups)
    cnn, transformer = ([known(accuracy_of(g)) for g in best if g.family == name] for name in ("CNN", "Transformer"))
    ahead, chance, why = _verdict(cnn, transformer)
    return FamilyRow(
        data=place[0],
        fingerprint=place[1],
        samples=place[2],
        start=start,
        cnn_models=len(cnn),
        transformer_models=len(transformer),
        **_figures("cnn", "CNN", cnn),
        **_figures("transformer", "Transformer", transformer),
        difference_points=mean(cnn) - mean(transformer) if cnn and transformer else Absent(why),
        chance=chance,
        ahead=ahead,
        why=why,
        models=", ".join(f"{g.model} ({g.family}) {known(accuracy_of(g)):.2f}" for g in best),
        evidence=groups[0].evidence,
        record=joined(record for group in best for record in group.records),
    )


def _figures(name: str, family: str, values: Sequence[float]) -> dict[str, float | Absent]:
    none = Absent(f"no {family} was trained here")
    return {
        f"{name}_accuracy_percent": mean(values) if values else none,
        f"{name}_accuracy_percent_low": min(values, default=none),
        f"{name}_accuracy_percent_high": max(values, default=none),
    }


def _best_variants(groups: Sequence[Group]) -> list[Group]:
    """One group a model, the most accurate first."""
    ranked = sorted(groups, key=lambda group: (-known(accuracy_of(group)), group.series))
    return list({group.model: group for group in reversed(ranked)}.values())[::-1]


def _verdict(cnn: Sequence[float], transformer: Sequence[float]) -> tuple[Ahead, float | Absent, str]:
    for name, values in (("CNN", cnn), ("Transformer", transformer)):
        if not values:
            return "undecided", Absent(f"no {name} was trained here"), f"no {name} was trained here"
    first = mean(cnn) >= mean(transformer)
    higher, lower = (cnn, transformer) if first else (transformer, cnn)
    names: tuple[Ahead, Ahead] = ("CNNs", "Transformers") if first else ("Transformers", "CNNs")
    chance = chance_of(higher, lower)
    counted = f"{len(cnn)} CNN{'s' * (len(cnn) > 1)} and {len(transformer)} Transformer{'s' * (len(transformer) > 1)}"
    if isinstance(chance, Absent):
        return "undecided", chance, chance.reason
    if chance <= CHANCE:
        return names[0], chance, f"chance alone would order {counted} so in {chance * 100:.1f} % of cases"
    if min(higher) > max(lower):
        return (
            "undecided",
            chance,
            f"{counted} are too few: chance alone would part them so in {chance * 100:.0f} % of cases",
        )
    return (
        "undecided",
        chance,
        f"the two overlap: the best of the {names[1]} has {max(lower):.2f} %, "
        f"the least of the {names[0]} {min(higher):.2f} %",
    )


@dataclass(frozen=True)
class Answer:
    """What the records say to a hypothesis of families."""

    text: str
    evidence: str  # empty where nothing says anything
    record: str


FEW_SAMPLES, MANY_SAMPLES = 10_000, 50_000  # of the hypotheses
HYPOTHESES = (
    f"CNNs outperform Transformers with fewer than {FEW_SAMPLES:,} samples",
    f"Transformers catch up with {MANY_SAMPLES:,} samples",
)


def hypotheses(rows: Sequence[Mapping[str, Any]]) -> tuple[Answer, ...]:
    """The answers to HYPOTHESES from rows of this frame: measured ones, or reported ones where there are no others."""
    evidence = "measured" if any(row["evidence"] == "measured" for row in rows) else "reported"
    own = [row for row in rows if row["evidence"] == evidence]
    few = [row for row in own if row["samples"] < FEW_SAMPLES]
    many = [row for row in own if row["samples"] >= MANY_SAMPLES]
    return (
        _answer(HYPOTHESES[0], few, supported="CNNs", against="Transformers"),
        _answer(HYPOTHESES[1], many, supported="Transformers", against="CNNs"),
    )


def _answer(hypothesis: str, rows: Sequence[Mapping[str, Any]], supported: Ahead, against: Ahead) -> Answer:
    compared = [row for row in rows if row["cnn_models"] and row["transformer_models"]]
    if not compared:
        return Answer(f"{hypothesis}: undecided, for no such regime has models of both families.", "", "")
    ahead = {row["ahead"] for row in compared}
    word = "supported" if ahead == {supported} else "not supported" if ahead == {against} else "undecided"
    evidence = compared[0]["evidence"]
    said = ". ".join(map(_compared, compared))
    told = " This is reported, not measured." if evidence == "reported" else ""
    return Answer(f"{hypothesis}: {word}. {said}.{told}", evidence, joined(row["record"] for row in compared))


def _compared(row: Mapping[str, Any]) -> str:
    return (
        f"On {row['data']} with {row['samples']:,} samples, from {row['start']}, "
        f"CNNs reach {row['cnn_accuracy_percent']:.1f} % on average ({row['cnn_models']}), Transformers "
        f"{row['transformer_accuracy_percent']:.1f} % ({row['transformer_models']}); {row['why']}"
    )
