"""Files brought from the network: resumed where they were cut off, checked before they stand under their name."""

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, locked
from vlm_train.sources import Show, data_folder

TIMEOUT_S = 30.0  # without a byte
BLOCK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file that its publisher names with a checksum."""

    name: str
    urls: tuple[str, ...]  # tried in order
    md5: str  # as published: it tells a damaged download


def fetched(remote: Remote, folder: str, show: Show) -> Path:
    """The file in `folder` of the data folder, downloaded where it is not there yet. Raises VlmError."""
    path = data_folder() / folder / remote.name
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        try:
            with locked(path.parent, f"a download of {remote.name}", wait=True):
                if not path.exists():
                    _download(remote, part, show)
                    _check(part, remote)
                    part.replace(path)
        except OSError as error:
            raise VlmError(
                f"{path} could not be written: {error.strerror}.", hint="VLM_DATA=DIR, a folder with space"
            ) from None
        return path
    _check(path, remote)
    return path


def _download(remote: Remote, part: Path, show: Show) -> None:
    """Bring `part` to the whole file, from the first address that answers."""
    causes = []
    for url in remote.urls:
        try:
            _continue(url, part, show)
            return
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            causes.append(f"{url}: {getattr(error, 'reason', None) or error or type(error).__name__}")
    raise VlmError(
        f"{remote.name} could not be downloaded ({'; '.join(causes)}). "
        f"Without a network, put the file there by hand: {part.parent / remote.name}, md5 {remote.md5}.",
        hint="the same command again, which continues the download",
    )


def _continue(url: str, part: Path, show: Show) -> None:
    """Append what `part` lacks; begin anew where the server sends the whole."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking; the checksum tells whether it is the file
        raise
    with answer, open(part, "ab" if answer.status == http.client.PARTIAL_CONTENT else "wb") as file:
        expected = file.tell() + int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(BLOCK):
            file.write(block)
            show(f"{part.stem}  {file.tell() / 1e6:.0f} of {expected / 1e6:.0f} MB")
        if file.tell() < expected:
            raise ConnectionError(f"the answer ended after {file.tell()} of {expected} bytes")


def _check(path: Path, remote: Remote) -> None:
    """Raise VlmError unless `path` has the checksum; a download that has not is taken away."""
    check_regular_file(path, limit_bytes=1 << 30)
    with open(path, "rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() == remote.md5:
        return
    if path.suffix == ".part":
        path.unlink()
    raise VlmError(
        f"{path} is damaged, or is another file: its md5 is {digest.hexdigest()}, expected {remote.md5}.",
        hint="the same command again" if path.suffix == ".part" else f"rm {path}, and the same command again",
    )
