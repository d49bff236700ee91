"""CIFAR-10: 50,000 + 10,000 colour images of ten classes, 32x32."""

from vlm_train.sources import Opened, Show
from vlm_train.sources._cifar import Archive, opened_archive

ARCHIVE = Archive(
    name="cifar10",
    file="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    classes=10,
    classes_file="batches.meta.txt",
    train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"test_batch.bin": 10_000},
    label_bytes=1,
)


def opened(argument: str, image_size: int | None, show: Show) -> Opened:
    return opened_archive(ARCHIVE, argument, image_size, show)
