"""On a board, in its private environment: measure what an order asks for, as on any host.

    python -I -m vlm_profile.boards.onboard_measure ORDER.json

Records stay in a workspace in the user's data folder: the run that comes after a lost connection goes on from them.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from vlm_contract.codec import decode
from vlm_contract.console import INTERRUPTED, LiveLine
from vlm_contract.workspace import Workspace
from vlm_profile.boards.errands import Order, Stored, answer
from vlm_profile.boards.onboard_environment import data_folder
from vlm_profile.measuring import measure


class Lines(LiveLine):
    """Progress in lines of stderr, which who ordered it reads."""

    def show(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """A line that is written stays."""


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)  # as the connection's end is announced: workers are ended first
    order = Path(sys.argv[1])
    os.chdir(order.parent)  # workers look for modules in the current folder before Python 3.11
    try:
        return answer(lambda: stored(decode(Order, json.loads(order.read_bytes())), order.parent, data_folder()))
    except KeyboardInterrupt:
        return INTERRUPTED


def stored(order: Order, folder: Path, home: Path) -> Stored:
    """Raises VlmError where nothing could be measured."""
    measured = measure(Workspace(home / "workspace"), order.request(folder), Lines())
    places = {path.parent for path in measured.records}
    assert len(places) == 1
    return Stored(
        folder=str(places.pop()),
        records=tuple(path.name for path in measured.records),
        kept=tuple(sorted(path.name for path in measured.kept)),
        skipped=measured.skipped,
        noise=measured.noise,
        advice=measured.advice,
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
