"""Sensor files of a board, sampled there by a shell while a command runs, and replayed here in a mirrored tree.

So that the sensors of this machine (`vlm_profile.sensors`) read a board's: each sample is written into the tree.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from vlm_contract.measurement import Reading
from vlm_targets.mirror import VALUE_LIMIT_BYTES, was_asked_for

SAMPLES_MAX = 100_000

# A sample is a line: seconds since the board began, and the value in each of the files, nothing for one that cannot be
# read. Builtins alone, but for the wait: a process for each file would be a load.
# The first sample is as the command begins, the last as it ends; its code is the command's.
# Parameters: where samples go, the number of files, the files, the command.
_BESIDE = """
said=$1 count=$2; shift 2
root=${VLM_EDGE_ROOT:-}/
sample() {
  read -r up _ </proc/uptime
  line=$up at=0
  for file; do
    [ "$at" -lt "$count" ] || break
    at=$((at + 1)) value=
    read -r value <"$root$file" || [ "$value" ] || value=
    line="$line|$value"
  done 2>/dev/null
  printf '%s\\n' "$line" >>"$said"
}
sample "$@"
while sleep 0.2 || sleep 1; do sample "$@"; done </dev/null >/dev/null 2>&1 &
sampler=$!
(shift "$count"; exec "$@")
code=$?
{ kill "$sampler"; wait "$sampler"; } 2>/dev/null
sample "$@"
exit "$code"
"""


def sampled_beside(arguments: Sequence[str], files: Sequence[str], said: str) -> list[str]:
    """The command that runs `arguments` and meanwhile writes samples of `files` (paths in the tree) to the file `said`.

    Both for `Machine.run`; the samples are fetched with `Machine.pull`.
    """
    return ["sh", "-c", _BESIDE, "sh", said, str(len(files)), *files, *arguments]


def readings_from(text: str, files: Sequence[str], tree: Path, read: Callable[[], dict[str, float]]) -> list[Reading]:
    """Replay samples of `files`: each is written into the mirrored tree, and then `read` reads the tree's sensors.

    `at_s` is the board's: seconds since it began. A line that is not whole, the last of a killed loop or the first of
    an output that was cut, is passed over. The tree holds the last sample afterwards.
    """
    if not all(map(was_asked_for, files)):
        raise ValueError("only files of a mirrored tree are sampled")
    readings = []
    for line in text.rsplit("\n", SAMPLES_MAX + 1)[:-1][-SAMPLES_MAX:]:
        up, *values = line.split("|")
        if len(values) == len(files) and re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,9}", up):
            for name, value in zip(files, values, strict=True):
                (tree / name).write_text(value if len(value) <= VALUE_LIMIT_BYTES else "")
            readings.append(Reading(float(up), read()))
    return readings
