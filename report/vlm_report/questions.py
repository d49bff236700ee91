"""What a report is asked, as data: who compares what, by which rule, over which rows."""

import difflib
from dataclasses import dataclass
from typing import Literal

from vlm_contract.errors import VlmError
from vlm_report.decision.balance import POINTS_PER_HALVING, REACH_POINTS, Balance
from vlm_report.decision.candidates import BATCH
from vlm_report.decision.choices import (
    ACCURACY_REACH_POINTS,
    EDGE,
    Choice,
    Fastest,
    MostAccurate,
)
from vlm_report.decision.spreads import CLAIM_PERCENT

SMALL_DATA_SAMPLES = 10_000  # fewer than these are small data
_LATENCY, _SIZE = POINTS_PER_HALVING.values()


@dataclass(frozen=True)
class Question:
    """One question that a recommendation answers."""

    name: str  # as it is typed
    title: str
    compares: str  # in words
    rule: str  # in one sentence
    rows: Literal["deployed", "trained"]  # rows of a device, or runs whatever the device
    choice: Choice


EDGE_DEVICE = Question(
    name="edge",
    title="edge device",
    compares=f"latency of one call at batch {BATCH}, and accuracy of the exported artifact",
    rule=f"the fastest artifact at batch {BATCH} whose accuracy is within {ACCURACY_REACH_POINTS:g} point of the best "
    "feasible one; of those whose latency cannot be told from its, the one that takes the least energy, then the least "
    "memory, where all were measured",
    rows="deployed",
    choice=EDGE,
)
SMALL_DATA = Question(
    name="small",
    title=f"small data, under {SMALL_DATA_SAMPLES} samples",
    compares="accuracy over the seeds of each backbone trained on as many images, and its overfitting gap",
    rule="the backbone with the highest mean accuracy over its seeds; of those within "
    f"{ACCURACY_REACH_POINTS:g} point of it whose intervals overlap, the most accurate whose overfitting gap is within "
    f"{ACCURACY_REACH_POINTS:g} point of the smallest",
    rows="trained",
    choice=MostAccurate(),
)
BALANCED = Question(
    name="balanced",
    title="balanced",
    compares=f"accuracy of the exported artifact, latency at batch {BATCH}, and size of the file",
    rule=f"the least loss, where half the latency is worth {_LATENCY:g} points of accuracy and half the file "
    f"{_SIZE:g} point, among those within {REACH_POINTS:g} points of the most accurate",
    rows="deployed",
    choice=Balance(),
)
OWN = Question(
    name="own",
    title="your own limits",
    compares=f"what meets every --require: latency at batch {BATCH}, and accuracy of the exported artifact",
    rule=f"the fastest artifact at batch {BATCH} whose accuracy is within {ACCURACY_REACH_POINTS:g} point of the best "
    "one that meets every limit",
    rows="deployed",
    choice=Fastest(),
)
QUESTIONS = (EDGE_DEVICE, BALANCED, SMALL_DATA)
ALL = (OWN, *QUESTIONS)
TIE = f"the intervals overlap, none is told, or the difference is at most {CLAIM_PERCENT:g} %"


def question_named(name: str) -> Question:
    """Raises VlmError naming the nearest where there is none of that name."""
    for question in ALL:
        if question.name == name:
            return question
    names = [question.name for question in ALL]
    nearest = difflib.get_close_matches(name, names, n=1) or names[1:2]
    raise VlmError(f"{name!r} is no question; known: {', '.join(names)}.", hint=f"--question {nearest[0]}")
