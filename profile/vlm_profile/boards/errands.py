"""What is said between this machine and the toolkit on a board: an order to it, and what it answers.

Both are JSON: an order is a file, an answer the last line of stdout. An error on the board comes here as itself.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vlm_contract.codec import FieldError, decode, encode, refuse_constant
from vlm_contract.console import printable
from vlm_contract.errors import CheckFailed, VlmError
from vlm_profile.protocol import Protocol
from vlm_profile.rows import Auto, Request
from vlm_targets.ssh import Done

T = TypeVar("T")
WORDS_SHOWN = 600  # characters of what a board says


@dataclass(frozen=True)
class Order:
    """A request, as far as a board is concerned: what is not here is settled before, or there."""

    artifacts: tuple[str, ...]  # paths beside the order's file
    batches: tuple[int, ...] | Auto
    threads: int | Auto | None
    streams: tuple[int, ...]
    fps: float | None
    runtime: str
    computes: str  # on which device, where the target's figures are of one
    input_shapes: dict[str, tuple[int, ...]]
    protocol: Protocol
    seed: int
    wait_quiet_s: float
    again: bool

    def request(self, folder: Path) -> Request:
        """As the board's own, its artifacts in `folder`."""
        same = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "artifacts"}
        return Request(artifacts=tuple(folder / path for path in self.artifacts), **same)


@dataclass(frozen=True)
class Environment:
    """Where the toolkit is installed on the board."""

    python: str
    made: bool  # just now


@dataclass(frozen=True)
class Stored:
    """What a board measured: files in `folder` there, those among them that stood there already, and sentences."""

    folder: str
    records: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: tuple[str, ...]
    noise: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A user's error on the board."""

    message: str
    hint: str
    exit_code: int


def order_of(request: Request, artifacts: tuple[str, ...]) -> Order:
    names = [name for name in Order.__dataclass_fields__ if name not in ("artifacts", "input_shapes")]
    same = {name: getattr(request, name) for name in names}
    return Order(artifacts=artifacts, input_shapes=dict(request.input_shapes), **same)


def answer(work: Callable[[], Any]) -> int:
    """On the board: do the work, and print what it came to, or the user's error; the exit code."""
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"):  # of the login shell: they are not for our environment
        os.environ.pop(name, None)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at its import; else it leaves a file in the temporary folder
    try:
        said, code = work(), 0
    except VlmError as error:
        said, code = Refusal(str(error), error.hint, error.exit_code), error.exit_code
    except OSError as error:
        said, code = Refusal(f"{error.filename or 'a file'}: {error.strerror}.", "df -h, and free some space", 2), 2
    print(json.dumps({type(said).__name__: encode(said)}, allow_nan=False))
    sys.stdout.flush()
    return code


def answered(done: Done, kind: type[T], address: str) -> T:
    """Here: what the board answered. Raises its VlmError, or one of ours where it answered with something else."""
    lines = done.out.strip().splitlines()
    try:
        ((name, value),) = json.loads(lines[-1], parse_constant=refuse_constant).items()
        if name == "Refusal":
            raise _refused(decode(Refusal, value), address)
        if name != kind.__name__ or done.code != 0:
            raise ValueError(f"{name} with exit code {done.code}")
        found: T = decode(kind, value)
        return found
    except (IndexError, ValueError, AttributeError, RecursionError, FieldError) as error:
        said = printable(done.err.strip().splitlines()[-1])[:WORDS_SHOWN] if done.err.strip() else printable(str(error))
        raise VlmError(
            f"The toolkit on {address} ended with exit code {done.code} and no answer: {said}.",
            hint="the same command with --debug; or see dmesg on the board, where its memory may have run out",
        ) from None


def _refused(refusal: Refusal, address: str) -> VlmError:
    """The board's error, as one of here: its words escaped, and no more of them than a paragraph."""
    kind = CheckFailed if refusal.exit_code == CheckFailed.exit_code else VlmError
    return kind(f"{address}: {printable(refusal.message)[:WORDS_SHOWN]}", hint=printable(refusal.hint)[:WORDS_SHOWN])
