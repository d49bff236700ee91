"""A board over SSH, through the system's OpenSSH client: the user's configuration, keys, agent and jump hosts hold."""

import hashlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of, whole_file
from vlm_targets.shell import Shell, last_words

CONNECT_LIMIT_S = 30.0
TRANSFER_LIMIT_S = 3600.0
PUSH_LIMIT_BYTES = 4 * 2**30
OUTPUT_LIMIT_BYTES = 4 * 2**20  # of what a command prints; the last of it is kept
OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "ControlPersist": "no",
    # What a user's configuration may hold for a session at the keyboard.
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}

# What runs on the board: each is a function's body, so that a shell has read all of it before it begins, and reads
# nothing more of its input itself. Parameters are positional; "$marker" says where an answer begins, behind whatever
# the login shell printed. `while_called` returns when nobody is at the other end any more.

# The private folder lives as long as the connection, and goes with it, however that ends.
_HOLD = """
  folder=$(mktemp -d "${TMPDIR:-/var/tmp}/vlm-edge.XXXXXX") || exit
  trap 'for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$folder" && break; sleep 1; done' EXIT
  trap exit HUP INT PIPE TERM
  printf '\\n%s %s\\n' "$marker" "$folder"
  while_called
"""
# The command has a session of its own. Where the input ends before it does, its caller is gone: it is ended, too.
# What it says is followed in the file: in a pipe, it would wait for whoever reads, and a measurement must not.
_RUN = """
  said=$1 limit=$2 follow=$3; shift 3
  exec 3<&0
  : >"$said.err"
  setsid "$@" >"$said.out" 2>>"$said.err" </dev/null 3<&- &
  child=$!
  { while_called <&3; kill -TERM "-$child"; sleep 5; kill -KILL "-$child"; } >/dev/null 2>&1 &
  guard=$!
  if [ "$follow" ]; then
    printf '\\n%s follows\\n' "$marker"
    tail -n +1 -f "$said.err" 2>/dev/null 3<&- &
    follower=$!
  fi
  wait "$child"
  code=$?
  kill -KILL "-$child" 2>/dev/null
  kill "$guard" 2>/dev/null
  trap '' PIPE
  if [ "$follow" ]; then
    sleep 1  # in which the last lines are passed on
    kill "$follower"
    wait "$follower"
  fi 2>/dev/null
  out=$(wc -c <"$said.out"); [ "$out" -le "$limit" ] || out=$limit
  err=$(wc -c <"$said.err"); [ "$err" -le "$limit" ] || err=$limit
  printf '\\n%s %d %d %d\\n' "$marker" "$code" "$out" "$err"
  tail -c "$out" "$said.out"
  tail -c "$err" "$said.err"
  rm -f "$said.out" "$said.err"
"""
_PUSH = """
  printf '\\n%s ready\\n' "$marker"
  head -c "$2" >"$1.part" && sum=$(sha256sum <"$1.part") && [ "${sum%% *}" = "$3" ] && mv -f "$1.part" "$1"
  code=$?
  rm -f "$1.part"
  printf '\\n%s %d\\n' "$marker" "$code"
"""
_PULL = """
  [ -f "$1" ] || { printf '\\n%s absent\\n' "$marker"; exit; }
  size=$(wc -c <"$1")
  [ "$size" -le "$2" ] || { printf '\\n%s large %d\\n' "$marker" "$size"; exit; }
  sum=$(sha256sum <"$1")
  printf '\\n%s sent %d %s\\n' "$marker" "$size" "${sum%% *}"
  head -c "$size" <"$1"
"""


@dataclass(frozen=True)
class Done:
    """How a command on a board ended, and what it printed: the board's words, with control characters and all."""

    code: int  # 128 and the signal's number where a signal ended it
    out: str
    err: str


