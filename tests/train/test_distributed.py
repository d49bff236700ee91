"""Several processes train one run as one process would."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import read_record
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE
from vlm_train.distributed import Group

OPTIONS = ("--samples", "200", "--adapt", "stock", "--epochs", "3", "--threads", "1", "--precision", "fp32")


@given(st.integers(1, 300), st.integers(1, 8))
def test_the_shares_of_a_batch_are_disjoint_complete_and_even(images: int, size: int) -> None:
    shares = [list(range(images))[Group(torch.device("cpu"), rank, size).share(images)] for rank in range(size)]
    assert [image for share in shares for image in share] == list(range(images))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def train(workspace: Path, model: str, launcher: tuple[str, ...] = ()) -> Path:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    options = ["--workspace", str(workspace), "--model", model, *OPTIONS, "--quiet"]
    words = [sys.executable, *launcher, "-m", "vlm_train", *options]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return workspace / "runs" / f"{model}-digits-200-s0"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def two_processes() -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one_but_for_the_rounding_of_sums(tmp_path: Path) -> None:
    one, two = train(tmp_path / "one", "test_vit"), train(tmp_path / "two", "test_vit", two_processes())
    first, second = (load_file(folder / WEIGHTS_FILE) for folder in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    cards = [read_record(CheckpointCard, folder / CARD_FILE) for folder in (one, two)]
    assert cards[1].device.endswith(", 2 processes")
    assert cards[1].best.validation_loss == pytest.approx(cards[0].best.validation_loss, rel=1e-3)


@pytest.mark.slow
def test_the_weights_that_two_processes_keep_are_those_that_they_scored_batch_norms_included(tmp_path: Path) -> None:
    folder = train(tmp_path, "test_resnet", two_processes())
    card = read_record(CheckpointCard, folder / CARD_FILE)
    history = [json.loads(line) for line in (folder / HISTORY_FILE).read_text().splitlines()]
    best = next(scores for scores in history if scores["epoch"] == card.best.epoch)
    assert card.best.validation_loss == pytest.approx(best["validation_loss"], rel=1e-6)
