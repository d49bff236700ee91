"""Hyperparameters out of their range are refused."""

from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_train.recipe import Recipe


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
        ({"batch_size": 1}, "batch size is 1; expected 2 or more"),
        ({"learning_rate": 0.0}, "learning rate is 0.0; expected more than 0"),
        ({"learning_rate": -1.0}, "expected more than 0"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"learning_rate": float("inf")}, "learning rate is inf"),
        ({"weight_decay": -0.1}, "weight decay is -0.1; expected 0.0 or more"),
        ({"shift_pixels": -1}, "shift pixels is -1"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_expected(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(VlmError, match=said):
        Recipe(**setting)