class Board:
    """A connection of its own to one board, opened by `with`; `folder` is a private folder there, gone afterwards.

    `address` is what `ssh` takes: a name of the user's configuration, or USER@HOST. Host keys are always checked. All
    methods raise VlmError where the connection is lost.
    """

    def __init__(self, address: str, config: Path | None = None) -> None:
        check_address(address)
        self.address = address
        self.folder = ""
        self._config = ["-F", str(config)] if config else []
        self._stack = ExitStack()
        self._commands = 0

    def __enter__(self) -> "Board":
        """Connect. Raises VlmError saying what to type where the board cannot be reached, or is not known."""
        if shutil.which("ssh") is None:
            raise VlmError("ssh is not installed; a board is reached through it.", hint="apt install openssh-client")
        with ExitStack() as stack:
            self._local = Path(stack.enter_context(_socket_folder()))
            options = ["-v", "-o", "ControlMaster=yes"]  # -v: it prints the fingerprint of a key that it refuses
            shell = stack.enter_context(self._shell(_HOLD, [], CONNECT_LIMIT_S, options))
            answer = shell.answer()
            if not answer:
                raise self._unreachable(shell.said())
            self.folder = " ".join(answer)
            if not re.fullmatch(r"/[^\x00-\x1f\x7f]*", self.folder):
                raise VlmError(f"{self.address} answered with {self.folder[:80]!r} in place of a folder.")
            shell.keep()
            stack.enter_context(shell.beating())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, arguments: Sequence[str], timeout_s: float, tell: Callable[[str], None] | None = None) -> Done:
        """Run a command, given as a list, with no input. Raises VlmError where it takes longer; then it is ended.

        `tell` is given each line of its stderr that is not empty, as it comes; the limit is then of the time between
        two of them.
        """
        self._commands += 1
        doing = "running a script" if arguments[0] == "sh" else f"running {arguments[0]}"
        said, follow = f"{self.folder}/said-{self._commands}", "follow" if tell else ""
        parameters = [said, str(OUTPUT_LIMIT_BYTES), follow, *arguments]
        with self._shell(_RUN, parameters, timeout_s) as shell, shell.beating():
            if tell:
                self._answer(shell, "follows", doing)
            code, out, err = (int(word) for word in self._answer(shell, r"\d+ \d+ \d+", doing, tell))
            if max(out, err) > OUTPUT_LIMIT_BYTES:
                raise self._garbage(f"{max(out, err)} bytes of output")
            printed = b"".join(shell.blocks(out + err))
            if len(printed) < out + err:
                raise self._lost(shell, doing)
        return Done(code, printed[:out].decode(errors="replace"), printed[out:].decode(errors="replace"))

    def push(self, path: Path, remote: str) -> None:
        """Copy a file of this machine to a path on the board, whole or not at all."""
        size, sha256 = check_regular_file(path, limit_bytes=PUSH_LIMIT_BYTES).st_size, sha256_of(path)
        doing = f"sending {path.name}"
        with self._shell(_PUSH, [remote, str(size), sha256], TRANSFER_LIMIT_S) as shell, open(path, "rb") as file:
            self._answer(shell, "ready", doing)
            shell.send(file)
            (code,) = self._answer(shell, r"\d+", doing)
            if code != "0":
                raise VlmError(
                    f"{path.name} ({size} bytes) could not be written on {self.address}: {shell.last_words()}.",
                    hint=f"ssh {self.address} df -h, and free some space",
                )

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        """Copy a file of the board to `path`, whole or not at all. Raises VlmError where it is over the limit."""
        doing = f"fetching {remote}"
        with self._shell(_PULL, [remote, str(limit_bytes)], TRANSFER_LIMIT_S) as shell:
            state, *rest = self._answer(shell, r"absent|large \d+|sent \d+ [0-9a-f]{64}", doing)
            if state == "absent":
                raise VlmError(f"{self.address} has no file {remote}.")
            if int(rest[0]) > limit_bytes:
                raise VlmError(f"{remote} on {self.address} has {rest[0]} bytes, over the limit of {limit_bytes}.")
            with whole_file(path, expected_bytes=int(rest[0])) as temporary, open(temporary, "wb") as file:
                digest = hashlib.sha256()
                for block in shell.blocks(int(rest[0])):
                    digest.update(block)
                    file.write(block)
                if digest.hexdigest() != rest[1]:
                    raise self._lost(shell, doing)

    @contextmanager
    def _shell(
        self, body: str, parameters: Sequence[str], timeout_s: float, options: Sequence[str] = ()
    ) -> Iterator[Shell]:
        """A shell on the board that does `body`; the channel is closed, and so what runs there ended, afterwards."""
        command = ["ssh", *self._config, *options, "-o", f"ControlPath={self._local / 's'}"]
        command += [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
        with tempfile.TemporaryFile(dir=self._local) as said:
            shell = Shell([*command, "--", self.address, "sh -s"], said, timeout_s)
            try:
                shell.tell(body, parameters)
                yield shell
            finally:
                shell.close()

    def _answer(self, shell: Shell, expected: str, doing: str, tell: Callable[[str], None] | None = None) -> list[str]:
        """The words behind the marker. Raises VlmError where none come, in time, or others than expected."""
        words = shell.answer(tell)
        if not words:
            raise self._lost(shell, doing)
        if not re.fullmatch(expected, " ".join(words)):
            raise self._garbage(" ".join(words))
        return words

    def _garbage(self, answer: str) -> VlmError:
        return VlmError(f"{self.address} answered {answer[:80]!r}, which is no answer of its shell.")

    def _lost(self, shell: Shell, doing: str) -> VlmError:
        if shell.late:
            how = "said nothing for" if shell.telling else "took more than"
            return VlmError(f"{self.address} {how} {shell.timeout_s:g} s {doing}; it was ended.")
        if shell.flooded:
            return VlmError(f"{self.address} printed over {shell.flooded} bytes {doing}; it was ended.")
        return VlmError(
            f"The connection to {self.address} was lost {doing}: {shell.last_words()}.",
            hint="the same command, once the board can be reached: it continues",
        )

    def _unreachable(self, said: str) -> VlmError:
        """The error for a connection that ssh did not make, from what ssh said of it."""
        address = self.address
        found = re.findall(r"^debug1: Server host key: (\S+) (\S+)", said, re.MULTILINE)
        key = " ".join(found[-1]) if found else "of an unknown fingerprint"
        ssh = shlex.join(["ssh", *self._config])
        changed = re.search(r"^Host key for (\S+) has changed", said, re.MULTILINE)
        if changed:
            return VlmError(
                f"{address} shows another host key than before: {key}. It was installed anew, or another machine "
                "answers in its place; nothing was sent to it.",
                hint=f"ssh-keygen -R {shlex.quote(changed[1])}, once the board's owner confirms the new fingerprint",
            )
        if "Host key verification failed" in said:
            return VlmError(
                f"The host key of {address} is not known here: {key}.",
                hint=f"{ssh} -o StrictHostKeyChecking=ask {shlex.quote(address)} true, "
                "and answer yes if the board's owner confirms this fingerprint",
            )
        if "Permission denied" in said:
            return VlmError(
                f"{address} refuses every key that ssh offers; a password is never asked for.",
                hint=f"ssh-copy-id {shlex.quote(address)}, or ssh-add where the key has a passphrase",
            )
        port = re.fullmatch(r"(?!\w+://)[^:]+:\d{1,5}", address) and "Could not resolve hostname" in said
        hint = f"--host ssh://{address}" if port else f"{ssh} {shlex.quote(address)} true"
        return VlmError(f"{address} cannot be reached: {last_words(said)}.", hint=hint)


def check_address(address: str) -> None:
    """Raise VlmError unless `ssh` takes it for a host, and nothing else."""
    if not address or address.startswith("-") or not address.isprintable() or " " in address:
        raise VlmError(f"{address!r} is no address of a board.", hint="--host USER@BOARD")


@contextmanager
def _socket_folder() -> Iterator[str]:
    """A private folder whose path is short enough for a socket in it: 107 bytes, of which ssh wants 17 to itself."""
    base = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="vlm-", dir=base if len(base) < 70 else "/tmp") as folder:
        yield folder
