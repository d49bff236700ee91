"""A run that was never trained, with weights and statistics far from a fresh network's; a board with a trtexec."""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.card import CheckpointCard, Effort, Scores
from vlm_contract.codec import Absent, write_record
from vlm_contract.workspace import CARD_FILE, WEIGHTS_FILE, Workspace

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

EMULATOR = Path(__file__).parents[1] / "emulators" / "trtexec.py"


def perturbed(module: Any, pixels: Any, deviation: float) -> Any:
    """Move every weight, and let images move the batch statistics: those of a fresh net, 0 and 1, hide errors."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (deviation if parameter.ndim > 1 else 0.2))
        module.train()
        for batch in torch.from_numpy(pixels).split(64):
            module(batch)
    return module.eval()


def make_run(root: Path, model: str, run: str, deviation: float = 0.05) -> Path:
    """Write one run's weights and card under `root`; its folder.

    `deviation` is that of the noise on matrices and kernels. Deep networks bear less of it than tiny ones.
    """
    import torch
    from safetensors.torch import save_file

    from vlm_train.backbones import backbone_from_timm, module_from_backbone
    from vlm_train.data import normalised, open_data

    data, splits = open_data("digits", 200, 0)
    mean, std = (0.2, 0.3, 0.4), (0.3, 0.35, 0.4)  # unlike by channel, so that a swap shows
    backbone = backbone_from_timm(model, splits.classes, 32, mean, std)
    torch.manual_seed(7)
    module = perturbed(module_from_backbone(backbone), normalised(splits.train.pixels, mean, std), deviation)
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


@pytest.fixture(scope="session")
def run_maker() -> Callable[..., Path]:
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


@pytest.fixture(scope="session")
def rtx() -> None:
    """Skips where TensorRT-RTX is not installed."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("TensorRT-RTX is not installed: pip install 'vlm-edge[trt-rtx]'")


@pytest.fixture(scope="session")
def emulator() -> Any:
    """The module of the emulator of trtexec."""
    spec = importlib.util.spec_from_file_location("emulated_trtexec", EMULATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def trtexec_flags(emulator: Any) -> dict[str, set[str]]:
    """What each version's trtexec accepts."""
    return {version: {*emulator.COMMON, *flags} for version, flags in emulator.ACCEPTED.items()}


@pytest.fixture
def double(
    loopback: Callable[..., Any], emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """A function that starts a board with an emulator of one version's trtexec, which computes true outputs.

    Its files are those of a recorded tree; that of a Jetson Orin Nano where no other is named. It gives the loopback
    board.
    """
    from emulated_jetson import unpacked

    from vlm_export import board
    from vlm_targets.ssh import Board

    def start(version: str = "10.3.0", tree: str = "jetson-orin-nano", **settings: Any) -> Any:
        there = loopback()
        root = unpacked(tree, tmp_path / "tree of the board")
        (there.home / ".bashrc").write_text(f"export VLM_EDGE_ROOT='{root}'\n")
        emulator.install(there.home / "bin", version, **{"computes": True, **settings})
        monkeypatch.setattr(board, "Board", partial(Board, config=there.config))
        return there

    return start
