"""What a run's epochs scored is read line by line; a damaged line is refused by the file's name."""

import json
from pathlib import Path

import pytest

from vlm_contract.card import Scores
from vlm_contract.codec import encode
from vlm_contract.errors import VlmError
from vlm_contract.history import history_of

EPOCHS = tuple(Scores(epoch, 100, 50.0 + epoch, 1.0, 40.0 + epoch, 1.5) for epoch in (1, 2, 3))


def test_epochs_come_back_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("\n".join(json.dumps(encode(epoch)) for epoch in EPOCHS) + "\n")
    assert history_of(tmp_path) == EPOCHS


def test_a_run_whose_first_epoch_has_not_ended_has_none(tmp_path: Path) -> None:
    assert history_of(tmp_path) == ()


@pytest.mark.parametrize("line", ["{", '{"epoch": 1}', json.dumps(encode(EPOCHS[0])).replace("1.5", "NaN")])
def test_a_damaged_line_names_the_file(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text(line)
    with pytest.raises(VlmError, match=r"history\.jsonl is damaged"):
        history_of(tmp_path)
