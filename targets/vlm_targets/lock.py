"""A board is one person's at a time: a lock on it that names its holder, and goes with the connection.

A process on the board holds it, in a session of its own, for as long as the connection's private folder is there; the
folder goes with the connection, however that ends. Where clocks are locked, the same process puts them back, and only
then lets go: who comes next finds the board as it was.
"""

import getpass
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone

from vlm_contract.console import LiveLine, printable
from vlm_contract.errors import VlmError
from vlm_targets.clocks import CLOCKS, LOCK_LIMIT_S, cannot_be_locked, not_put_back
from vlm_targets.reach import Machine

FOLDER = "/run/lock/vlm-edge"  # for all users of the board; in memory, so that a restart begins anew
ANSWER_LIMIT_S = 30.0
RETRY_S = 2.0
NAME_LIMIT = 200

# `flock` on a file opened for reading: kernels refuse to open what another user made in /run/lock for writing
# (fs.protected_regular). The folder is everybody's, and nobody there can move or remove what another made: so each
# holder's name stands in a file of its own, new and of no foreseeable name. A killed holder leaves its file behind:
# the latest is the one that counts.
_HOLDER = (
    CLOCKS
    + r"""
lock=${VLM_EDGE_ROOT:-}$1 folder=$2 who=$3 clocks=$4
answer() { printf '%s\n' "$*" >"$folder/lock.part" && mv -f "$folder/lock.part" "$folder/lock"; }
plain() { [ -f "$1" ] && [ ! -L "$1" ]; }
latest() {
  found=
  for each in holder.*; do
    plain "$each" && { [ -z "$found" ] || [ "$each" -nt "$found" ]; } && found=$each
  done
  [ -z "$found" ] || head -c 300 "$found"
}
command -v flock >/dev/null || { answer broken "flock, of util-linux, is not installed there"; exit; }
[ -d "$lock" ] || mkdir -p -m 1777 "$lock" || { answer broken "$lock cannot be written"; exit; }
[ -k "$lock" ] || chmod 1777 "$lock" || { answer broken "$lock cannot be made safe: it is another user's"; exit; }
cd "$lock" && { plain lock || (set -C; : >lock); plain lock && [ -r lock ]; } && exec 9<lock || {
  answer broken "$lock cannot be written"; exit; }
flock -n 9 || { answer busy "$(latest)"; exit; }
rm -f holder.*
holder=$(mktemp holder.XXXXXXXXXX) && chmod 644 "$holder" && printf '%s' "$who" >"$holder"
trap exit HUP INT PIPE TERM
trap 'said=$(put_back 2>&1) || printf "%s" "$said" >"$folder/clocks" ; rm -f "$holder"' EXIT
put_back || { answer unrestored; exit; }
[ -z "$clocks" ] || said=$(lock_clocks 2>&1) || { answer clocks "$said"; exit; }
answer held "$$" || exit
while [ -d "$folder" ]; do sleep 1 9<&- & wait "$!"; done
"""
)
# Beside what it starts it only waits for the answer: the lock is taken at once, or not.
_TAKE = r"""
holder=$1; shift
setsid sh -c "$holder" vlm-edge-lock "$@" >/dev/null 2>&1 </dev/null &
while kill -0 "$!" 2>/dev/null && [ ! -e "$2/lock" ]; do sleep 0.05; done
head -c 2000 "$2/lock"; rm -f "$2/lock"
"""
# A dead process that nobody has waited for still takes signals.
_ALIVE = 'grep -qs "^State:[[:space:]]*[^XZ[:space:]]" "/proc/$1/status"'
_LET_GO = rf"""
kill -TERM "$1" 2>/dev/null
while {_ALIVE}; do sleep 0.05; done
head -c 2000 "$2/clocks" 2>/dev/null
"""


@dataclass(frozen=True)
class Lock:
    """What is held."""

    machine: Machine
    process: int  # on the board

    def check(self) -> None:
        """Raise VlmError where the holder has gone: another may measure there now."""
        if self.machine.run(["sh", "-c", _ALIVE, "sh", str(self.process)], ANSWER_LIMIT_S).code != 0:
            raise VlmError(
                f"The lock on {named(self.machine)} is lost: its process there was ended.",
                hint="the same command continues; with --lock-clocks it puts the clocks back first",
            )


@contextmanager
def locked(
    machine: Machine,
    wait_s: float,
    line: LiveLine,
    *,
    clocks: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lock]:
    """Hold the board, with its clocks locked if `clocks`; both end with the block, or with the connection.

    Raises VlmError where another still holds it after `wait_s`, saying who, and where clocks can be neither locked nor
    put back.
    """
    end = clock() + wait_s
    while (answer := _taken(machine, clocks=clocks))[0] == "busy" and clock() < end:
        left = f"at most {end - clock():.0f} s more"
        line.show(f"waiting for {named(machine)}, {left}: it is in use by {_holder(answer[1])}")
        sleep(min(RETRY_S, max(0.0, end - clock())))
    process = _process(machine, *answer)
    try:
        yield Lock(machine, process)
    except BaseException:
        with suppress(VlmError):  # of a lost connection: the board lets go by itself
            _let_go(machine, process)
        raise
    _let_go(machine, process)


def named(machine: Machine) -> str:
    return machine.address or "this machine"


def _taken(machine: Machine, *, clocks: bool) -> tuple[str, str]:
    """The holder's answer, in its first word and the rest."""
    words = [FOLDER, machine.folder, _ourselves(), "lock" if clocks else ""]
    said = machine.run(["sh", "-c", _TAKE, "sh", _HOLDER, *words], ANSWER_LIMIT_S + LOCK_LIMIT_S)
    kind, _, rest = said.out.strip().partition(" ")
    return kind, rest


def _process(machine: Machine, kind: str, rest: str) -> int:
    """Of the holder. Raises VlmError for every other answer than that it holds."""
    if kind == "held" and re.fullmatch(r"[1-9]\d{0,9}", rest):
        return int(rest)
    if kind == "busy":
        raise VlmError(
            f"{named(machine)} is in use by {_holder(rest)}.",
            hint="the same command later; vlm-profile waits with --wait-quiet SECONDS",
        )
    if kind == "clocks":
        raise cannot_be_locked(machine, rest)
    if kind == "unrestored":
        raise not_put_back(machine, "an earlier run was killed there")
    said = printable(f"{kind} {rest}".strip())[:NAME_LIMIT] or "it gave no answer"
    raise VlmError(f"{named(machine)} cannot be locked for this run: {said}.")


def _let_go(machine: Machine, process: int) -> None:
    """Raises VlmError where clocks could not be put back."""
    said = machine.run(["sh", "-c", _LET_GO, "sh", str(process), machine.folder], LOCK_LIMIT_S)
    if said.out:
        raise not_put_back(machine, said.out)


def _ourselves() -> str:
    since = datetime.now(timezone.utc).isoformat(timespec="minutes")
    return f"{getpass.getuser()}@{socket.gethostname()}, since {since}"


def _holder(said: str) -> str:
    """A name from the board, which anybody there may have written."""
    return printable(said)[:NAME_LIMIT] or "somebody who gave no name"
