"""The command as a user meets it: trained, kept, cut off, continued, refused."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm_contract.card import CheckpointCard, Scores
from vlm_contract.codec import read_record
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, Workspace
from vlm_train import train as train_stage
from vlm_train.__main__ import main
from vlm_train.backbones import module_from_checkpoint
from vlm_train.recipe import recipe_named
from vlm_train.train import RESUME_FILE, Request, best_of, train_model

SMALL = ("--model", "test_resnet", "--samples", "100", "--adapt", "stock", "--batch-size", "20", "--threads", "1",
         "--precision", "fp32")  # fmt: skip
RUN = "test_resnet-digits-100-s0"
RECIPE = recipe_named("scratch", "test_resnet", "digits", adapt="stock", batch_size=20, epochs=2)
REQUEST = Request("test_resnet", "digits", 100, 0, RECIPE, precision="fp32")


def train(workspace: Path, *words: str) -> int:
    return main(["--workspace", str(workspace), *SMALL, *words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished run of two epochs. Tests leave it as it is."""
    workspace = tmp_path_factory.mktemp("trained")
    train_model(REQUEST, Workspace(workspace), threads=1)
    return workspace


def test_a_finished_run_is_weights_history_and_a_card_that_agree(trained: Path) -> None:
    folder = trained / "runs" / RUN
    card = read_record(CheckpointCard, folder / CARD_FILE)
    history = [Scores(**json.loads(line)) for line in (folder / HISTORY_FILE).read_text().splitlines()]
    assert card.weights_sha256 == hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert [scores.epoch for scores in history] == [1, 2]
    assert (card.best.epoch, card.last.epoch) == (best_of(history).epoch, 2)
    assert card.best.validation_loss == best_of(history).validation_loss
    assert (card.best.train_scored, history[0].train_scored) == (90, 10)
    assert card.device == "cpu, 1 thread"
    assert not (folder / RESUME_FILE).exists()


def test_the_weights_kept_are_those_that_the_card_scores(trained: Path) -> None:
    import numpy as np
    import torch

    from vlm_train.data import normalised, splits_of

    folder = trained / "runs" / RUN
    card = read_record(CheckpointCard, folder / CARD_FILE)
    splits = splits_of(card.data)
    module = module_from_checkpoint(card.backbone, folder / WEIGHTS_FILE)
    scored = ((splits.train, card.best.train_accuracy_percent), (splits.test, card.test_accuracy_percent))
    for images, percent in ((splits.validation, card.best.validation_accuracy_percent), *scored):
        with torch.inference_mode():
            logits = module(torch.from_numpy(normalised(images.pixels, card.backbone.mean, card.backbone.std)))
        assert 100 * np.mean(logits.argmax(1).numpy() == images.labels) == pytest.approx(percent)


def test_the_best_epoch_is_the_most_accurate_and_of_several_that_with_the_lowest_loss() -> None:
    history = [
        Scores(epoch, 10, 0.0, 0.0, *validation) for epoch, validation in enumerate([(90, 0.5), (91, 0.4), (91, 0.3)])
    ]
    assert best_of(history).epoch == 2


def test_the_same_command_again_keeps_the_run_without_torch_or_timm(trained: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from vlm_train.__main__ import main; "
        f"sys.exit(main({['--workspace', str(trained), *SMALL, '--epochs', '2', '--json']!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"Kept {trained / 'runs' / RUN}" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["runs"][-1]["kept"] is True


def test_the_same_name_with_other_options_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(trained, "--epochs", "3", "--lr", "0.1") == 2
    said = capsys.readouterr().err
    assert "epochs 2 (now 3), learning_rate 0.003 (now 0.1)" in " ".join(said.split())
    assert "Try: --name NAME, or --overwrite" in said


def test_weights_that_cannot_be_loaded_leave_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "weights.pt").write_text("not weights")
    assert train(tmp_path, "--weights", str(tmp_path / "weights.pt")) == 2
    assert "holds no weights" in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_finished_run_whose_weights_changed_is_not_kept(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / CARD_FILE).write_bytes((trained / "runs" / RUN / CARD_FILE).read_bytes())
    (folder / WEIGHTS_FILE).write_bytes(b"other")
    with pytest.raises(VlmError, match=r"not what checkpoint\.json beside it describes"):
        train_model(REQUEST, Workspace(tmp_path))


def weights_sha256(workspace: Path) -> str:
    return read_record(CheckpointCard, workspace / "runs" / RUN / CARD_FILE).weights_sha256


