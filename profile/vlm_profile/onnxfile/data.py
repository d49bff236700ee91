"""The numbers in an ONNX file and beside it: what it claims and stores, where they stand, whether any is NaN."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import check_regular_file
from vlm_profile.onnxfile.parts import STRING, Model, Tensor, shown
from vlm_profile.onnxfile.wire import Damaged, varint

if TYPE_CHECKING:
    import numpy

DATA_LIMIT_BYTES = 2**33  # of one file of external data
CLAIM_LIMIT_BYTES = 2**31  # of an input, or of a sparse tensor made dense: memory that the file need not bring along
IN_MEMORY = "_ORT_MEM_ADDR_"  # in place of a path: the numbers lie at an address
NUMBER = re.compile("[0-9]{1,19}")
SHAPE_LIMIT_BYTES = 2**20  # of numbers that shapes are read from
BLOCK_BYTES = 2**26  # looked through for NaN at a time
FETCH_AGAIN = "fetch the file again, and compare its size with that at its source"
SAVE_AGAIN = "onnx.save(onnx.load('model.onnx'), 'whole.onnx') where the file was made"
EXPORT_AGAIN = "vlm-export, from weights that are finite"
# Infinity as whole numbers of a tensor's type, by TensorProto.DataType: what is above it, sign aside, is NaN.
INFINITY = {1: ("<u4", 0x7F80_0000), 10: ("<u2", 0x7C00), 11: ("<u8", 0x7FF0_0000_0000_0000), 16: ("<u2", 0x7F80)}
INFINITY |= {14: INFINITY[1], 15: INFINITY[11]}  # complex numbers are pairs
# numpy's names of the types that shapes, axes and scales come in.
NUMPY_TYPE = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}


@dataclass(frozen=True)
class Place:
    """Where in another file the numbers of a tensor stand."""

    file: Path
    offset: int
    bytes: int


def check_memory(path: Path, model: Model) -> None:
    """Raise VlmError where a tensor claims more than the file stores for it, or an input is beyond all measure."""
    for declared in (*model.graph.inputs, *model.sparse):
        if declared.bytes > CLAIM_LIMIT_BYTES:
            size = "x".join(map(str, declared.shape))
            raise VlmError(f"{path} declares {shown(declared.name)} with {size} elements: {declared.bytes} bytes.")
    for tensor in model.tensors:
        if not tensor.is_external and tensor.elements > (stored := stored_elements(tensor)):
            raise VlmError(
                f"{path} stores {stored} elements for the tensor {shown(tensor.name)}, which claims {tensor.elements}.",
                hint=FETCH_AGAIN,
            )


def stored_elements(tensor: Tensor) -> int:
    """Elements in the file, whichever field holds them: TensorProto says which type goes where."""
    if tensor.type == STRING:
        return len(tensor.typed["strings"])
    plain = (*tensor.raw, *tensor.typed["floats"], *tensor.typed["doubles"])
    numbers = sum(_numbers_in(piece) for name in ("int32s", "int64s", "uint64s") for piece in tensor.typed[name])
    return sum(map(len, plain)) * 8 // tensor.bits + numbers * max(1, 8 // tensor.bits)


def _numbers_in(packed: memoryview) -> int:
    """The last byte of each has its highest bit clear."""
    import numpy

    return int(numpy.count_nonzero(numpy.frombuffer(packed, numpy.uint8) < 128))


def place_of(path: Path, tensor: Tensor) -> Place:
    """Where the tensor's numbers stand. Raises VlmError unless that is inside a plain file of the model's folder."""
    said = dict(tensor.external)
    location, offset = said.get("location", ""), said.get("offset", "0")
    wanted = -(-tensor.elements * tensor.bits // 8)
    length = said.get("length", str(wanted))
    if len(said) != len(tensor.external) or not all(map(NUMBER.fullmatch, (offset, length))):
        raise VlmError(f"{path} does not say plainly where the numbers of {shown(tensor.name)} stand.")
    file = _data_file(path, location)
    size = file.stat().st_size
    if int(offset) + max(int(length), wanted) > size or int(length) < wanted:
        raise VlmError(
            f"{path} wants {wanted} bytes for {shown(tensor.name)} and takes {length} from byte {offset} on "
            f"of {file}, which has {size}.",
            hint=FETCH_AGAIN,
        )
    return Place(file, int(offset), wanted)


def _data_file(path: Path, location: str) -> Path:
    """The file that a location names. Raises VlmError where it leaves the model's folder in any way."""
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\0" in location or IN_MEMORY in location:
        raise VlmError(
            f"{path} takes weights from {shown(location)}; expected a file in its own folder.", hint=SAVE_AGAIN
        )
    file = path.parent
    for part in parts:
        file /= part
        if file.is_symlink():
            raise VlmError(
                f"{path} takes weights through the symbolic link {file}, which may lead anywhere.",
                hint=f"cp -rL {path.parent} COPY",
            )
    if check_regular_file(file, limit_bytes=DATA_LIMIT_BYTES).st_nlink > 1:
        raise VlmError(
            f"{path} takes weights from {file}, which is a hard link: another name of it may stand anywhere.",
            hint=f"cp -r {path.parent} COPY",
        )
    return file


