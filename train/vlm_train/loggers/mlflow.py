"""MLflow: the store that `$MLFLOW_TRACKING_URI` names, or a database in the workspace, which needs no server."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm_contract.card import CheckpointCard, Scalar, Scores
from vlm_contract.errors import VlmError
from vlm_train.loggers import closing_figures_of, figures_of

EXPERIMENT = "vlm-edge"
RUN_TAG = "vlm-edge.run"
LAST = "loss/validation"  # the metric that tells which epochs are there


class Logger:
    """Writes to one MLflow run; a run that was cut off is found by its tag and continued."""

    def __init__(self, folder: Path, run: str, hyperparameters: Mapping[str, Scalar]) -> None:
        # Read when mlflow is imported: it reports its use over the network, and each table that it creates.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self._metric: Any = Metric
        self._uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        artifacts = None
        if not self._uri:
            store = folder.parents[1].absolute() / "mlflow"
            self._uri, artifacts = local_store(store), (store / "artifacts").as_uri()
        with self._errors_named():
            self._client: Any = MlflowClient(self._uri)
            self._id, self._logged = self._opened(run, {k: str(v) for k, v in hyperparameters.items()}, artifacts)
        self._status = "FAILED"  # until the run ends well

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *_: object) -> None:
        with self._errors_named():
            self._client.set_terminated(self._id, self._status)

    def epoch(self, scores: Scores, learning_rate: float) -> None:
        if scores.epoch > self._logged:
            self._log(figures_of(scores, learning_rate), scores.epoch)

    def finished(self, card: CheckpointCard) -> None:
        self._log(closing_figures_of(card), card.best.epoch)
        self._status = "FINISHED"

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        with self._errors_named():
            self._client.log_batch(self._id, [self._metric(k, v, now_ms, step) for k, v in figures.items()])

    def _opened(self, run: str, parameters: Mapping[str, str], artifacts: str | None) -> tuple[str, int]:
        """The MLflow run's id and last epoch: an unfinished one with these parameters goes on, else one is made."""
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        parent = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT, artifacts)
        unfinished = f"tags.`{RUN_TAG}` = '{run}' and attributes.status != 'FINISHED'"
        for found in self._client.search_runs([parent], unfinished):
            if found.data.params == parameters:
                self._client.update_run(found.info.run_id, status="RUNNING")
                history = self._client.get_metric_history(found.info.run_id, LAST)
                return found.info.run_id, max((metric.step for metric in history), default=0)
        made = self._client.create_run(parent, tags={RUN_TAG: run}, run_name=run)
        for name, value in parameters.items():
            self._client.log_param(made.info.run_id, name, value)
        return made.info.run_id, 0

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            said = " ".join(str(error).replace(self._uri, "the store").split())[:300]
            raise VlmError(
                f"MLflow cannot be written: {said}",
                hint="check $MLFLOW_TRACKING_URI, or --log without mlflow; --resume continues a run that was cut off",
            ) from None


def local_store(folder: Path) -> str:
    """The address of a SQLite database in `folder`; MLflow no longer takes plain files."""
    import alembic  # noqa: F401  # mlflow-skinny needs both for a database, and installs neither
    import sqlalchemy  # noqa: F401

    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"
