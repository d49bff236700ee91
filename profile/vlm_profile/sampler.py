"""A process that reads all sensors every 200 ms beside a worker: `python -m vlm_profile.sampler`.

It writes a line of JSON for each reading on stdout, and ends when its stdin closes. It is started only where there is a
sensor: on two cores even a small process is a neighbour.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import IO

from vlm_contract.codec import FieldError, decode, encode
from vlm_contract.measurement import Reading
from vlm_contract.processes import die_with
from vlm_profile.sensors import read_all, sensors

EVERY_S = 0.2
END_S = 5.0
BYTES_MAX = 64 * 2**20


@contextmanager
def sampled() -> Iterator[list[Reading]]:
    """While this is open, sensors are read; afterwards the list holds what they said. No sensors: no process."""
    readings: list[Reading] = []
    if not any_sensor():
        yield readings
        return
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "vlm_profile.sampler", str(os.getpid())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # as a worker's: no module of the current folder
        )
        try:
            yield readings
        finally:
            _end(process)
            readings += _read(said)


@lru_cache
def any_sensor() -> bool:
    return bool(sensors())


def main() -> int:
    die_with(int(sys.argv[1]))
    found = sensors()
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        print(json.dumps(encode(Reading(time.time(), read_all(found)))), flush=True)
    return 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(said: IO[bytes]) -> list[Reading]:
    """Whole lines; what a killed sampler left half is passed over."""
    said.seek(0)
    readings = []
    for line in said.read(BYTES_MAX).splitlines():
        with suppress(ValueError, FieldError):
            readings.append(decode(Reading, json.loads(line)))
    return readings


if __name__ == "__main__":
    sys.exit(main())
