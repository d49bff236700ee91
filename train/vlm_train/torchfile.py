"""What torch.save wrote, judged by its bytes alone: nothing is executed, and torch is not imported."""

import pickletools
import re
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from vlm_contract.errors import VlmError
from vlm_contract.files import what_it_is

ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how what torch.save writes begins
LEGACY_PREFACE = 3  # pickles before that of the object: a magic number, the version, the machine
PICKLE_LIMIT_BYTES = 4 * 2**20  # of names and shapes; a tensor takes about 150, twice that with AdamW's state
MOST_STEPS = 500_000  # opcodes followed, in a second or two; a tensor takes about 40
LOCAL_HEADER_BYTES = 30  # of a zip member, then its name and its extra field: APPNOTE.TXT 4.3.7
SAVE_AGAIN = "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors') where the file was made"
FETCH_AGAIN = "fetch the file again, and compare its size with that at its source"
# What a state dict is made of. torch.load(weights_only=True) admits fewer, and has the last word.
PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(bytearray|set|complex)"
    r"|argparse\.Namespace|torch\.(Size|device|nn\.parameter\.Parameter|serialization\._get_layout)"
    r"|torch\.((storage|cuda|sparse)\.)*\w*(Storage|Tensor)|torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2)"
    r"|torch\.(bfloat|b?complex|float|q?u?int|bool|bits|per_tensor_|per_channel_)\w*"
)
MOST_DIMENSIONS, LARGEST_DIMENSION = 64, 2**63
SHOWN = 120  # characters of a name from the file
TUPLES = ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
INERT = object()  # stands for what would be made, and is never asked anything
ITEM_BYTES = {  # of the storages whose pickles name a type; of others the least
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
    "ByteStorage": 1,
    "CharStorage": 1,
    "BoolStorage": 1,
    "UntypedStorage": 1,
}


class Reference(str):
    """The dotted name of a class or a function that a pickle asks for."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, as the pickle speaks of it."""

    key: str
    item_bytes: int
    items: int

    @property
    def bytes(self) -> int:
        return self.item_bytes * self.items


@dataclass(frozen=True)
class Claim:
    """A tensor that is to be made of a storage."""

    name: str  # as in the state dict, where the pickle says it just before
    storage: Storage
    shape: tuple[int, ...]


@dataclass
class Trace:
    """What came by while a pickle's opcodes were followed."""

    references: list[Reference] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


def check_torch_file(path: Path) -> None:
    """Raise VlmError unless this is a file of torch.save that holds no more than tensors and plain values.

    Of a zip its index and its pickle are read, of the format before it the first pickles.
    """
    with open(path, "rb") as file:
        head = file.read(len(LEGACY))
        if head.startswith(ZIP):
            _check_zip(path, file)
        elif head.startswith(LEGACY):
            _check_legacy(path, file)
        else:
            raise _something_else(path)


def _something_else(path: Path) -> VlmError:
    found = what_it_is(path)
    hint = FETCH_AGAIN if "page" in found else "git lfs pull" if "lfs" in found else SAVE_AGAIN
    return VlmError(
        f"{path} holds no weights: it is {found or 'neither safetensors nor what torch.save writes'}.", hint=hint
    )


def _check_zip(path: Path, file: BinaryIO) -> None:
    members = _members(path, file)
    inside = {member.filename.partition("/")[2]: member for member in members}
    if kind := _kind_of_zip(set(inside)):
        raise VlmError(f"{path} holds no state dict: it is {kind}.", hint=SAVE_AGAIN)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise VlmError(
            f"{path} has compressed members, which torch.save never writes and which can inflate endlessly.",
            hint=SAVE_AGAIN,
        )
    if len({member.filename.partition("/")[0] for member in members}) != 1 or len(inside) != len(members):
        raise VlmError(f"{path} has several roots or a member twice, which torch.save never writes.", hint=SAVE_AGAIN)
    trace = _traced(path, BytesIO(_contents(path, file, inside["data.pkl"])))
    _check_references(path, trace)
    for storage in trace.storages:
        member = inside.get(f"data/{storage.key}")
        _check_stored(path, member.file_size if member else 0, storage.bytes)
    _check_claims(path, trace)


def _check_legacy(path: Path, file: BinaryIO) -> None:
    """The format before the zip: pickles, that of the object and then the storages' keys, and the storages."""
    file.seek(0)
    pickled = BytesIO(file.read(PICKLE_LIMIT_BYTES))
    for _ in range(LEGACY_PREFACE):
        deque(_opcodes(path, pickled), maxlen=0)
    trace = _traced(path, pickled)
    _check_references(path, trace)
    wanted = {storage.key: storage.bytes for storage in trace.storages}
    _check_stored(path, path.stat().st_size - pickled.tell(), sum(wanted.values()))
    _check_claims(path, trace)


def _members(path: Path, file: BinaryIO) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        raise VlmError(f"{path} is a zip archive that was cut short or damaged.", hint=FETCH_AGAIN) from None


def _kind_of_zip(inside: set[str]) -> str:
    """What a zip archive of these members is, where it is no torch.save file; empty where it is one."""
    if inside & {"archive_format", "serialized_exported_program.json"}:
        return "a program of torch.export, and opening one can run code"
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "a TorchScript program, and opening one can run code"
    return "" if "data.pkl" in inside else "a zip archive that torch.save did not write"


