"""What contradicts itself is refused before anything is loaded."""

from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_export import Wanted


@pytest.mark.parametrize(
    ("asked", "says", "hint"),
    [
        ({"precisions": ("fp61",)}, "Unknown precision 'fp61'", "--precision fp16"),
        ({"embed": True, "half_io": True}, "takes bytes", "--io fp32"),
        ({"embed": True, "engines": True}, "prepared outside", "--preprocess outside"),
        ({"compute_capabilities": ("86",)}, "the GPU that it runs on alone", "--flavor rtx"),
        ({"compute_capabilities": ("sm86",), "flavor": "rtx"}, "'sm86' is no compute capability", "--sm 75,86,120"),
        ({"flavor": "rtx", "target": "jetson"}, "for RTX cards alone", "--flavor rtx --sm 86"),
        ({"flavor": "rtx", "host": "user@board"}, "built here", "without --host"),
        ({"host": "user@board"}, "nothing says what it is", "--target jetson"),
        ({"host": "user@board", "target": "localhost"}, "nothing says what it is", "--target jetson"),
        ({"host": "user@board", "target": "jetson", "builds": 2}, "on a GPU of this machine", "--builds 1"),
        ({"flavor": "zzz"}, "no flavor", "--flavor rtx"),
        ({"precisions": ()}, "No precision", "--precision"),
        ({"batches": ()}, "from 1 to 4096", "--batch 1,8,32"),
        ({"batches": (0,)}, "from 1 to 4096", "--batch 1,8,32"),
        ({"batches": (8, 1)}, "rising", "--batch 1,8,32"),
        ({"batches": (4_000_000_000,)}, "from 1 to 4096", "--batch 1,8,32"),
        ({"builds": 0}, "once or more", "--builds 3"),
        ({"max_drop_points": float("nan")}, "0 to 100 points", "--max-drop 1"),
        ({"workspace_mib": -5}, "1 MiB or more", "--workspace-mib 1024"),
    ],
)
def test_a_contradiction_says_what_to_type(asked: dict[str, Any], says: str, hint: str) -> None:
    with pytest.raises(VlmError, match=says) as error:
        Wanted(**asked)
    assert hint in error.value.hint


@pytest.mark.parametrize(("batches", "fixed"), [((1, 8, 32), None), ((8,), 8)])
def test_one_batch_is_the_only_one_and_several_are_any(batches: tuple[int, ...], fixed: int | None) -> None:
    assert Wanted(batches=batches).fixed_batch == fixed
