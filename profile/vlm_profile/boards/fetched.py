"""The records that a board hands back: data from outside, until they are found to be what was asked for."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlm_contract.codec import RECORD_LIMIT_BYTES, Absent, decode, encode, read_record
from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import safe_name
from vlm_profile.boards.errands import Stored
from vlm_profile.boards.recounted import recounted
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.recording import settings_of
from vlm_profile.rows import HOST, Request, row_name
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.runtimes._base import CPUS
from vlm_profile.subjects import Subject
from vlm_profile.sweeps import LARGEST_BATCH
from vlm_targets.ssh import Board

TOTAL_LIMIT_BYTES = 2 * 2**30
PARTS_MAX = 2_000_000  # lists and objects of one record: a soak of an hour has some 40,000
NAME = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,240})\.json")


@dataclass(frozen=True)
class Asked:
    """What records are expected of."""

    subjects: tuple[Subject, ...]
    request: Request
    device: str  # the board's name, as it was seen from here


def records_from(board: Board, stored: Stored, asked: Asked) -> Iterator[tuple[str, Measurement]]:
    """Each record, checked, by its name without suffix. Raises VlmError naming what is wrong with one."""
    left = TOTAL_LIMIT_BYTES
    with tempfile.TemporaryDirectory(prefix="vlm-records.") as folder:
        for number, name in enumerate(dict.fromkeys(stored.records)):
            if not (found := NAME.fullmatch(name)):
                raise VlmError(f"{board.address} names a record {name[:80]!r}; no record is called that.")
            path = Path(folder) / f"{number}.json"
            board.pull(f"{stored.folder}/{name}", path, min(RECORD_LIMIT_BYTES, left))
            left -= path.stat().st_size
            if (parts := _parts_in(path)) > PARTS_MAX:
                raise _wrong(board.address, found[1], f"it has {parts} parts, over the limit of {PARTS_MAX}")
            yield found[1], checked(read_record(Measurement, path), found[1], asked, board.address)
            path.unlink()


def checked(record: Measurement, name: str, asked: Asked, address: str) -> Measurement:
    """The record, its words free of control characters, with the verdicts that its repetitions come to here.

    Raises VlmError where it is of something else than was asked for, or says other figures than its own samples.
    """
    try:
        encode(record)
        rules = _checked_claims(record, name, asked)
        return recounted(decode(Measurement, _printable(encode(record))), rules)
    except (ValueError, VlmError) as error:
        raise _wrong(address, name, printable(str(error)).rstrip(".")) from None


def _checked_claims(record: Measurement, name: str, asked: Asked) -> Protocol:
    """The rules that it was measured by. Raises ValueError for a claim that is not of what was asked for."""
    subject = _subject_of(record, name, asked)
    if (record.target, record.evidence) != (HOST, "measured"):
        raise ValueError(f"it says {record.evidence} for {record.target!r}; expected measured for {HOST!r}")
    if not (isinstance(record.estimate, Absent) and isinstance(record.origin, Absent)):
        raise ValueError("it says that it is measured, and how it was estimated or reported")
    if record.device.name != asked.device:
        raise ValueError(f"it is of a {record.device.name!r}, and the board is a {asked.device!r}")
    for what in ("cpus", "usable_cpus", "memory_bytes"):
        if not isinstance(count := getattr(record.device, what), int) or count < 1:
            raise ValueError(f"its device.{what} is {count}")
    request = replace(asked.request, clocks_locked=record.settings.get("clocks_locked") is True)
    rules = _rules_of(record, request)
    kind = _kind_of(record, subject, request)
    for what, found, wanted in _setup(record, kind, request):
        if isinstance(found, Absent) or found not in wanted:
            shown = ", ".join(map(str, wanted)) if len(wanted) < 20 else "a number"
            said = "absent" if isinstance(found, Absent) else found
            raise ValueError(f"its {what} is {said}, and {shown} was asked for")
    if name != (expected := row_name(subject, kind, record.setup, request, record.device)):
        raise ValueError(f"what it holds is called {expected}")
    return rules


def _subject_of(record: Measurement, name: str, asked: Asked) -> Subject:
    for subject in asked.subjects:
        if subject.used == record.artifact and name.startswith(f"{safe_name(subject.label)}."):
            return subject
    raise ValueError(f"it is of {record.artifact.name!r}, which is no model that was sent under this name")


def _rules_of(record: Measurement, request: Request) -> Protocol:
    """As `vlm_profile.session` takes stored results for answers: the full rules answer for all shorter ones."""
    seed = record.settings.get("seed")
    for rules in (request.protocol,) if request.protocol.soak_s else (request.protocol, FULL):
        wanted = {**settings_of(request, rules), "seed": seed}
        if type(seed) is int and (record.protocol, record.settings) == (rules.name, wanted):
            return rules
    raise ValueError("it was measured by other rules than were asked for")


def _kind_of(record: Measurement, subject: Subject, request: Request) -> type[Runtime]:
    kind = runtimes().get(record.runtime.name) if isinstance(record.runtime.name, str) else None
    named = request.runtime == "auto" or record.runtime.name in request.runtime.split(",")
    if kind is None or not named or subject.used.format not in kind.formats:
        raise ValueError(f"it was run by {record.runtime.name}, and {request.runtime} was asked for")
    return kind


def _setup(record: Measurement, kind: type[Runtime], request: Request) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Each part of its setup, and what that may be."""
    setup, usable = record.setup, record.device.usable_cpus
    assert isinstance(usable, int)
    own = 1 if kind.self_timed else usable
    threads = [request.threads if isinstance(request.threads, int) else own]
    options = {name: value for name, value in setup.options.items() if name != CPUS or request.threads != "auto"}
    yield "batch", setup.batch, range(1, LARGEST_BATCH + 1) if request.batches == "auto" else request.batches
    yield "number of threads", setup.threads, range(1, usable + 1) if request.threads == "auto" else threads
    yield "number of streams", setup.streams, request.streams
    yield "frame rate", None if isinstance(setup.fps, Absent) else setup.fps, [request.fps]
    yield "scope", setup.scope, [kind.scope if request.fps is None else f"{kind.scope}, from the frame's coming"]
    yield "options", options, [dict(way) for way in (*kind.variants, *kind.tuning)]


def _parts_in(path: Path) -> int:
    text = path.read_bytes()
    return text.count(b"[") + text.count(b"{")


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list) and not all(type(item) is int for item in value):
        return [_printable(item) for item in value]
    return value


def _wrong(address: str, name: str, why: str) -> VlmError:
    return VlmError(
        f"{address} handed over a record {name}.json that is not kept: {why}.",
        hint="--again, and look at what else runs as vlm-edge on the board",
    )
