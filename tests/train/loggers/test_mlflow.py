"""What MLflow answers when it is asked."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.card import CheckpointCard, Scores
from vlm_contract.errors import VlmError
from vlm_train.loggers import logger_named

for needed in ("mlflow", "sqlalchemy", "alembic"):
    pytest.importorskip(needed, reason="the extra 'mlflow' is not installed")

HYPERPARAMETERS = {"learning_rate": 1e-3, "optimizer": "AdamW"}


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def log(folder: Path, scores: list[Scores], card: CheckpointCard | None = None, **changes: Any) -> None:
    with logger_named("mlflow", folder, folder.name, HYPERPARAMETERS | changes) as logger:
        for each in scores:
            logger.epoch(each, 0.1 / each.epoch)
        if card:
            logger.finished(card)


def runs_in(database: Path) -> list[Any]:
    """The MLflow runs of the experiment, newest first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("vlm-edge")
    return list(client.search_runs([experiment.experiment_id]))


def points(database: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(f"sqlite:///{database}").get_metric_history(run.info.run_id, metric)
    return [(each.step, each.value) for each in history]


@pytest.fixture
def database(folder: Path) -> Path:
    return folder.parents[1] / "mlflow" / "mlflow.db"


def test_a_run_is_kept_in_the_workspace_without_a_server(
    folder: Path, database: Path, scores: list[Scores], card: CheckpointCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    log(folder, scores, card)
    (run,) = runs_in(database)
    assert (run.info.run_name, run.info.status) == (folder.name, "FINISHED")
    assert run.data.params == {"learning_rate": "0.001", "optimizer": "AdamW"}
    assert points(database, run, "accuracy_percent/validation") == [(1, 81.0), (2, 82.0), (3, 83.0)]
    assert points(database, run, "loss/train") == [(1, 0.5), (2, 0.25), (3, 0.5 / 3)]
    assert points(database, run, "learning_rate") == [(1, 0.1), (2, 0.05), (3, 0.1 / 3)]
    assert points(database, run, "best/accuracy_percent/test") == [(2, 81.5)]
    assert list(folder.iterdir()) == []


def test_a_run_that_was_cut_off_goes_on_and_shows_no_epoch_twice(
    folder: Path, database: Path, scores: list[Scores], card: CheckpointCard
) -> None:
    log(folder, scores[:2])
    (cut_off,) = runs_in(database)
    assert cut_off.info.status == "FAILED"
    log(folder, scores[1:], card)
    (run,) = runs_in(database)
    assert run.info.status == "FINISHED"
    assert points(database, run, "loss/train") == [(1, 0.5), (2, 0.25), (3, 0.5 / 3)]


def test_a_run_that_is_overwritten_is_another_one(
    folder: Path, database: Path, scores: list[Scores], card: CheckpointCard
) -> None:
    log(folder, scores, card)
    log(folder, scores, card)
    assert [run.info.status for run in runs_in(database)] == ["FINISHED", "FINISHED"]


def test_an_unfinished_run_of_other_hyperparameters_is_left_alone(
    folder: Path, database: Path, scores: list[Scores]
) -> None:
    log(folder, scores[:1])
    log(folder, scores[:2], learning_rate=2e-3)
    assert sorted(len(points(database, run, "loss/train")) for run in runs_in(database)) == [1, 2]


def test_the_store_that_the_environment_names_is_used(
    folder: Path, tmp_path: Path, scores: list[Scores], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    log(folder, scores)
    assert len(runs_in(tmp_path / "elsewhere.db")) == 1
    assert not (folder.parents[1] / "mlflow").exists()


def test_a_store_that_does_not_answer_is_named_without_its_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(VlmError, match="MLflow cannot be written") as caught:
        logger_named("mlflow", folder, folder.name, HYPERPARAMETERS)
    assert "secret" not in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in caught.value.hint


def test_mlflow_does_not_report_its_use(folder: Path, scores: list[Scores]) -> None:
    log(folder, scores[:1])
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
