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

# What it prints is worded as trtexec's own log. It takes the flags that are named in $ACCEPTED, next to it, and no
# others; what $BEHAVIOUR says is done in the place of a build.
DOUBLE = r"""#!/bin/sh
# A test double of trtexec: it builds nothing, and writes down how it was called.
here=$(dirname "$0")
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v$(cat "$here/version")] # a test double"
echo "[01/01/2025-00:00:00] [I] Selected Device: test double"
echo "[01/01/2025-00:00:00] [I] Compute Capability: 8.7"
for word in "$@"; do
  grep -qx -e "${word%%=*}" "$here/accepted" || { echo "[01/01/2025-00:00:00] [E] Unknown option: $word" >&2; exit 1; }
  case $word in
    --loadEngine=*) echo "[01/01/2025-00:00:00] [E] Error opening engine file: ${word#*=}" >&2; exit 1 ;;
    --onnx=*) onnx=${word#*=} ;;
    --saveEngine=*) engine=${word#*=} ;;
    --exportLayerInfo=*) layers=${word#*=} ;;
    --timingCacheFile=*) timings=${word#*=} ;;
  esac
done
printf '%s\n' "$@" >"$here/called"
. "$here/behaviour"
echo "[01/01/2025-00:00:00] [I] [TRT] Total Activation Memory: 4096 bytes"
echo "[01/01/2025-00:00:00] [I] [TRT] Total Activation Memory: 1024 bytes"
echo "[01/01/2025-00:00:00] [I] [TRT] Total Weights Memory: 512 bytes"
echo "[01/01/2025-00:00:00] [I] Engine built in 1.25 sec."
{ echo 'engine of a test double, from'; sha256sum <"$onnx"; } >"$engine"
[ -z "$layers" ] || echo '{"Layers": []}' >"$layers"
[ -z "$timings" ] || echo again >>"$timings"
"""
COMMON = (
    "--onnx",
    "--saveEngine",
    "--loadEngine",
    "--minShapes",
    "--optShapes",
    "--maxShapes",
    "--noTF32",
    "--timingCacheFile",
)
LAYERS = ("--profilingVerbosity", "--exportLayerInfo")
# What each version accepts of the flags that the versions differ in.
ACCEPTED = {
    "8.2.1": ("--workspace", "--fp16", "--int8", "--buildOnly"),
    "8.4.1": (*LAYERS, "--workspace", "--memPoolSize", "--fp16", "--int8", "--buildOnly"),
    "8.5.2": (*LAYERS, "--workspace", "--memPoolSize", "--fp16", "--int8", "--buildOnly"),
    "8.6.1": (*LAYERS, "--workspace", "--memPoolSize", "--fp16", "--int8", "--skipInference"),
    "10.3.0": (*LAYERS, "--memPoolSize", "--fp16", "--int8", "--stronglyTyped", "--skipInference"),
    "11.4.1": (*LAYERS, "--memPoolSize", "--skipInference"),
}
BANNERS = {"8.2.1": 8201, "8.4.1": 8401, "8.5.2": 8502, "8.6.1": 8601, "10.3.0": 100300, "11.4.1": 110401}


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
def trtexec_flags() -> dict[str, set[str]]:
    """What each version's trtexec accepts."""
    return {version: {*COMMON, *flags} for version, flags in ACCEPTED.items()}


@pytest.fixture
def double(loopback: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that starts a board with a double of one version's trtexec; it gives the loopback board."""
    from vlm_export import board
    from vlm_targets.ssh import Board

    def start(version: str = "10.3.0", behaviour: str = "") -> Any:
        there = loopback()
        folder = there.home / "bin"
        (folder / "trtexec").write_text(DOUBLE)
        (folder / "trtexec").chmod(0o755)
        (folder / "version").write_text(str(BANNERS[version]))
        (folder / "accepted").write_text("\n".join((*COMMON, *ACCEPTED[version])) + "\n")
        (folder / "behaviour").write_text(behaviour)
        monkeypatch.setattr(board, "Board", partial(Board, config=there.config))
        return there

    return start
