"""Records survive the trip to JSON and back; a damaged, foreign or newer file is named with its field and remedy."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent, json_from_record, read_record, record_from_json, write_record
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement

SCALARS = {
    str: st.text(max_size=20),
    int: st.integers(0, 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}
st.register_type_strategy(Absent, st.builds(Absent, st.text(min_size=1).filter(str.strip)))
st.register_type_strategy(float, SCALARS[float])


@dataclasses.dataclass(frozen=True)
class Small:
    """A record of the tests only."""

    SCHEMA: ClassVar[str] = "vlm-edge/small/2"

    name: str
    size_bytes: int
    peak_bytes: int | Absent
    samples_ns: tuple[int, ...]
    notes: dict[str, str]
    latency_ms: float


SMALL = Small("a", 1, Absent("no counter"), (1, 2), {"k": "v"}, 1.5)


def document(**changes: Any) -> str:
    return json.dumps(json.loads(json_from_record(SMALL)) | changes)


def read_small(text: str) -> Small:
    return record_from_json(Small, text, source="small.json")


@pytest.mark.parametrize("kind", [CheckpointCard, ArtifactManifest, Measurement])
@given(data=st.data())
def test_a_record_survives_the_trip_to_json_and_back(kind: Any, data: st.DataObject) -> None:
    record = data.draw(st.from_type(kind))
    assert record_from_json(kind, json_from_record(record), source="trip") == record


def test_an_absent_value_is_written_with_its_reason() -> None:
    assert json.loads(json_from_record(SMALL))["peak_bytes"] == {"absent": "no counter"}


def test_absence_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Absent(" ")
    with pytest.raises(VlmError, match="peak_bytes: expected a reason"):
        read_small(document(peak_bytes={"absent": ""}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_never_written(number: float, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="latency_ms is"):
        write_record(dataclasses.replace(SMALL, latency_ms=number), tmp_path / "small.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_never_read(constant: str) -> None:
    with pytest.raises(VlmError, match=constant):
        read_small(document().replace("1.5", constant))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size_bytes": "1"}, 'size_bytes: expected a whole number, found "1"'),
        ({"size_bytes": True}, "size_bytes: expected a whole number, found true"),
        ({"size_bytes": 1.0}, "size_bytes: expected a whole number, found 1.0"),
        ({"name": None}, "name: expected a string, found null"),
        ({"name": {"absent": "x"}}, "name: expected a string"),
        ({"latency_ms": "fast"}, 'latency_ms: expected a number, found "fast"'),
        ({"samples_ns": [1, "x"]}, r"samples_ns\[1\]: expected a whole number"),
        ({"notes": {"k": 1}}, r"notes.k: expected a string"),
        ({"latency": 1.0}, r"latency: unknown field \(did you mean latency_ms\?\)"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(VlmError, match=f"small.json is damaged: {said}"):
        read_small(document(**changes))


def test_a_missing_field_is_named() -> None:
    whole = json.loads(document())
    del whole["name"]
    with pytest.raises(VlmError, match="name: missing") as caught:
        read_small(json.dumps(whole))
    assert "make small.json again" in caught.value.hint


@pytest.mark.parametrize(
    ("schema", "said", "hint"),
    [
        ("vlm-edge/small/3", "unknown schema 'vlm-edge/small/3'", "pip install --upgrade vlm-edge"),
        ("vlm-edge/small/1", "unknown schema 'vlm-edge/small/1'", "make small.json again with this version"),
        ("other/thing/1", "holds 'other/thing/1'", "expected kind"),
    ],
)
def test_another_schema_is_refused_by_name(schema: str, said: str, hint: str) -> None:
    with pytest.raises(VlmError, match=said) as caught:
        read_small(document(schema=schema))
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": 1}', "<html>", "[" * 100_000])
def test_a_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(VlmError, match=r"small\.json"):
        read_small(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_value_in_any_field_is_read_or_refused_by_name(value: Any) -> None:
    for field in ("name", "peak_bytes", "samples_ns", "notes"):
        try:
            read_small(document(**{field: value}))
        except VlmError as error:
            assert field in str(error)


def test_reading_a_file_that_is_not_there_names_it(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"gone\.json cannot be read: No such file"):
        read_record(Small, tmp_path / "gone.json")
