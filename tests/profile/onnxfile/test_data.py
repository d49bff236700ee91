"""Numbers inside and beside an ONNX file: none that are claimed and not there, none from elsewhere, no NaN."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from vlm_contract.errors import CheckFailed, VlmError
from vlm_profile.onnxfile import data as onnxdata
from vlm_profile.onnxfile.check import OnnxFile, check_onnx_file

ROW = numpy.arange(4, dtype=numpy.float32)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)

Check = Callable[..., OnnxFile]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Writes a model with these initializers into a folder of its own, and checks it."""

    def checked(*tensors: TensorProto, shape: tuple[int, ...] = (1, 4), **changes: Any) -> OnnxFile:
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y], list(tensors), **changes)
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        return check_onnx_file(folder / "m.onnx")

    return checked


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file beside the model that holds four floats, 0 to 3."""
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "data.bin"
    path.write_bytes(ROW.tobytes())
    return path


def outside(dims: tuple[int, ...] = (4,), kind: int = TensorProto.FLOAT, **entries: str) -> TensorProto:
    tensor = TensorProto(name="w", dims=dims, data_type=kind, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_a_tensor_that_claims_more_than_the_file_stores_is_refused(check: Check) -> None:
    tensor = TensorProto(name="w", dims=[2**20, 2**20], data_type=TensorProto.FLOAT, raw_data=bytes(16))
    with pytest.raises(VlmError, match="stores 4 elements for the tensor 'w', which claims 1099511627776"):
        check(tensor)


@pytest.mark.parametrize("kind", [*FLOATS, TensorProto.INT4, TensorProto.INT8, TensorProto.BOOL, TensorProto.UINT64,
                                  TensorProto.COMPLEX64, TensorProto.INT64, TensorProto.FLOAT4E2M1])  # fmt: skip
@pytest.mark.parametrize("raw", [True, False])
def test_what_is_stored_is_counted_for_every_type_and_one_more_is_too_much(check: Check, kind: int, raw: bool) -> None:
    made = helper.make_tensor("w", kind, [8], [1] * 8)
    tensor = numpy_helper.from_array(numpy_helper.to_array(made), "w") if raw else made
    assert bool(tensor.raw_data) == raw
    check(tensor)
    tensor.dims[:] = [9]
    with pytest.raises(VlmError, match="stores 8 elements for the tensor 'w', which claims 9"):
        check(tensor)


def test_texts_are_counted(check: Check) -> None:
    tensor = helper.make_tensor("w", TensorProto.STRING, [2], ["a", "b"])
    check(tensor)
    tensor.dims[:] = [2**40]
    with pytest.raises(VlmError, match="stores 2 elements"):
        check(tensor)


@pytest.mark.parametrize("dims", [[-1], [2**40, 2**40], [1] * 65])
def test_impossible_shapes_are_refused(check: Check, dims: list[int]) -> None:
    with pytest.raises(VlmError, match="shape has too many dimensions, or impossible ones"):
        check(TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, raw_data=bytes(8)))


def test_an_input_and_a_sparse_tensor_beyond_all_measure_are_refused(check: Check) -> None:
    with pytest.raises(VlmError, match="declares 'x' with 1048576x1048576 elements: 4398046511104 bytes"):
        check(shape=(2**20, 2**20))
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [2**40])
    with pytest.raises(VlmError, match="declares 's' with 1099511627776 elements"):
        check(sparse_initializer=[sparse])


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("sign", [1, -1])
def test_nan_in_weights_is_nonfinite_and_infinity_is_not(check: Check, kind: int, sign: int) -> None:
    numbers = [0.0, 1.0, sign * numpy.inf]
    as_raw = numpy_helper.to_array(helper.make_tensor("w", kind, [3], numbers))
    check(numpy_helper.from_array(as_raw, "w"))
    as_raw = numpy_helper.to_array(helper.make_tensor("w", kind, [3], [0.0, 1.0, sign * numpy.nan]))
    with pytest.raises(CheckFailed, match=r"is not measured \(nonfinite\): its weights 'w' hold NaN"):
        check(numpy_helper.from_array(as_raw, "w"))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.COMPLEX64])
def test_nan_is_found_in_numbers_that_are_not_raw(check: Check, kind: int) -> None:
    with pytest.raises(CheckFailed, match="hold NaN"):
        check(helper.make_tensor("w", kind, [2], [1.0, numpy.nan]))


def test_nan_is_found_in_the_last_block(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxdata, "BLOCK_BYTES", 8)
    with pytest.raises(CheckFailed, match="hold NaN"):
        check(numpy_helper.from_array(numpy.array([0, 1, 2, 3, numpy.nan], numpy.float32), "w"))


def test_nan_is_found_in_a_sparse_tensor(check: Check) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [numpy.nan])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [4])
    with pytest.raises(CheckFailed, match="its weights 's' hold NaN"):
        check(sparse_initializer=[sparse])


def test_nan_is_found_in_a_constant_and_let_be_in_what_another_operator_is_told(tmp_path: Path) -> None:
    nan = helper.make_tensor("k", TensorProto.FLOAT, [1], [numpy.nan])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    for operator in ("Constant", "TreeEnsemble"):
        graph = helper.make_graph([helper.make_node(operator, [], ["y"], value=nan)], "g", [], [y])
        (tmp_path / f"{operator}.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    check_onnx_file(tmp_path / "TreeEnsemble.onnx")
    with pytest.raises(CheckFailed, match="its weights 'k' hold NaN"):
        check_onnx_file(tmp_path / "Constant.onnx")


def test_weights_beside_the_file_may_be_read(check: Check, data: Path) -> None:
    assert check(outside(location="data.bin")).data_files == (data,)
    assert check(outside((2,), location="./data.bin", offset="8", length="8")).data_files == (data,)
    two = (outside(location="data.bin"), outside((1,), location="data.bin", offset="4"))
    assert check(*two).data_files == (data,)


def test_nan_is_found_beside_the_file_and_only_where_the_tensor_stands(check: Check, data: Path) -> None:
    data.write_bytes(numpy.array([numpy.nan, 1, 2, 3], numpy.float32).tobytes())
    check(outside((3,), location="data.bin", offset="4"))
    with pytest.raises(CheckFailed, match="hold NaN"):
        check(outside((1,), location="data.bin"))


@pytest.mark.parametrize(
    "location", ["../secret.bin", "a/../../secret.bin", "{absolute}", "", "*/_ORT_MEM_ADDR_/*", "data.bin\0", "..", "/"]
)
def test_weights_from_outside_the_folder_are_refused(check: Check, data: Path, location: str) -> None:
    secret = data.parent.parent / "secret.bin"
    secret.write_bytes(ROW.tobytes())
    in_memory = data.parent / "*" / "_ORT_MEM_ADDR_"
    in_memory.mkdir(parents=True)
    (in_memory / "*").write_bytes(ROW.tobytes())  # a file of the name that stands for an address
    with pytest.raises(VlmError, match="expected a file in its own folder"):
        check(outside(location=location.format(absolute=secret)))


def test_weights_behind_a_symbolic_link_in_any_part_are_refused(check: Check, data: Path) -> None:
    elsewhere = data.parent.parent / "elsewhere"
    elsewhere.mkdir()
    data.rename(elsewhere / "data.bin")
    data.symlink_to(elsewhere / "data.bin")
    (data.parent / "folder").symlink_to(elsewhere)
    for location in ("data.bin", "folder/data.bin"):
        with pytest.raises(VlmError, match="symbolic link"):
            check(outside(location=location))


def test_weights_behind_a_hard_link_are_refused(check: Check, data: Path) -> None:
    os.link(data, data.parent.parent / "another-name")
    with pytest.raises(VlmError, match="is a hard link"):
        check(outside(location="data.bin"))


def test_a_pipe_in_place_of_weights_is_refused_and_not_opened(check: Check, data: Path) -> None:
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(VlmError, match="a named pipe"):
        check(outside(location="data.bin"))


@pytest.mark.parametrize(
    "entries",
    [{"offset": "4"}, {"offset": "16"}, {"length": "20"}, {"length": "12"}, {"offset": "9223372036854775807"}],
)
def test_a_place_that_is_not_all_inside_the_file_is_refused(check: Check, data: Path, entries: dict[str, str]) -> None:
    with pytest.raises(VlmError, match="wants 16 bytes for 'w'"):
        check(outside(location="data.bin", **entries))


@pytest.mark.parametrize("entries", [{"offset": "-4"}, {"offset": "0x4"}, {"offset": "9" * 5000}, {"length": " 4"}])
def test_a_place_that_is_no_plain_number_is_refused(check: Check, data: Path, entries: dict[str, str]) -> None:
    with pytest.raises(VlmError, match="does not say plainly where"):
        check(outside(location="data.bin", **entries))


def test_a_place_said_twice_is_refused(check: Check, data: Path) -> None:
    tensor = outside(location="data.bin")
    tensor.external_data.add(key="location", value="../secret.bin")
    with pytest.raises(VlmError, match="does not say plainly where"):
        check(tensor)


def test_entries_count_even_where_the_tensor_does_not_call_itself_external(check: Check, data: Path) -> None:
    tensor = outside(location="../secret.bin")
    tensor.ClearField("data_location")
    tensor.raw_data = ROW.tobytes()
    with pytest.raises(VlmError, match="expected a file in its own folder"):
        check(tensor)
