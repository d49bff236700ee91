"""A finished run that was never trained: seeded weights and batch statistics far from those of a fresh network."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.card import CheckpointCard, Effort, Scores
from vlm_contract.codec import Absent, write_record
from vlm_contract.workspace import CARD_FILE, WEIGHTS_FILE, Workspace

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def perturbed(module: Any, pixels: Any) -> Any:
    """Move every weight, and let images move the batch statistics: those of a fresh net, 0 and 1, hide errors."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 0.2))
        module.train()
        for batch in torch.from_numpy(pixels).split(64):
            module(batch)
    return module.eval()


def make_run(root: Path, model: str, run: str) -> Path:
    """Write one run's weights and card under `root`; its folder."""
    import torch
    from safetensors.torch import save_file

    from vlm_train.backbones import backbone_from_timm, module_from_backbone
    from vlm_train.data import normalised, open_data

    data, splits = open_data("digits", 200, 0)
    mean, std = (0.2, 0.3, 0.4), (0.3, 0.35, 0.4)  # unlike by channel, so that a swap shows
    backbone = backbone_from_timm(model, splits.classes, 32, mean, std)
    torch.manual_seed(7)
    module = perturbed(module_from_backbone(backbone), normalised(splits.train.pixels, mean, std))
    folder = Workspace(root).run(run)
    folder.mkdir(parents=True)
    save_file(module.state_dict(), folder / WEIGHTS_FILE)
    scores = Scores(1, data.train_samples, 50.0, 1.0, 50.0, 1.0)
    card = CheckpointCard(
        run=run,
        backbone=backbone,
        start="random weights, seed 7",
        data=data,
        recipe="none",
        hyperparameters={"epochs": 1},
        precision="never trained",
        best=scores,
        last=scores,
        test_accuracy_percent=Absent("never scored"),
        effort=Effort(1.0, 1.0, 1.0, 1.0, *[Absent("never trained")] * 3),
        weights_sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        device="cpu",
        versions={},
        finished_utc="2025-01-01T00:00:00+00:00",
    )
    write_record(card, folder / CARD_FILE)
    return folder


@pytest.fixture
def run_maker() -> Callable[[Path, str, str], Path]:
    return make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one run, `tiny-digits-200-s0`; do not write into it."""
    root = tmp_path_factory.mktemp("finished")
    make_run(root, "test_resnet", "tiny-digits-200-s0")
    return root


@pytest.fixture(scope="session")
def done(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same workspace with its two artifacts; do not write into it."""
    from vlm_export import export_checkpoint

    root = tmp_path_factory.mktemp("done") / "workspace"
    shutil.copytree(finished, root)
    export_checkpoint(Path("tiny-digits-200-s0"), Workspace(root))
    return root


@pytest.fixture
def fresh(finished: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own with one run."""
    return shutil.copytree(finished, tmp_path / "workspace")


@pytest.fixture
def exported(done: Path, tmp_path: Path) -> Path:
    """A workspace of the test's own with one run and its two artifacts."""
    return shutil.copytree(done, tmp_path / "workspace")