def check_no_nan(path: Path, tensor: Tensor, place: Place | None) -> None:
    """Raise CheckFailed where weights hold NaN. Infinities are let be: masks and bounds are made of them."""
    import numpy

    if tensor.type not in INFINITY or not tensor.is_weight:
        return
    kind, infinity = INFINITY[tensor.type]
    size = numpy.dtype(kind).itemsize
    without_sign = 2 ** (8 * size - 1) - 1
    for block in _blocks(tensor, place):
        numbers = numpy.frombuffer(block, kind, count=len(block) // size)
        if ((numbers & without_sign) > infinity).any():
            raise CheckFailed(
                f"{path} is not measured (nonfinite): its weights {shown(tensor.name)} hold NaN.", hint=EXPORT_AGAIN
            )


def _blocks(tensor: Tensor, place: Place | None) -> Iterator[memoryview | bytes]:
    """The bytes of a tensor of floats; halves that stand in integers are left to the verdict on outputs."""
    for piece in (*tensor.raw, *tensor.typed["floats"], *tensor.typed["doubles"]):
        yield from (piece[at : at + BLOCK_BYTES] for at in range(0, len(piece), BLOCK_BYTES))
    if place:
        with open(place.file, "rb") as file:
            file.seek(place.offset)
            for at in range(0, place.bytes, BLOCK_BYTES):
                yield file.read(min(BLOCK_BYTES, place.bytes - at))


def numbers_of(tensor: Tensor) -> "numpy.ndarray[Any, Any] | None":
    """The numbers of a small tensor in the file, in its shape; None where they stand outside or are of another type."""
    import numpy

    if tensor.is_external or tensor.type not in NUMPY_TYPE:
        return None
    kind = numpy.dtype(NUMPY_TYPE[tensor.type]).newbyteorder("<")
    try:
        if tensor.raw:
            return numpy.frombuffer(tensor.raw[0], kind).reshape(tensor.shape)
        if kind.kind == "f":
            pieces = tensor.typed["floats" if kind.itemsize == 4 else "doubles"]
            return numpy.frombuffer(b"".join(pieces), kind).reshape(tensor.shape)
        whole = tensor.typed["int64s" if kind.itemsize == 8 else "int32s"]
        return numpy.array(integers_of(whole), kind).reshape(tensor.shape)
    except (ValueError, OverflowError):
        return None


def integers_of(pieces: Sequence[memoryview]) -> tuple[int, ...]:
    """Signed whole numbers, as protobuf writes them one after the other.

    Raises ValueError where they are damaged, or more than a shape could need.
    """
    found: list[int] = []
    if sum(map(len, pieces)) > SHAPE_LIMIT_BYTES:
        raise ValueError("they are too many")
    for piece in pieces:
        at = 0
        while at < len(piece):
            try:
                number, at = varint(piece, at)
            except Damaged as error:
                raise ValueError(str(error)) from None
            number &= 2**64 - 1
            found.append(number - 2**64 if number >= 2**63 else number)
    return tuple(found)


def floats_of(pieces: Sequence[memoryview]) -> "numpy.ndarray[Any, Any]":
    """Floats of 32 bits. Raises ValueError where one is cut short."""
    import numpy

    return numpy.frombuffer(b"".join(pieces), "<f4")
