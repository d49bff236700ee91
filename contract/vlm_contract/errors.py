"""The two ways in which a command says no."""

import difflib
from collections.abc import Sequence


class VlmError(Exception):
    """The request or an input is wrong: what happened, what was expected and, in `hint`, what to type."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CheckFailed(VlmError):
    """The work ran, and a check said no: parity, a budget, an invalid measurement, a diverged run."""

    exit_code = 1


def check_known(option: str, name: str, known: Sequence[str]) -> None:
    """Raise VlmError with the nearest name unless `name` is one of those that `--option` takes."""
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise VlmError(f"Unknown {option} {name!r}; known: {', '.join(known)}.", hint=f"--{option} {nearest}")
