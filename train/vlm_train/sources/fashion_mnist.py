"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, padded with black to 32x32 and repeated to 3 channels.

The four files of Debian's package dataset-fashion-mnist are read as they are where it is installed; otherwise those
that torchvision names are downloaded. Debian compressed them anew: what is compared is what they hold.
"""

import gzip
import hashlib
import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file, what_it_is
from vlm_train.sources import Images, Opened, Pixels, Show, check_plain

NAME = "fashion-mnist"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# sha256 of each file's contents, decompressed. The same for Debian's files and for those whose md5 sums stand in
# github.com/zalandoresearch/fashion-mnist, README.md.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
LIMIT_BYTES = 64 << 20  # of a file, compressed or not; the largest holds 47 MB
BYTE_ITEMS = 8  # the third byte of an IDX file: its items are unsigned bytes


def opened(argument: str, image_size: int | None, show: Show) -> Opened:
    """Both parts, verified. Raises VlmError for files that are damaged or cannot be had."""
    check_plain(NAME, argument, image_size)
    train_images, train_labels, test_images, test_labels = (
        checked_idx(path, SHA256[path.name]) for path in _paths(show)
    )
    return Opened(
        name=NAME,
        source=NAME,
        classes=CLASSES,
        fingerprint=hashlib.sha256("".join(SHA256.values()).encode()).hexdigest(),
        train=Images(_coloured(train_images), train_labels.astype(np.int64)),
        test=Images(_coloured(test_images), test_labels.astype(np.int64)),
    )


def _paths(show: Show) -> list[Path]:
    """The four files, in the order of SHA256."""
    if all((DEBIAN / name).exists() for name in SHA256):
        return [DEBIAN / name for name in SHA256]
    try:
        from torchvision.datasets import FashionMNIST
    except ImportError as error:
        raise require_extra("train", error) from None
    from vlm_train.sources._download import Remote, fetched

    md5 = dict(FashionMNIST.resources)
    remotes = [Remote(name, tuple(f"{mirror}{name}" for mirror in FashionMNIST.mirrors), md5[name]) for name in SHA256]
    return [fetched(remote, NAME, show) for remote in remotes]


def checked_idx(path: Path, sha256: str) -> npt.NDArray[np.uint8]:
    """The array in a compressed IDX file whose contents have this checksum. Raises VlmError naming the file."""
    compressed = read_regular_file(path, limit_bytes=LIMIT_BYTES)
    try:
        contents = _decompressed(compressed)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"{what_it_is(path) or 'unknown data'}, with the error: {error}") from None
    found = hashlib.sha256(contents).hexdigest()
    if found != sha256:
        raise _damaged(path, f"the sha256 of its contents is {found}, expected {sha256}")
    return idx_array(contents, path)


def idx_array(contents: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, the kind of item, the number of dimensions, each as 4 bytes, the items."""
    dimensions = contents[3] if contents[:3] == bytes((0, 0, BYTE_ITEMS)) and len(contents) > 3 else 0
    start = 4 + 4 * dimensions
    if not dimensions or len(contents) < start:
        raise _damaged(path, f"it begins with {contents[:4]!r}, which is no IDX file of bytes")
    shape = np.frombuffer(contents, ">u4", dimensions, 4).astype(np.int64)
    if len(contents) - start != shape.prod():
        raise _damaged(path, f"{len(contents) - start} bytes follow a head that announces {'x'.join(map(str, shape))}")
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)


def _decompressed(compressed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(compressed)) as file:
        return file.read(LIMIT_BYTES)


def _coloured(grey: npt.NDArray[np.uint8]) -> Pixels:
    """[n, 28, 28] as [n, 32, 32, 3]: a view that costs one channel."""
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2)))
    return np.broadcast_to(padded[..., None], (*padded.shape, 3))


def _damaged(path: Path, what: str) -> VlmError:
    remedy = (
        "apt-get install --reinstall dataset-fashion-mnist"
        if path.parent == DEBIAN
        else f"rm {path}, and the same command again"
    )
    return VlmError(f"{path} is damaged: {what}.", hint=remedy)
