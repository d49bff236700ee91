"""CIFAR-100: 50,000 + 10,000 colour images of a hundred classes, 32x32; the fine labels."""

from vlm_train.sources import Opened, Show
from vlm_train.sources._cifar import Archive, opened_archive

ARCHIVE = Archive(
    name="cifar100",
    file="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    classes=100,
    classes_file="fine_label_names.txt",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    label_bytes=2,  # the coarse label, then the fine one
)


def opened(argument: str, image_size: int | None, show: Show) -> Opened:
    return opened_archive(ARCHIVE, argument, image_size, show)
