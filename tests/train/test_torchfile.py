"""What the bytes of a file say before torch sees it; the files are torch's own, or pickles written by hand."""

import pickle
import time
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_contract.errors import VlmError
from vlm_train.torchfile import PICKLE_LIMIT_BYTES, check_torch_file

BOTH = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


class Reaches:
    """Pickled, it is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def saved(folder: Path, content: Any, *, new: bool = True, **options: Any) -> Path:
    torch.save(content, folder / "weights.pt", _use_new_zipfile_serialization=new, **options)
    return folder / "weights.pt"


def zipped(folder: Path, pickled: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(folder / "weights.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for key, content in storages.items():
            archive.writestr(f"a/data/{key}", content)
    return folder / "weights.pt"


@BOTH
def test_what_training_scripts_save_passes(new: bool, tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    content = {
        "state_dict": OrderedDict(weight=weight, half=weight.half(), brain=weight.bfloat16(), counter=torch.tensor(3)),
        "views": [weight.t(), weight[1:], weight.expand(4, 3), torch.zeros(0), torch.zeros(3, dtype=torch.complex64)],
        "optimizer": optimizer.state_dict(),
        "args": Namespace(lr=0.1, amp=True, crop=None, names={"a", "b"}, raw=b"x", large=2**70, kind=torch.float16),
        "best": 71.5,
    }
    check_torch_file(saved(tmp_path, content, new=new))


def test_what_weights_only_admits_is_not_refused_earlier() -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    from vlm_train.torchfile import PLAIN

    assert [name for name in _get_allowed_globals() if not PLAIN.fullmatch(name)] == []


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_call_is_named_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"holds the pickled object (builtins|__builtin__)\.eval"):
        check_torch_file(saved(tmp_path, {"a": torch.zeros(2), "b": Reaches(eval, "1/0")}, pickle_protocol=protocol))


def test_a_call_is_named_in_the_older_format(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"holds the pickled object __builtin__\.eval"):
        check_torch_file(saved(tmp_path, {"a": torch.zeros(2), "b": Reaches(eval, "1/0")}, new=False))


def test_a_name_put_together_on_the_stack_is_found(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"the pickled object posix\.system"):
        check_torch_file(zipped(tmp_path, b"\x80\x04\x8c\x06system\x94\x8c\x05posixh\x00\x93."))


def test_the_oldest_way_to_make_an_object_is_found(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"the pickled object posix\.system"):
        check_torch_file(zipped(tmp_path, b"(S'true'\niposix\nsystem\n."))


@BOTH
def test_a_tensor_larger_than_its_storage_is_named(new: bool, tmp_path: Path) -> None:
    fraud = {"a": torch.zeros(2), "layer.weight": torch.zeros(1).expand(2**20, 2**20)}
    with pytest.raises(VlmError, match=r"stores 4 bytes for 'layer\.weight', which claims 4398046511104"):
        check_torch_file(saved(tmp_path, fraud, new=new))


def test_a_storage_larger_than_its_bytes_is_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(tmp_path, {"a": torch.zeros(1000)})) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        pickled = archive.read(name)
    with pytest.raises(VlmError, match="of 4000 bytes of tensors it has 4"):
        check_torch_file(zipped(tmp_path, pickled, **{"0": bytes(4)}))
    with pytest.raises(VlmError, match="of 4000 bytes of tensors it has 0"):
        check_torch_file(zipped(tmp_path, pickled))


def test_the_older_format_cut_short_is_said_to_be(tmp_path: Path) -> None:
    file = saved(tmp_path, {"a": torch.zeros(1000)}, new=False)
    whole = file.read_bytes()
    for length in (len(whole) - 100, 100, 30):
        file.write_bytes(whole[:length])
        with pytest.raises(VlmError, match="cut short"):
            check_torch_file(file)


def test_checksums_may_be_missing(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        file = saved(tmp_path, {"a": torch.zeros(2)})
    finally:
        torch.serialization.set_crc32_options(True)
    check_torch_file(file)


@pytest.mark.parametrize(
    "pickled",
    [
        bytes(1000),
        b"\x80\x02",
        b"u.",
        b"t.",
        b"h\x05.",
        b"\x80\x02}q\x00",
        b"(NNN\x93.",
        b"X\xff\xff\xff\x7fa.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"(X\x07\x00\x00\x00storageX\x12\x00\x00\x00torch.FloatStorageX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\xfftQ.",
    ],
)
def test_a_pickle_that_cannot_be_followed_is_damaged(pickled: bytes, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="damaged"):
        check_torch_file(zipped(tmp_path, pickled))


def test_endless_descriptions_are_not_followed(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="holds more than weights"):
        check_torch_file(zipped(tmp_path, b"N" * (PICKLE_LIMIT_BYTES + 1)))
    with pytest.raises(VlmError, match="holds more than weights"):
        check_torch_file(saved(tmp_path, {"a": "x" * PICKLE_LIMIT_BYTES}, new=False))


@pytest.mark.parametrize("repeated", [b"N0", b"(t0", b"\x85", b"2\x86", b"(N(Nee"])
def test_a_pickle_of_many_small_steps_takes_seconds_at_most(repeated: bytes, tmp_path: Path) -> None:
    steps = repeated * (PICKLE_LIMIT_BYTES // len(repeated) - 4)
    file = zipped(tmp_path, b"]]" + steps + b".")
    began = time.process_time()
    with pytest.raises(VlmError):
        check_torch_file(file)
    assert time.process_time() - began < 10


def test_a_shape_of_many_dimensions_is_no_shape(tmp_path: Path) -> None:
    storage = pickle.dumps(("storage", "torch.FloatStorage", "0", "cpu", 1), 2)[2:-1] + b"Q"
    shape = b"(" + b"M\xff\xff" * 10**5 + b"t"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"tR."
    began = time.process_time()
    with pytest.raises(VlmError, match="claims"):
        check_torch_file(zipped(tmp_path, tensor, **{"0": bytes(4)}))
    assert time.process_time() - began < 10
