"""This toolkit as a wheel, for a board.

It is written from the files that are installed here, an editable install's too: a build with the project's own backend
would want its sources and a network, and a user has neither need of them.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import whole_file

DISTRIBUTION = "vlm-edge"
PACKAGES = ("vlm_contract", "vlm_train", "vlm_export", "vlm_profile", "vlm_targets", "vlm_report")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can say: equal files give an equal wheel
NOTES = ("METADATA", "entry_points.txt")  # of the installed distribution, that go along as they are
WHEEL = "Wheel-Version: 1.0\nGenerator: vlm-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True)
class Wheel:
    """A wheel, and what tells it from another of the same version."""

    path: Path
    version: str
    digest: str  # sha256 over the names and digests of its files, whatever compressed them
    requirements: tuple[str, ...]  # of the toolkit without extras, each as pip takes it


def wheel_of_this_toolkit(folder: Path) -> Wheel:
    """Write the wheel into `folder` (binary distribution format 1.0). Raises VlmError where nothing is installed."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        raise VlmError(
            f"{DISTRIBUTION} runs from a folder that was never installed; a board is sent what is.",
            hint="pip install --editable .",
        ) from None
    info = f"{DISTRIBUTION.replace('-', '_')}-{installed.version}.dist-info"
    members = dict(sorted(_packages())) | dict(sorted(_notes(installed, info))) | {f"{info}/WHEEL": WHEEL.encode()}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in members.items())
    path = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (members | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}).items():
            archive.writestr(_member(name), data)
    needs = tuple(each for each in installed.requires or () if "extra ==" not in each)
    return Wheel(path, installed.version, hashlib.sha256(record.encode()).hexdigest(), needs)


def requirements_of(extra: str) -> tuple[str, ...]:
    """What an extra of the toolkit adds, each as pip takes it: "onnxruntime<2,>=1.23"."""
    found = (each.partition(";") for each in distribution(DISTRIBUTION).requires or ())
    return tuple(name.strip() for name, _, marker in found if marker.replace('"', "'").endswith(f"extra == '{extra}'"))


def _packages() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise VlmError(f"The package {package} is not installed here.", hint=f"pip install {DISTRIBUTION}")
        root = Path(spec.origin).parent
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _notes(installed: Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    for name in NOTES:
        if text := installed.read_text(name):
            yield f"{info}/{name}", text.encode()
    for file in installed.files or ():
        if file.parts[:2] == (info, "licenses"):
            yield file.as_posix(), file.read_binary()


def _digest(data: bytes) -> str:
    """As RECORD wants it: urlsafe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o100644 << 16
    return member
