"""Fashion-MNIST from its four files: Debian's, downloaded, damaged."""

import gzip
import hashlib
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlm_contract.errors import VlmError
from vlm_train.data import open_data, splits_of
from vlm_train.sources import _download, fashion_mnist


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def lay_down(folder: Path, monkeypatch: pytest.MonkeyPatch, compresslevel: int = 9) -> dict[str, np.ndarray]:
    """Small files of the same form, and their checksums in place of the real ones."""
    random = np.random.RandomState(0)
    arrays = {
        "train-images-idx3-ubyte.gz": random.randint(0, 256, (200, 28, 28)).astype(np.uint8),
        "train-labels-idx1-ubyte.gz": np.arange(200, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte.gz": random.randint(0, 256, (50, 28, 28)).astype(np.uint8),
        "t10k-labels-idx1-ubyte.gz": np.arange(50, dtype=np.uint8) % 10,
    }
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(gzip.compress(idx(array), compresslevel))
        monkeypatch.setitem(fashion_mnist.SHA256, name, hashlib.sha256(idx(array)).hexdigest())
    return arrays


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "datasets"
    lay_down(folder, monkeypatch)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    return folder


def test_images_are_padded_with_black_and_have_three_equal_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = lay_down(tmp_path / "datasets", monkeypatch)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "datasets")
    _, splits = open_data("fashion-mnist", None, 0)
    assert splits.test.pixels.shape == (50, 32, 32, 3)
    for channel in range(3):
        assert np.array_equal(splits.test.pixels[:, 2:-2, 2:-2, channel], arrays["t10k-images-idx3-ubyte.gz"])
    assert not splits.test.pixels[:, :2].any()
    assert not splits.test.pixels[:, :, -2:].any()


def test_it_has_a_test_part_of_its_own(debian: Path) -> None:
    data, splits = open_data("fashion-mnist", 100, 0)
    assert (data.samples, data.train_samples, data.validation_samples, data.test_samples) == (100, 90, 10, 50)
    assert data.test_origin == "the 50 test images of fashion-mnist"
    assert np.array_equal(splits_of(data).train.pixels, splits.train.pixels)


@pytest.mark.parametrize("name", fashion_mnist.SHA256)
def test_a_file_with_other_contents_is_named_with_its_checksum(debian: Path, name: str) -> None:
    (debian / name).write_bytes(gzip.compress(b"other"))
    with pytest.raises(VlmError, match=rf"{name} is damaged: the sha256 of its contents is .*, expected") as caught:
        open_data("fashion-mnist", None, 0)
    assert "reinstall dataset-fashion-mnist" in caught.value.hint


@pytest.mark.parametrize("contents", [b"<html>404</html>", b"\x1f\x8b\x08", gzip.compress(bytes(1000))[:20]])
def test_a_file_that_is_cut_off_or_no_gzip_is_named(debian: Path, contents: bytes) -> None:
    (debian / "t10k-images-idx3-ubyte.gz").write_bytes(contents)
    with pytest.raises(VlmError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        open_data("fashion-mnist", None, 0)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00",
        b"\x00\x00\x08\x03\x00\x00",
        idx(np.zeros((2, 3), np.uint8))[:-1],
        idx(np.zeros((2, 3), np.uint8)) + b"\x00",
        struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3),
    ],
)
def test_what_is_no_whole_idx_file_of_bytes_is_refused(contents: bytes) -> None:
    with pytest.raises(VlmError, match=r"some\.gz is damaged"):
        fashion_mnist.idx_array(contents, Path("some.gz"))


def test_without_debians_package_the_files_are_those_of_the_data_folder(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lay_down(data_folder / "fashion-mnist", monkeypatch)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "not there")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (data_folder / "fashion-mnist").iterdir()}
    names_them = SimpleNamespace(
        FashionMNIST=SimpleNamespace(resources=list(sums.items()), mirrors=["http://127.0.0.1:9/"])
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", names_them)
    assert open_data("fashion-mnist", None, 0)[0].samples == 200
    (data_folder / "fashion-mnist/train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(VlmError, match=r"train-images-idx3-ubyte\.gz could not be downloaded"):
        open_data("fashion-mnist", None, 0)


@pytest.mark.slow
def test_torchvision_names_the_same_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    asked: list[_download.Remote] = []

    def fetched(remote: _download.Remote, *_: object) -> Path:
        asked.append(remote)
        return tmp_path

    monkeypatch.setattr(_download, "fetched", fetched)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)
    fashion_mnist._paths(lambda text: None)
    assert [remote.name for remote in asked] == list(fashion_mnist.SHA256)
    assert all(url.endswith(remote.name) for remote in asked for url in remote.urls)
    assert [len(remote.md5) for remote in asked] == [32] * 4


@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_debians_files_are_read_as_they_are() -> None:
    data, splits = open_data("fashion-mnist", 5000, 0)
    assert (data.train_samples, data.validation_samples, data.test_samples) == (4500, 500, 10_000)
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    assert np.bincount(splits.train.labels).tolist() == [450] * 10
    assert round(splits.test.pixels[:, 2:-2, 2:-2].mean() / 255, 3) == 0.287
