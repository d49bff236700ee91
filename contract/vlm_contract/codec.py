"""Records to JSON and back.

A record is a frozen dataclass whose class names its `SCHEMA`. Reading checks every type, and names the file, the
field and the remedy when one is wrong. No float in a record is NaN or infinite; what is absent is an `Absent`.
"""

import difflib
import json
import math
import types
from collections.abc import Callable, Collection, KeysView
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

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
Decoder: TypeAlias = Callable[[Any], Any]  # of a JSON value; raises FieldError


def known(value: T | Absent) -> T:
    """A value that is there. Raises ValueError with the reason where it is absent."""
    if isinstance(value, Absent):
        raise ValueError(f"absent: {value.reason}")
    return value


class FieldError(ValueError):
    """A value does not fit its field; `field` is the path to it, outermost first."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field or 'the document'}: {problem}")
        self.field, self.problem = field, problem

    def within(self, outer: str) -> "FieldError":
        """The same of a field that stands inside another."""
        dot = "." if outer and self.field and not self.field.startswith("[") else ""
        return FieldError(f"{outer}{dot}{self.field}", self.problem)


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


def record_from_json(kind: type[R], text: str | bytes, *, source: str, left_out: Collection[str] = ()) -> R:
    """The record that a JSON document holds; `source` is the name used in errors.

    Fields that are `left_out` are lists; they are neither checked nor kept, and read as empty.
    """
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
    document |= {name: [] for name in left_out if name in document}
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
    try:
        return _decoder(kind)(value)
    except FieldError as error:
        raise (error.within(field) if field else error) from None


@cache
def _decoder(kind: Any) -> Decoder:
    """What decodes a kind: looked up once, for a workspace holds thousands of records of a few kinds."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union_decoder(get_args(kind))
    if origin is Literal:
        return _literal_decoder(get_args(kind))
    if origin is tuple:
        return _tuple_decoder(get_args(kind)[0])
    if origin is dict:
        return _dict_decoder(get_args(kind)[1])
    if kind is Absent:
        return _union_decoder((Absent,))
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    return _float if kind is float else _scalar_decoder(kind)


_ARTICLE = {int: "a whole number", str: "a string", bool: "true or false", type(None): "null"}


def _float(value: Any) -> float:
    return float(_expect(type(value) in (int, float), value, "a number"))


def _scalar_decoder(kind: Any) -> Decoder:
    expected = _ARTICLE.get(kind, getattr(kind, "__name__", str(kind)))

    def decode_scalar(value: Any) -> Any:
        return value if type(value) is kind else _expect(False, value, expected)

    return decode_scalar


def _literal_decoder(choices: tuple[Any, ...]) -> Decoder:
    expected = f"one of {', '.join(map(repr, choices))}"
    return lambda value: _expect(value in choices, value, expected)


def _union_decoder(kinds: tuple[Any, ...]) -> Decoder:
    present = [kind for kind in kinds if kind is not Absent]
    decoders = [_decoder(kind) for kind in present]
    plain = {kind for kind in present if kind in (bool, int, float, str)}

    def decode_union(value: Any) -> Any:
        if type(value) in plain:
            return value
        if isinstance(value, dict) and value.keys() == {"absent"}:
            return _absent(value, Absent in kinds)
        _expect(present, value, "what is absent, with its reason")
        for decoder in decoders[:-1]:
            with suppress(FieldError):
                return decoder(value)
        return decoders[-1](value)

    return decode_union


def _absent(value: dict[str, Any], may_be: bool) -> Absent:
    _expect(may_be, value, "a value")
    reason = value["absent"]
    return Absent(_expect(isinstance(reason, str) and reason.strip(), reason, "a reason"))


def _tuple_decoder(kind: Any) -> Decoder:
    plain, decoder = kind in (int, float, str), _decoder(kind)

    def decode_tuple(value: Any) -> tuple[Any, ...]:
        _expect(isinstance(value, list), value, "a list")
        if plain and all(type(item) is kind for item in value):
            return tuple(value)
        return tuple(_inside(f"[{index}]", decoder, item) for index, item in enumerate(value))

    return decode_tuple


def _dict_decoder(kind: Any) -> Decoder:
    decoder = _decoder(kind)

    def decode_dict(value: Any) -> dict[str, Any]:
        _expect(isinstance(value, dict), value, "an object")
        return {key: _inside(key, decoder, item) for key, item in value.items()}

    return decode_dict


def _dataclass_decoder(kind: Any) -> Decoder:
    decoders = {name: _decoder(hint) for name, hint in _hints(kind).items()}

    def decode_dataclass(value: Any) -> Any:
        _expect(isinstance(value, dict), value, "an object")
        if value.keys() != decoders.keys():
            _refuse_fields(value, decoders.keys())
        arguments = {name: _inside(name, decoder, value[name]) for name, decoder in decoders.items()}
        try:
            return kind(**arguments)
        except ValueError as error:
            raise FieldError("", str(error)) from None

    return decode_dataclass


def _inside(name: str, decoder: Decoder, value: Any) -> Any:
    try:
        return decoder(value)
    except FieldError as error:
        raise error.within(name) from None


def _refuse_fields(value: dict[str, Any], known: KeysView[str]) -> None:
    for name in value.keys() - known:
        nearest = difflib.get_close_matches(name, known, n=1)
        raise FieldError(name, "unknown field" + (f" (did you mean {nearest[0]}?)" if nearest else ""))
    for name in known - value.keys():
        raise FieldError(name, "missing")


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _expect(holds: object, value: Any, expected: str) -> Any:
    if not holds:
        shown = json.dumps(value, default=str)
        raise FieldError("", f"expected {expected}, found {shown if len(shown) <= 60 else shown[:57] + '...'}")
    return value


def refuse_constant(name: str) -> float:
    """For `json.loads`: no NaN and no infinity."""
    raise ValueError(f"{name} is no number that a record may hold")
