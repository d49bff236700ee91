"""Protobuf's wire format, read within bounds: nothing is made of it but numbers, texts and views of the file's bytes.

A hostile file cannot make this grow or run: each field costs one step of a budget. Whatever a parser might read in two
ways is damaged here: what stands twice and should once, a group, a type of wire that the field has not.
https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # types of wire; 3 and 4 are groups, which ONNX has not
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
LARGEST_FIELD = 2**29 - 1
VARINT_BYTES = 10

Parts = dict[str, list[Any]]  # of a message, by name; in the file's order


class Damaged(Exception):
    """The bytes are no such message; the text says why."""


@dataclass(frozen=True)
class Field:
    """One field of a message that is read; others are skipped."""

    name: str
    kind: Literal["number", "text", "bytes", "data"]  # data: repeated numbers of any wire, as the bytes that they are
    many: bool = False


class Wire:
    """A reader with a budget of fields."""

    def __init__(self, most_fields: int) -> None:
        self._most = self._left = most_fields

    def read(self, message: memoryview, layout: Mapping[int, Field]) -> Parts:
        """The fields of a message that `layout` names by number. Raises Damaged."""
        parts: Parts = {field.name: [] for field in layout.values()}
        for number, wire, value in self._fields(message):
            if field := layout.get(number):
                parts[field.name] += self._decoded(field, wire, value)
        for field in layout.values():
            if not field.many and len(parts[field.name]) > 1:
                raise Damaged(f"{field.name} stands twice where it can stand once")
        return parts

    def _fields(self, message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Number, type of wire and encoded value of each field."""
        at, end = 0, len(message)
        while at < end:
            self._spend()
            key, begin = varint(message, at)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                at = varint(message, begin)[1]
            elif wire == BYTES:
                length, begin = varint(message, begin)
                at = begin + length
            elif wire in FIXED_BYTES:
                at = begin + FIXED_BYTES[wire]
            else:
                raise Damaged(f"it has a field of the unknown kind {wire}")
            if at > end:
                raise Damaged("a field runs past its end")
            if not 0 < number <= LARGEST_FIELD:
                raise Damaged(f"it has a field with the impossible number {number}")
            yield number, wire, message[begin:at]

    def _decoded(self, field: Field, wire: int, value: memoryview) -> list[Any]:
        if field.kind == "data":
            return [value]
        if field.kind == "number" and (wire == VARINT or (wire == BYTES and field.many)):
            return list(self._numbers(value))
        if field.kind == "number" or wire != BYTES:
            raise Damaged(f"{field.name} is of the wrong kind {wire}")
        if field.kind == "bytes":
            return [value]
        try:
            return [str(value, "utf-8")]
        except UnicodeDecodeError:
            raise Damaged(f"{field.name} is no text") from None

    def _numbers(self, packed: memoryview) -> Iterator[int]:
        """Signed numbers of 64 bits, one after the other."""
        at = 0
        while at < len(packed):
            self._spend()
            number, at = varint(packed, at)
            number &= 2**64 - 1
            yield number - 2**64 if number >= 2**63 else number

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Damaged(f"it has over {self._most} fields")


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends. Raises Damaged."""
    if at < len(message) and (byte := message[at]) < 128:  # nearly all are that short
        return byte, at + 1
    value = 0
    for i, byte in enumerate(message[at : at + VARINT_BYTES]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise Damaged("a number does not end")