def kill_after_epochs(workspace: Path, epochs: int, *words: str) -> None:
    """Start a training run in a process of its own, and kill it once so many epochs stand in its history."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vlm_train", "--workspace", str(workspace), *SMALL, *words]
    history = workspace / "runs" / RUN / HISTORY_FILE
    resume = workspace / "runs" / RUN / RESUME_FILE
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None:
            if resume.exists() and len(history.read_text().splitlines()) >= epochs:
                process.kill()
            time.sleep(0.005)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_continued_ends_with_the_bits_of_one_never_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    kill_after_epochs(cut, 2, "--epochs", "12")
    assert train(cut, "--epochs", "12") == 2
    assert "--resume" in capsys.readouterr().err
    assert train(cut, "--epochs", "11", "--resume") == 2
    assert "epochs 12 (now 11)" in capsys.readouterr().err
    assert train(cut, "--epochs", "12", "--resume") == 0
    assert train(whole, "--epochs", "12", "--resume") == 0
    assert weights_sha256(cut) == weights_sha256(whole)
    assert (cut / "runs" / RUN / HISTORY_FILE).read_text() == (whole / "runs" / RUN / HISTORY_FILE).read_text()


def test_averaged_weights_are_continued_too(tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    kill_after_epochs(cut, 2, "--epochs", "8", "--ema", "0.9")
    assert train(cut, "--epochs", "8", "--ema", "0.9", "--resume") == 0
    assert train(whole, "--epochs", "8", "--ema", "0.9") == 0
    assert weights_sha256(cut) == weights_sha256(whole)


def test_a_run_without_a_better_epoch_ends_early_when_told_to(tmp_path: Path) -> None:
    assert train(tmp_path, "--epochs", "50", "--lr", "1e-9", "--patience", "2") == 0
    card = read_record(CheckpointCard, tmp_path / "runs" / RUN / CARD_FILE)
    assert card.last.epoch - card.best.epoch == 2 < 50


def test_several_seeds_are_several_runs_and_a_name_is_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--epochs", "1", "--seeds", "0,1", "--json") == 0
    printed = capsys.readouterr().out
    assert [run["run"] for run in json.loads(printed.splitlines()[-1])["runs"]] == [RUN, RUN.replace("s0", "s1")]
    assert "2 seeds" in printed
    assert train(tmp_path, "--seeds", "0,1", "--name", "one") == 2
    assert "each seed is a run of its own" in capsys.readouterr().err


@pytest.mark.slow
def test_a_compiled_network_leaves_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    assert train(tmp_path, "--model", "pixels", "--epochs", "1", "--compile") == 0
    folder = tmp_path / "runs" / "pixels-digits-100-s0"
    card = read_record(CheckpointCard, folder / CARD_FILE)
    assert card.hyperparameters["compiled"] is True
    assert module_from_checkpoint(card.backbone, folder / WEIGHTS_FILE)


def test_an_interruption_says_how_to_continue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "vlm_train", "--workspace", str(tmp_path), *SMALL, "--epochs", "500"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "runs" / RUN / RESUME_FILE).exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130
    assert "with --resume continues" in " ".join(said.split())
    assert not (tmp_path / "runs" / RUN / CARD_FILE).exists()


def test_a_diverging_run_fails_writes_no_card_and_keeps_the_last_good_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_train.loop import Loop

    loss, steps = Loop._loss, iter(range(100))
    monkeypatch.setattr(Loop, "_loss", lambda *given: loss(*given) * (1 if next(steps) < 6 else float("nan")))
    with pytest.raises(CheckFailed, match=r"became nan in epoch 2, step 3 of 4"):
        train_model(REQUEST, Workspace(tmp_path), threads=1)
    folder = tmp_path / "runs" / RUN
    assert not (folder / CARD_FILE).exists()
    assert (folder / WEIGHTS_FILE).exists()
    assert len((folder / HISTORY_FILE).read_text().splitlines()) == 1


def test_a_full_disk_in_the_middle_of_a_checkpoint_ends_the_run_and_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written, whole = [], train_stage.write_whole

    def write(path: Path, data: str | bytes) -> None:
        written.append(path.name)
        with monkeypatch.context() as patched:
            if len(written) > 4:
                patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
            whole(path, data)

    monkeypatch.setattr(train_stage, "write_whole", write)
    assert train(tmp_path, "--epochs", "9") == 2
    assert "could not be written: No space left on device" in " ".join(capsys.readouterr().err.split())
    folder = tmp_path / "runs" / RUN
    assert len((folder / HISTORY_FILE).read_text().splitlines()) <= 2
    assert sorted(path.name for path in folder.iterdir()) == [".lock", HISTORY_FILE, WEIGHTS_FILE, RESUME_FILE]
    monkeypatch.undo()
    assert train(tmp_path, "--epochs", "9", "--resume") == 0


def test_overwriting_trains_anew_and_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    train_model(REQUEST, Workspace(tmp_path), threads=1)
    again = train_model(REQUEST, Workspace(tmp_path), overwrite=True, threads=1)
    assert not again.kept
    assert again.card.weights_sha256 == weights_sha256(trained)


def test_a_wrong_request_leaves_the_earlier_run_intact(trained: Path) -> None:
    with pytest.raises(VlmError, match="no model 'resnet5O'"):
        train_model(Request("resnet5O", name=RUN), Workspace(trained), overwrite=True)
    assert train_model(REQUEST, Workspace(trained)).kept


def test_a_damaged_resume_state_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / RESUME_FILE).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(VlmError, match="is damaged; the run cannot be continued"):
        train_model(REQUEST, Workspace(tmp_path), resume=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", "-1"), "The seed is -1"),
        (("--name", "../x"), "cannot name a folder"),
        (("--threads", "0"), "0 threads were asked for"),
        (("--epochs", "0"), "epochs is 0"),
        (("--samples", "1438"), "1437 in 10 classes"),
        (("--recipe", "scrach"), "Unknown recipe"),
        (("--adapt", "tiny"), "no way to adapt a model"),
        (("--precision", "fp8"), "fp8"),
        (("--weights", "nowhere.safetensors"), "no file of weights"),
        (("--log", "tensorbord"), "tensorbord"),
        (("--lr", "0"), "learning rate is 0"),
        (("--seeds", "0,x"), "no list of seeds"),
    ],
)
def test_a_wrong_option_ends_with_2_and_writes_nothing(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
