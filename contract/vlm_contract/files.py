"""Files, whole or not at all; and what a file really is before anything parses it."""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vlm_contract.errors import VlmError

LOCK_FILE = ".lock"
# First bytes of what is found under the name of a model, a checkpoint or a record.
_FIRST_BYTES = (
    (b"version https://git-lfs", "a git-lfs pointer (the file itself was never fetched: git lfs pull)"),
    (b"<!doctype html", "an HTML page (a download that answered with a web page)"),
    (b"<html", "an HTML page (a download that answered with a web page)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a compiled program"),
    (b"%PDF", "a PDF document"),
    (b"\x80", "a pickle (loading one executes code)"),
)
_KIND = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_regular_file(path: Path, *, limit_bytes: int) -> os.stat_result:
    """Raise VlmError unless `path` is a regular file of 1 to `limit_bytes` bytes; never opens it."""
    try:
        status = path.stat()
    except OSError as error:
        raise VlmError(f"{path} cannot be read: {error.strerror}.", hint="check the path") from None
    if not stat.S_ISREG(status.st_mode):
        raise VlmError(
            f"{path} is {_KIND.get(stat.S_IFMT(status.st_mode), 'no regular file')}; expected a regular file."
        )
    if not os.access(path, os.R_OK):
        raise VlmError(f"{path} cannot be read: permission denied.", hint=f"chmod u+r {path}")
    if status.st_size == 0:
        raise VlmError(f"{path} is empty.")
    if status.st_size > limit_bytes:
        raise VlmError(f"{path} has {status.st_size} bytes, over the limit of {limit_bytes} for a file of its kind.")
    return status


def read_regular_file(path: Path, *, limit_bytes: int) -> bytes:
    """The bytes of a regular file within a limit. Raises VlmError."""
    check_regular_file(path, limit_bytes=limit_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise VlmError(f"{path} cannot be read: {error.strerror}.") from None


def what_it_is(path: Path) -> str:
    """What the first bytes of a regular file say that it is; empty where they say nothing known."""
    with open(path, "rb") as file:
        head = file.read(64)
    lowered = head.lstrip().lower()
    for first, name in _FIRST_BYTES:
        if head.startswith(first) or lowered.startswith(first):
            return name
    return ""


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_whole(path: Path, data: str | bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    encoded = data.encode() if isinstance(data, str) else data
    with whole_file(path, expected_bytes=len(encoded)) as temporary:
        temporary.write_bytes(encoded)


@contextmanager
def whole_file(path: Path, *, expected_bytes: int = 0) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; what is written there becomes `path` when the block ends well.

    On an error, or a kill, `path` keeps what it held. Raises VlmError where the disk is full or the folder read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_free_space(path.parent, expected_bytes)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise
        raise VlmError(
            f"{path} could not be written: {os.strerror(error.errno)}. What stood there before is untouched.",
            hint="free some space, or name another folder with --workspace (of data: $VLM_DATA)",
        ) from None


@contextmanager
def locked(folder: Path, holder: str, *, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for one command; a lock does not survive its holder.

    Raises VlmError naming who holds it, unless told to wait for that one's end.
    """
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            named = file.read().strip() or "another command"
            raise VlmError(f"{folder} is in use by {named}.", hint="wait for it to end") from None
        file.truncate(0)
        file.write(f"{holder} (process {os.getpid()})")
        file.flush()
        yield


def _lock_file(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / LOCK_FILE, "a+")
    except OSError as error:
        hint = "name another folder with --workspace (of data: $VLM_DATA)"
        raise VlmError(f"{folder} cannot be written: {error.strerror}.", hint=hint) from None


def remove_abandoned(folder: Path) -> None:
    """Remove what a killed command left of `whole_file`. The caller holds the folder's lock."""
    for path in folder.glob(".*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _check_free_space(folder: Path, expected_bytes: int) -> None:
    if shutil.disk_usage(folder).free < expected_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
