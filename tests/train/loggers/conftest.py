"""What a run hands to its loggers: figures that nothing measured."""

from pathlib import Path

import pytest

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scores
from vlm_contract.codec import Absent

RUN = "double_net-digits-1437-s0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run, in a workspace of the test's own."""
    made = tmp_path / "workspace" / "runs" / RUN
    made.mkdir(parents=True)
    return made


@pytest.fixture
def scores() -> list[Scores]:
    """Of three epochs."""
    return [Scores(epoch, 1149, 90.0 + epoch, 0.5 / epoch, 80.0 + epoch, 0.8 / epoch) for epoch in (1, 2, 3)]


@pytest.fixture
def card(scores: list[Scores]) -> CheckpointCard:
    return CheckpointCard(
        run=RUN,
        backbone=Backbone("double_net", "stock", {}, ("0", "1"), 32, 3, (0.5,), (0.5,), 4_210_000, 7_000_000),
        start="random weights, seed 0",
        data=Data("digits", "digits", "d" * 64, "e" * 64, 1437, 1149, 288, "one in five", 360, "held out", 0, 0),
        recipe="scratch",
        hyperparameters={},
        precision="FP32",
        best=scores[1],
        last=scores[2],
        test_accuracy_percent=81.5,
        effort=Effort(121.4, 240.0, 812.3, 6.3, 500_000_000, Absent("no GPU"), Absent("no GPU")),
        weights_sha256="f" * 64,
        device="double CPU",
        versions={},
        finished_utc="2001-01-01T00:00:00+00:00",
    )
