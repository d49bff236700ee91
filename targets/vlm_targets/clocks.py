"""A Jetson's clocks at their most while rows are measured, by JetPack's `jetson_clocks`, and back afterwards."""

import shlex

from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_targets.reach import Machine

LOCK_LIMIT_S = 60.0
SAID_LIMIT = 300

# Functions of sh. The state is kept in a folder of the user's own: as root, `jetson_clocks --restore` writes whatever
# the file says. `--store` asks before it writes over a file, and no path may hold a space: hence a name, inside the
# folder, which also says since which start of the board it holds. Clocks do not outlive a restart.
CLOCKS = r"""
kept=${XDG_CACHE_HOME:-$HOME/.cache}/vlm-edge
state=clocks-$(cat /proc/sys/kernel/random/boot_id)
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
put_back() (
  cd "$kept" 2>/dev/null && [ -e "$state" ] || exit 0
  as_root jetson_clocks --restore "$state" && rm -f "$state" || exit
  rmdir "$kept" 2>/dev/null
  exit 0
)
lock_clocks() (
  mkdir -p -m 700 "$kept" && cd "$kept" && rm -f clocks-* || exit
  as_root jetson_clocks --store "$state" && [ -s "$state" ] && as_root jetson_clocks
)
"""


def cannot_be_locked(machine: Machine, said: str) -> VlmError:
    """The error for `--lock-clocks` where the machine refuses it."""
    words, where = _last_line(said), machine.address or "this machine"
    if "sudo" not in words:
        return VlmError(f"The clocks of {where} cannot be locked: {words}.", hint="the same without --lock-clocks")
    return VlmError(
        f"--lock-clocks runs jetson_clocks as root on {where}, and sudo refuses that without a password: {words}.",
        hint=f"{_typed(machine, 'sudo jetson_clocks')}, and measure without --lock-clocks; or, to have it done for "
        f"you each time: {_typed(machine, 'sudo visudo')}, with the line: YOU ALL=NOPASSWD: /usr/bin/jetson_clocks",
    )


def not_put_back(machine: Machine, said: str) -> VlmError:
    """The error for clocks that stay locked."""
    return VlmError(
        f"The clocks of {machine.address or 'this machine'} are still locked ({_last_line(said)}).",
        hint=f"{_typed(machine, 'sudo reboot')}; or there, in ~/.cache/vlm-edge: sudo jetson_clocks --restore clocks-*",
    )


def _typed(machine: Machine, command: str) -> str:
    return f"ssh -t {shlex.quote(machine.address)} {command}" if machine.address else command


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(lines[-1]).rstrip(".")[:SAID_LIMIT] if lines else "it gave no reason"
