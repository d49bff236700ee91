"""The folder is the registry: a logger is found by the name of its file, and imported only when it is asked for."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from vlm_contract.card import CheckpointCard, Scores
from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_train.loggers import closing_figures_of, figures_of, logger_named, logger_names


def test_every_file_of_the_folder_is_a_logger() -> None:
    assert logger_names() == ("mlflow", "tensorboard")


def test_the_registry_imports_no_logger() -> None:
    code = "import sys, vlm_train.loggers; assert not {'torch', 'mlflow', 'tensorboard'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_logger_names_the_nearest(folder: Path) -> None:
    with pytest.raises(VlmError, match=r"Unknown log 'tensorbord'; known: mlflow, tensorboard") as caught:
        logger_named("tensorbord", folder, folder.name, {})
    assert caught.value.hint == "--log tensorboard"


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_package_names_the_extra_that_installs_it(
    name: str, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VlmError, match=f"the extra '{name}'") as caught:
        logger_named(name, folder, folder.name, {})
    assert caught.value.hint == f"pip install 'vlm-edge[{name}]'"


def test_nothing_that_is_not_finite_is_logged(scores: list[Scores], card: CheckpointCard) -> None:
    bad = dataclasses.replace(scores[0], train_loss=float("nan"), validation_loss=float("inf"))
    assert figures_of(bad, 0.1) == {
        "accuracy_percent/train": 91.0,
        "accuracy_percent/validation": 81.0,
        "learning_rate": 0.1,
    }
    unscored = dataclasses.replace(card, test_accuracy_percent=Absent("never scored"))
    assert "best/accuracy_percent/test" not in closing_figures_of(unscored)
