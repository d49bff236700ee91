"""Records to JSON and back.

A record is a frozen dataclass whose class names its `SCHEMA`. Reading checks every type, and names the file, the
field and the remedy when one is wrong. No float in a record is NaN or infinite; what is absent is an `Absent`.
"""

import difflib
import json
import math
import types
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file, write_whole

RECORD_LIMIT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Absent:
    """Stands where a value is not there, and says why. Never 0, -1, NaN or null in its place."""

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an absent value needs a reason")


class Record(Protocol):
    """A dataclass that is a file of its own."""

    SCHEMA: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def known(value: T | Absent) -> T:
    """A value that is there. Raises ValueError with the reason where it is absent."""
    if isinstance(value, Absent):
        raise ValueError(f"absent: {value.reason}")
    return value


class FieldError(ValueError):
    """A value does not fit its field; `field` is the path to it, outermost first."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field or 'the document'}: {problem}")


def write_record(record: Record, path: Path) -> None:
    """Write one record, whole or not at all. Raises VlmError where a number in it is NaN or infinite."""
    write_whole(path, json_from_record(record))


def read_record(kind: type[R], path: Path) -> R:
    """Read one record. Raises VlmError naming the file, the field and the remedy."""
    text = read_regular_file(path, limit_bytes=RECORD_LIMIT_BYTES)
    return record_from_json(kind, text, source=str(path))


def json_from_record(record: Record) -> str:
    """The record as a JSON document whose first member is its schema."""
    document = {"schema": type(record).SCHEMA, **encode(record)}
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"


def record_from_json(kind: type[R], text: str | bytes, *, source: str) -> R:
    """The record that a JSON document holds; `source` is the name used in errors."""
    remedy = f"make {source} again with the command that wrote it, or move it out of the workspace"
    try:
        document = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise VlmError(f"{source} is damaged: {error}.", hint=remedy) from None
    if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
        raise VlmError(
            f"{source} is not a record of vlm-edge: it names no schema; expected {kind.SCHEMA!r}.", hint=remedy
        )
    check_schema(document.pop("schema"), kind.SCHEMA, source)
    try:
        record: R = decode(kind, document)
    except FieldError as error:
        raise VlmError(f"{source} is damaged: {error}.", hint=remedy) from None
    return record


def check_schema(found: str, expected: str, source: str) -> None:
    """Raise VlmError unless `found` is the schema that this version reads."""
    if found == expected:
        return
    family, _, version = expected.rpartition("/")
    found_family, _, found_version = found.rpartition("/")
    if found_family != family:
        raise VlmError(f"{source} holds {found!r}; expected {expected!r}.", hint="name a file of the expected kind")
    newer = found_version.isdecimal() and int(found_version) > int(version)
    raise VlmError(
        f"{source} has the unknown schema {found!r}; this version of vlm-edge reads {expected!r}.",
        hint="pip install --upgrade vlm-edge" if newer else f"make {source} again with this version",
    )


def encode(value: Any, field: str = "") -> Any:
    """A record's value as JSON types. Raises VlmError naming the field that is not finite."""
    if isinstance(value, Absent):
        return {"absent": value.reason}
    if is_dataclass(value):
        return {f.name: encode(getattr(value, f.name), f"{field}.{f.name}".lstrip(".")) for f in fields(value)}
    if isinstance(value, dict):
        return {key: encode(item, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        if all(type(item) is int for item in value):
            return list(value)
        return [encode(item, f"{field}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise VlmError(f"{field} is {value}: a record holds finite numbers, or says why one is absent.")
    return value


def decode(kind: Any, value: Any, field: str = "") -> Any:
    """The value that `kind` (a type annotation) describes. Raises FieldError."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), value, field)
    if origin is Literal:
        return _expect(value in get_args(kind), value, field, f"one of {', '.join(map(repr, get_args(kind)))}")
    if origin is tuple:
        return _decode_items(get_args(kind)[0], value, field)
    if origin is dict:
        _expect(isinstance(value, dict), value, field, "an object")
        return {key: decode(get_args(kind)[1], item, f"{field}.{key}") for key, item in value.items()}
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, field)
    if kind is float:
        return float(_expect(type(value) in (int, float), value, field, "a number"))
    return _expect(type(value) is kind, value, field, _ARTICLE.get(kind, getattr(kind, "__name__", str(kind))))


_ARTICLE = {int: "a whole number", str: "a string", bool: "true or false", type(None): "null"}


def _decode_union(kinds: tuple[Any, ...], value: Any, field: str) -> Any:
    if isinstance(value, dict) and set(value) == {"absent"}:
        _expect(Absent in kinds, value, field, "a value")
        return Absent(
            _expect(isinstance(value["absent"], str) and value["absent"].strip(), value["absent"], field, "a reason")
        )
    present = [kind for kind in kinds if kind is not Absent]
    for kind in present[:-1]:
        try:
            return decode(kind, value, field)
        except FieldError:
            continue
    return decode(present[-1], value, field)


def _decode_items(kind: Any, value: Any, field: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list), value, field, "a list")
    if kind in (int, float, str) and all(type(item) is kind for item in value):
        return tuple(value)
    return tuple(decode(kind, item, f"{field}[{index}]") for index, item in enumerate(value))


def _decode_dataclass(kind: Any, value: Any, field: str) -> Any:
    if kind is Absent:
        return _decode_union((Absent,), value, field)
    _expect(isinstance(value, dict), value, field, "an object")
    hints = _hints(kind)
    for name in value.keys() - hints.keys():
        nearest = difflib.get_close_matches(name, hints, n=1)
        raise FieldError(
            f"{field}.{name}".lstrip("."), "unknown field" + (f" (did you mean {nearest[0]}?)" if nearest else "")
        )
    for name in hints.keys() - value.keys():
        raise FieldError(f"{field}.{name}".lstrip("."), "missing")
    arguments = {name: decode(hint, value[name], f"{field}.{name}".lstrip(".")) for name, hint in hints.items()}
    try:
        return kind(**arguments)
    except ValueError as error:
        raise FieldError(field, str(error)) from None


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _expect(holds: object, value: Any, field: str, expected: str) -> Any:
    if not holds:
        shown = json.dumps(value, default=str)
        raise FieldError(field, f"expected {expected}, found {shown if len(shown) <= 60 else shown[:57] + '...'}")
    return value


def refuse_constant(name: str) -> float:
    """For `json.loads`: no NaN and no infinity."""
    raise ValueError(f"{name} is no number that a record may hold")
