"""Protobuf's wire format, as protobuf itself writes it, and as a hostile file bends it."""

import pytest

from vlm_profile.onnxfile.wire import Damaged, Field, Wire

LAYOUT = {
    1: Field("number", "number"),
    2: Field("numbers", "number", many=True),
    3: Field("text", "text"),
    4: Field("parts", "bytes", many=True),
    5: Field("data", "data", many=True),
}


def read(message: bytes, most_fields: int = 100) -> dict[str, list[object]]:
    parts = Wire(most_fields).read(memoryview(message), LAYOUT)
    return {name: [bytes(v) if isinstance(v, memoryview) else v for v in values] for name, values in parts.items()}


def test_what_protobuf_writes_is_read() -> None:
    from onnx import TensorProto

    tensor = TensorProto(dims=[3, 2**40, -1], name="é", float_data=[1.0, 2.0], raw_data=b"abc", data_type=300)
    layout = {
        1: Field("dims", "number", many=True),
        2: Field("type", "number"),
        4: Field("floats", "data", many=True),
        8: Field("name", "text"),
        9: Field("raw", "bytes"),
    }
    parts = Wire(100).read(memoryview(tensor.SerializeToString()), layout)
    assert (parts["dims"], parts["type"], parts["name"]) == ([3, 2**40, -1], [300], ["é"])
    assert (len(parts["floats"][0]), bytes(parts["raw"][0])) == (8, b"abc")


def test_repeated_numbers_may_be_packed_or_not() -> None:
    assert read(b"\x10\x05\x12\x02\x06\x07\x10\x08")["numbers"] == [5, 6, 7, 8]


def test_data_come_as_bytes_whatever_their_wire() -> None:
    assert read(b"\x2d\0\0\x80\x3f\x2a\x02\x07\x08\x28\x96\x01")["data"] == [b"\0\0\x80\x3f", b"\x07\x08", b"\x96\x01"]


def test_unknown_fields_of_every_wire_are_skipped() -> None:
    assert read(b"\x48\x05\x49" + bytes(8) + b"\x4a\x02ab\x4d" + bytes(4) + b"\x08\x2a")["number"] == [42]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x1a\x05ab", "past its end"),
        (b"\x1a" + b"\xff" * 9 + b"\x01", "past its end"),
        (b"\x0d\0\0", "past its end"),
        (b"\x0b\x0c", "unknown kind 3"),
        (b"\x0f", "unknown kind 7"),
        (b"\x02\x00", "impossible number 0"),
        (b"\x88\x80\x80\x80\x10\x00", "impossible number 536870913"),
        (b"\x08\x01\x08\x02", "number stands twice"),
        (b"\x1a\x01a\x1a\x01a", "text stands twice"),
        (b"\x1a\x01\xff", "text is no text"),
        (b"\x18\x01", "text is of the wrong kind"),
        (b"\x0a\x01\x01", "number is of the wrong kind"),
    ],
)
def test_what_could_be_read_in_two_ways_or_in_none_is_damaged(message: bytes, why: str) -> None:
    with pytest.raises(Damaged, match=why):
        read(message)


def test_a_budget_of_fields_ends_the_reading() -> None:
    assert read(b"\x48\x01" * 5 + b"\x08\x02", most_fields=7)["number"] == [2]  # a field and its number cost two
    with pytest.raises(Damaged, match="over 5 fields"):
        read(b"\x48\x01" * 6, most_fields=5)


def test_packed_numbers_cost_as_many_steps() -> None:
    with pytest.raises(Damaged, match="over 50 fields"):
        read(b"\x12\x64" + bytes(100), most_fields=50)
