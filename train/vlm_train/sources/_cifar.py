"""The binary archives of the CIFAR page: records of label bytes and 3x32x32 pixel bytes. The others are pickles."""

import hashlib
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import VlmError
from vlm_train.sources import IMAGE_SIZE, Images, Opened, Show, check_plain
from vlm_train.sources._download import Remote, fetched

PAGE = "https://www.cs.toronto.edu/~kriz/"
PIXEL_BYTES = 3 * IMAGE_SIZE**2
NAMES_BYTES = 1 << 16  # the most that a list of class names may hold

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Archive:
    """What one archive holds."""

    name: str  # of the data set
    file: str
    md5: str  # as published on the page
    classes: int
    classes_file: str
    train: dict[str, int]  # files, with the number of their records
    test: dict[str, int]
    label_bytes: int  # before the pixels; the last of them is the class


def opened_archive(archive: Archive, argument: str, image_size: int | None, show: Show) -> Opened:
    """Both parts; nothing is unpacked to disk. Raises VlmError for an archive that is damaged or cannot be had."""
    check_plain(archive.name, argument, image_size)
    path = fetched(Remote(archive.file, (PAGE + archive.file,), archive.md5), archive.name, show)
    members = read_members(path, archive)
    return Opened(
        name=archive.name,
        source=archive.name,
        classes=_classes(path, members[archive.classes_file], archive),
        fingerprint=hashlib.sha256(f"{archive.file} {archive.md5}".encode()).hexdigest(),
        train=_images(path, [members[name] for name in archive.train], archive),
        test=_images(path, [members[name] for name in archive.test], archive),
    )


def read_members(path: Path, archive: Archive) -> dict[str, bytes]:
    """The files that are needed, by name, each of the size that it must have. Raises VlmError naming the archive."""
    record_bytes = archive.label_bytes + PIXEL_BYTES
    sizes = {name: count * record_bytes for name, count in (archive.train | archive.test).items()}
    sizes[archive.classes_file] = NAMES_BYTES
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as file:
            for member in file:
                name = PurePosixPath(member.name).name
                content = file.extractfile(member) if member.isfile() and name in sizes else None
                if content is None:
                    continue
                if member.size != sizes[name] and not (name == archive.classes_file and member.size < sizes[name]):
                    raise _damaged(path, f"{name} has {member.size} bytes")
                members[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _damaged(path, str(error)) from None
    if missing := sizes.keys() - members.keys():
        raise _damaged(path, f"it holds no {', '.join(sorted(missing))}")
    return members


def _images(path: Path, files: list[bytes], archive: Archive) -> Images:
    records: Bytes = np.concatenate([np.frombuffer(file, np.uint8) for file in files])
    records = records.reshape(-1, archive.label_bytes + PIXEL_BYTES)
    labels = records[:, archive.label_bytes - 1].astype(np.int64)
    if labels.max() >= archive.classes:
        raise _damaged(path, f"it holds the label {labels.max()}, expected 0 to {archive.classes - 1}")
    planes = records[:, archive.label_bytes :].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return Images(planes.transpose(0, 2, 3, 1), labels)


def _classes(path: Path, text: bytes, archive: Archive) -> tuple[str, ...]:
    names = tuple(text.decode(errors="replace").split())
    if len(names) != archive.classes:
        raise _damaged(path, f"{archive.classes_file} names {len(names)} classes, expected {archive.classes}")
    return names


def _damaged(path: Path, what: str) -> VlmError:
    return VlmError(f"{path} is damaged: {what}.", hint=f"rm {path}, and the same command again")