def _contents(path: Path, file: BinaryIO, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a stored member, without zipfile: torch can be told to write no checksums, and zipfile insists."""
    if member.file_size > PICKLE_LIMIT_BYTES:
        raise _endless(path)
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER_BYTES)
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    return file.read(member.file_size)


def _opcodes(path: Path, pickled: BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The opcodes of one pickle with their arguments; `genops` reads them and executes none."""
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if step == MOST_STEPS:
                raise _endless(path)
            yield opcode, argument
    except ValueError:
        if len(pickled.getbuffer()) == PICKLE_LIMIT_BYTES and not pickled.read(1):
            raise _endless(path) from None
        raise VlmError(f"{path} is damaged or was cut short.", hint=FETCH_AGAIN) from None


def _endless(path: Path) -> VlmError:
    return VlmError(
        f"{path} holds more than weights: its pickle has over {PICKLE_LIMIT_BYTES} bytes or {MOST_STEPS} steps.",
        hint=SAVE_AGAIN,
    )


def _traced(path: Path, pickled: BytesIO) -> Trace:
    """Follow a pickle with stand-ins for all that it would make. Raises VlmError where it cannot be followed."""
    trace = Trace()
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument in _opcodes(path, pickled):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = stack[-1]
            elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            else:
                taken = _taken(stack, opcode)
                stack += _made(trace, stack, opcode, argument, taken)
    except (IndexError, KeyError, TypeError, ValueError):
        raise VlmError(f"{path} is damaged: its pickle cannot be followed.", hint=FETCH_AGAIN) from None
    return trace


def _taken(stack: list[Any], opcode: pickletools.OpcodeInfo) -> list[Any]:
    """What an opcode takes off the stack: a fixed number, or all down to the last mark and a number below it."""
    before, above = opcode.stack_before, []
    fixed = len(before)
    if pickletools.markobject in before:
        fixed = before.index(pickletools.markobject)
        while (top := stack.pop()) is not pickletools.markobject:
            above.append(top)
    below = [stack.pop() for _ in range(fixed)]
    return below[::-1] + above[::-1]


def _made(trace: Trace, stack: list[Any], opcode: pickletools.OpcodeInfo, argument: Any, taken: list[Any]) -> list[Any]:
    """What an opcode puts on the stack: plain values, names and storages as they are, else something inert."""
    if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
        trace.references.append(Reference(".".join(argument.split(" ", 1) if argument else taken)))
        return trace.references[-1:]
    if opcode.name in TUPLES:
        return [tuple(taken)]
    if opcode.name == "BINPERSID":
        return [_storage(trace, *taken)]
    if opcode.name == "REDUCE":
        _note_tensor(trace, stack, *taken)
    if argument is not None and not opcode.stack_before:
        return [argument] * len(opcode.stack_after)
    return [pickletools.markobject] if opcode.name == "MARK" else [INERT] * len(opcode.stack_after)


def _storage(trace: Trace, identity: Any) -> Any:
    """The storage that torch.save identifies by ("storage", type, key, location, items, …)."""
    if not isinstance(identity, tuple) or identity[0] != "storage":
        return INERT
    kind, key, items = identity[1], identity[2], identity[4]
    item_bytes = ITEM_BYTES.get(kind.rpartition(".")[2], 1)
    trace.storages.append(Storage(str(key), item_bytes, _checked(items)))
    return trace.storages[-1]


def _note_tensor(trace: Trace, stack: list[Any], function: Any, arguments: Any) -> None:
    """Note the tensor that `torch._utils._rebuild_tensor_v2(storage, offset, shape, …)` and its like would make."""
    match arguments:
        case (Storage() as storage, _, tuple() as shape, *_) if isinstance(function, Reference):
            name = stack[-1] if stack and type(stack[-1]) is str else "a tensor"
            trace.claims.append(Claim(name, storage, tuple(map(_checked, shape[: MOST_DIMENSIONS + 1]))))


def _checked(number: Any) -> int:
    """A number of elements. Raises ValueError where it can be none."""
    if type(number) is not int or not 0 <= number < LARGEST_DIMENSION:
        raise ValueError
    return number


def _check_references(path: Path, trace: Trace) -> None:
    """Raise VlmError unless all that the pickle asks for is what plain weights are made of."""
    for reference in trace.references:
        if not PLAIN.fullmatch(reference):
            raise VlmError(
                f"{path} holds the pickled object {reference[:SHOWN]}, no plain state dict, and opening that would run "
                "code.",
                hint=SAVE_AGAIN,
            )


def _check_stored(path: Path, found: int, wanted: int) -> None:
    if found < wanted:
        raise VlmError(
            f"{path} was cut short or is damaged: of {wanted} bytes of tensors it has {found}.", hint=FETCH_AGAIN
        )


def _check_claims(path: Path, trace: Trace) -> None:
    """Raise VlmError where a tensor is larger than its storage."""
    for claim in trace.claims:
        claimed = prod(claim.shape) * claim.storage.item_bytes
        if claimed > claim.storage.bytes:
            raise VlmError(
                f"{path} stores {claim.storage.bytes} bytes for {claim.name[:SHOWN]!r}, which claims {claimed}.",
                hint=SAVE_AGAIN,
            )
