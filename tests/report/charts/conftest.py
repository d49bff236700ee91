"""A world of doubles: runs with their epochs, artifacts, rows of all kinds of evidence. Nothing was measured."""

import json
import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.card import CheckpointCard, Data, Scores
from vlm_contract.codec import Absent, encode, write_record
from vlm_contract.files import write_whole
from vlm_contract.measurement import ArtifactUsed, Energy, Estimate, Memory, Repetition
from vlm_contract.reported import ReportedRun
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, MANIFEST_FILE, Workspace
from vlm_report.charts.sources import Sources
from vlm_report.frames import frames_of
from vlm_report.records import records_of

MODELS = {  # parameters, accuracy in percent, latency in milliseconds
    "alpha_net": (4_200_000, 60.0, 3.0),
    "beta_net": (23_500_000, 70.0, 11.0),
    "gamma_net": (85_800_000, 50.0, 40.0),
}
EPOCHS = 12
DATA = Data("double-data", "double-data", "d" * 64, "e" * 64, 5000, 4500, 500, "one in ten", 100, "all", 0, 0)
ESTIMATED = {
    "evidence": "estimated",
    "origin": Absent("estimated"),
    "estimate": Estimate("specifications", "a double", 90.0, 1.3, 1.3, (), {}, "measure it"),
}
REPORTED = {"evidence": "reported", "origin": "double.md, line 1", "estimate": Absent("reported")}
UNSAID = Absent("the document does not say")


@dataclass(frozen=True)
class Keeper:
    """Writes doubles into a workspace, each where its kind belongs."""

    double: SimpleNamespace
    workspace: Workspace

    def run(
        self, model: str, samples: int = 5000, seed: int = 0, accuracy: float = 60.0, parameters: int = 4_200_000
    ) -> str:
        """A run with the epochs of its history; its name."""
        name = f"{model}-double-data-{samples}-s{seed}"
        history = [a_score(epoch, accuracy) for epoch in range(1, EPOCHS + 1)]
        card: CheckpointCard = self.double.card(
            name,
            backbone=replace(self.double.backbone(model), parameters=parameters),
            data=replace(DATA, samples=samples, train_samples=samples - 500, seed=seed),
            best=history[-1],
            last=history[-1],
            weights_sha256=a_sha256(name),
        )
        folder = self.workspace.run(name)
        write_record(card, folder / CARD_FILE)
        write_whole(folder / HISTORY_FILE, "".join(json.dumps(encode(scores)) + "\n" for scores in history))
        return name

    def row(
        self, run: str, p50: float, precision: str = "fp32", batch: int = 1, accuracy: float = 60.0, **changes: Any
    ) -> None:
        """A measurement, with the manifest of its artifact."""
        artifact = f"{run}.onnx-{precision}"
        names = {"run": run, "backbone": run.split("-")[0], "precision": precision, "checkpoint_sha256": a_sha256(run)}
        write_record(
            self.double.manifest(artifact, accuracy, **names), self.workspace.artifact(artifact) / MANIFEST_FILE
        )
        row = self.double.measurement(artifact, p50, batch=batch, **{"half": 0.02 * p50} | changes)
        row = replace(row, artifact=replace(row.artifact, precision=precision))
        write_record(row, self.workspace.measurement(row.target, f"{artifact}-b{batch}-{row.evidence}"))

    def reported_run(self, model: str, accuracy: float) -> None:
        """A run that a document tells of."""
        run = ReportedRun(
            model=model, timm=model.lower().replace("-", "_"), data="Double-Data", samples=5000, seed=UNSAID,
            epochs=100, train_accuracy_percent=99.5, validation_accuracy_percent=accuracy,
            test_accuracy_percent=UNSAID, train_loss=0.01, validation_loss=UNSAID, wall_s=UNSAID, hyperparameters={},
            device=UNSAID, software=UNSAID, notes=UNSAID, origin="double.md, line 1", approximate=(), verdicts=(),
            date=UNSAID,
        )  # fmt: skip
        write_record(run, self.workspace.reported / "double" / "runs" / f"{model}.json")

    def reported_row(self, model: str, p50: float, target: str = "double-board") -> None:
        """A latency that a document tells of, without an interval."""
        row = self.double.measurement(model, p50, target=target, **REPORTED)
        latency = replace(row.latency, latency_ms_p50_low=UNSAID, latency_ms_p50_high=UNSAID)
        told = replace(row, artifact=ArtifactUsed(model, *[UNSAID] * 5), latency=latency)
        write_record(told, self.workspace.reported / "double" / "measurements" / f"{model}.json")


