"""How a checkpoint is found, and what is refused at the door."""

import os
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_export.checkpoint import checkpoint_from_path, finished_runs

RUN = "tiny-digits-200-s0"


@pytest.mark.parametrize("name", ["", "checkpoint.json", "model.safetensors"])
def test_a_run_is_found_by_its_folder_or_either_file(finished: Path, name: str) -> None:
    assert checkpoint_from_path(finished / "runs" / RUN / name, Workspace(finished)).card.run == RUN


def test_a_run_is_found_by_its_name(finished: Path) -> None:
    assert checkpoint_from_path(Path(RUN), Workspace(finished)).weights.exists()


def test_an_unknown_run_names_the_nearest(finished: Path) -> None:
    with pytest.raises(VlmError, match=f"tiny-digits-200-s1 does not exist.*did you mean {RUN}"):
        checkpoint_from_path(Path("tiny-digits-200-s1"), Workspace(finished))


def test_an_unfinished_run_says_how_to_finish_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mobilenetv3_large_100-digits-1149-s3"
    folder.mkdir(parents=True)
    with pytest.raises(VlmError, match="unfinished") as error:
        checkpoint_from_path(folder, Workspace(tmp_path))
    assert error.value.hint.endswith("with --resume")


def test_changed_weights_are_named(fresh: Path) -> None:
    weights = fresh / "runs" / RUN / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(VlmError, match=r"model\.safetensors is not the file that its card describes"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_weights_that_are_something_else_are_called_so(fresh: Path) -> None:
    (fresh / "runs" / RUN / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(VlmError, match="git-lfs pointer"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_weights_that_are_a_pipe_are_not_opened(fresh: Path) -> None:
    weights = fresh / "runs" / RUN / "model.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(VlmError, match="named pipe"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_a_damaged_card_names_its_field(fresh: Path) -> None:
    card = fresh / "runs" / RUN / "checkpoint.json"
    card.write_text(card.read_text().replace('"image_size":32', '"image_size":"32"'))
    with pytest.raises(VlmError, match=r"checkpoint\.json is damaged: backbone\.image_size"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


@pytest.mark.parametrize("name", ["best.pt", "best.pth", "best.PT2"])
def test_a_pickle_is_refused_with_the_reason_and_never_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(VlmError, match="executes what is in it"):
        checkpoint_from_path(tmp_path / name, Workspace(tmp_path))


def test_any_other_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(VlmError, match=r"notes\.txt is no checkpoint"):
        checkpoint_from_path(tmp_path / "notes.txt", Workspace(tmp_path))


def test_a_workspace_without_a_finished_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs" / "unfinished").mkdir(parents=True)
    with pytest.raises(VlmError, match="holds no finished run"):
        finished_runs(Workspace(tmp_path))
