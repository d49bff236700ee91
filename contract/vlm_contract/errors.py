"""The two ways in which a command says no."""


class VlmError(Exception):
    """The request or an input is wrong: what happened, what was expected and, in `hint`, what to type."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CheckFailed(VlmError):
    """The work ran, and a check said no: parity, a budget, an invalid measurement, a diverged run."""

    exit_code = 1