def a_score(epoch: int, accuracy: float) -> Scores:
    learnt = 1 - math.exp(-epoch / 4)
    train = min(99.9, (accuracy + 25) * learnt)
    return Scores(epoch, 4500, train, 2.3 * (1 - learnt) + 0.01, accuracy * learnt, 2.3 - 1.2 * learnt + 0.02 * epoch)


def a_sha256(name: str) -> str:
    return name.encode().hex()[:64].ljust(64, "0")


def repetitions_of(p50: float, processes: int = 5, samples: int = 400) -> tuple[Repetition, ...]:
    """Processes, each a little slower than the one before, with a tail."""
    return tuple(
        Repetition(
            order=process, attempt=1, phases_s={}, warmup_ns=(),
            samples_ns=tuple(
                int(p50 * 1e6 * (1 + 0.004 * process + 0.03 * math.sin(index) + 0.5 * (index % 97 == 96)))
                for index in range(samples)
            ),
            device_ns=(), repeated_ns=(), measure_s=1.0, began_s=0.0, frames=0, dropped=0, context=(), readings=(),
            canary=Absent("a double"), baseline_rss_bytes=1, peak_rss_bytes=1, device_peak_bytes=Absent("a double"),
            by_source={}, unlike=(), nonfinite=(), fallback="", threads_seen=2, cpus=(0, 1),
        )
        for process in range(processes)
    )  # fmt: skip


@pytest.fixture
def keep(double: SimpleNamespace, workspace: Workspace) -> Keeper:
    return Keeper(double, workspace)


@pytest.fixture(scope="session")
def world(double: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Three models, two sizes, two seeds, three precisions: measured, estimated for a board, reported."""
    keep = Keeper(double, Workspace(tmp_path_factory.mktemp("world") / "workspace"))
    for model, (parameters, accuracy, p50) in MODELS.items():
        regimes = [(samples, seed) for samples in (5000, 10000) for seed in (0, 1)]
        runs = [keep.run(model, n, seed, accuracy + n / 1000 + seed, parameters) for n, seed in regimes]
        for precision, factor in (("fp32", 1.0), ("fp16", 0.6), ("int8", 0.4)):
            row = {"run": runs[-1], "precision": precision, "accuracy": accuracy + 9 - factor}
            for batch in (1, 8, 32):
                ms = p50 * factor * batch**0.8 * (2.2 if (batch, model) == (32, "beta_net") else 1.0)
                memory = Memory(150_000_000 + 4 * parameters, 4 * parameters, Absent("no GPU"), {}, "the process")
                energy = Energy(6.5 * p50 * factor, 12.0, 4.0, "double sensor", 3.0)
                keep.row(**row, p50=ms, batch=batch, repetitions=repetitions_of(ms), memory=memory, energy=energy)
            slow = 5 * p50 * factor
            nothing = Memory(*[Absent("estimated")] * 3, {}, "the process")
            keep.row(**row, p50=slow, half=0.3 * slow, target="double-board", memory=nothing, **ESTIMATED)
        keep.reported_run(model.replace("_", "-").title(), accuracy - 8)
    keep.reported_row("Alpha-Net", 9.89)
    records = records_of(keep.workspace)
    return Sources(records, frames_of(records))
