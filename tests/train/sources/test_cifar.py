"""CIFAR from small archives of the same form."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlm_contract.errors import VlmError
from vlm_train.data import open_data
from vlm_train.sources import cifar10, cifar100
from vlm_train.sources._cifar import Archive

FILES = {
    "cifar10": {"batches.meta.txt": "".join(f"class{n}\n" for n in range(10)).encode() + b"\n"},
    "cifar100": {"fine_label_names.txt": "".join(f"class{n}\n" for n in range(100)).encode()},
}


def records(count: int, label_bytes: int, classes: int, seed: int) -> np.ndarray:
    """The pixels of image i in channel c are all i + c."""
    array = np.zeros((count, label_bytes + 3072), np.uint8)
    array[:, 0] = 99  # a coarse label, or the class below
    array[:, label_bytes - 1] = np.arange(count) % classes
    for channel in range(3):
        array[:, label_bytes + 1024 * channel :][:, :1024] = ((np.arange(count) + seed) % 200 + channel)[:, None]
    return array


@pytest.fixture(params=["cifar10", "cifar100"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, data_folder: Path):  # type: ignore[no-untyped-def]
    """The name of a set, its description, and what writes its archive from changed members."""
    name, module = request.param, {"cifar10": cifar10, "cifar100": cifar100}[request.param]
    train = {file: 10 * module.ARCHIVE.classes // len(module.ARCHIVE.train) for file in module.ARCHIVE.train}
    archive = replace(module.ARCHIVE, train=train, test=dict.fromkeys(module.ARCHIVE.test, module.ARCHIVE.classes))

    def write(**changed: bytes | None) -> Path:
        members = {
            file: records(count, archive.label_bytes, archive.classes, 7 * number).tobytes()
            for number, (file, count) in enumerate((archive.train | archive.test).items())
        }
        members |= {**FILES[name], "readme.html": b"words"} | {
            file.replace("__", "."): c for file, c in changed.items()
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            for member, content in reversed(members.items()):
                if content is not None:
                    header = tarfile.TarInfo(f"cifar-binary/{member}")
                    header.size = len(content)
                    file.addfile(header, io.BytesIO(content))
        path = data_folder / name / archive.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
        described = replace(archive, md5=hashlib.md5(buffer.getvalue()).hexdigest())
        monkeypatch.setattr(module, "ARCHIVE", described)
        return path

    return name, archive, write


Small = tuple[str, Archive, Callable[..., Path]]


def test_both_parts_are_read_with_their_classes_and_channels(small: Small) -> None:
    name, archive, write = small
    write()
    data, splits = open_data(name, None, 0)
    assert (data.samples, data.test_samples) == (10 * archive.classes, archive.classes)
    assert splits.classes == tuple(f"class{n}" for n in range(archive.classes))
    assert np.array_equal(splits.test.labels, np.arange(archive.classes))
    assert splits.test.pixels[0].std(axis=(0, 1)).tolist() == [0, 0, 0]
    assert np.diff(splits.test.pixels[0, 0, 0]).tolist() == [1, 1]


def test_training_files_are_read_in_the_order_of_their_names(small: Small) -> None:
    name, archive, write = small
    write()
    _, splits = open_data(name, None, 0)
    firsts = {image[0, 0, 0] for part in (splits.train, splits.validation) for image in part.pixels}
    assert {0, *(7 * number for number in range(len(archive.train)))} <= firsts


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_file_that_is_missing_or_too_short_is_named(small: Small, content: bytes | None) -> None:
    name, archive, write = small
    (file,) = archive.test
    path = write(**{file.replace(".", "__"): content})
    with pytest.raises(VlmError, match=f"{path} is damaged: .*{file}") as caught:
        open_data(name, None, 0)
    assert caught.value.hint == f"rm {path}, and the same command again"


def test_a_label_beyond_the_classes_is_refused(small: Small) -> None:
    name, archive, write = small
    (file,) = archive.test
    wrong = records(archive.classes, archive.label_bytes, archive.classes, 0)
    wrong[3, archive.label_bytes - 1] = archive.classes
    write(**{file.replace(".", "__"): wrong.tobytes()})
    with pytest.raises(VlmError, match=f"the label {archive.classes}, expected 0 to {archive.classes - 1}"):
        open_data(name, None, 0)


def test_too_few_class_names_are_refused(small: Small) -> None:
    name, archive, write = small
    write(**{archive.classes_file.replace(".", "__"): b"one\ntwo\n"})
    with pytest.raises(VlmError, match=f"names 2 classes, expected {archive.classes}"):
        open_data(name, None, 0)


def test_an_archive_that_was_changed_is_refused_before_it_is_read(small: Small) -> None:
    name, _, write = small
    path = write()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VlmError, match="is damaged, or is another file: its md5"):
        open_data(name, None, 0)


def test_an_archive_that_is_none_is_refused(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    name, archive, write = small
    path = write()
    path.write_bytes(b"words")
    module = {"cifar10": cifar10, "cifar100": cifar100}[name]
    monkeypatch.setattr(module, "ARCHIVE", replace(archive, md5=hashlib.md5(b"words").hexdigest()))
    with pytest.raises(VlmError, match=f"{path} is damaged"):
        open_data(name, None, 0)


def test_50000_images_of_cifar_train_and_validate() -> None:
    for archive in (cifar10.ARCHIVE, cifar100.ARCHIVE):
        assert sum(archive.train.values()) == 50_000
        assert sum(archive.test.values()) == 10_000
