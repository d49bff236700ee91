"""The known targets, one data file each, and those of a user's own files."""

import difflib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlm_contract.codec import Absent, FieldError, decode
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_targets.specification import Hardware, JetPack, Limits, PowerMode, Target, limits_of
from vlm_targets.ssh import check_address

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Hardware",
    "JetPack",
    "Limits",
    "PowerMode",
    "Target",
    "all_targets",
    "known_jetpacks",
    "known_targets",
    "limits_of",
    "own_folder",
    "target_named",
]

KNOWN = Path(__file__).parent / "known"
JETPACKS = Path(__file__).parent / "jetpacks.toml"
FILE_LIMIT_BYTES = 1 << 20
SHORTEST = 'like = "rpi5" and address = "me@board"; for any other Linux machine like = "host", and a name'
# What a file may leave out, a user's own above all.
_OPTIONAL: dict[str, Any] = {
    "hardware": {"absent": "its file describes none"},
    "power_modes": [],
    "jetpacks": [],
    "notes": [],
    "address": {"absent": "no file of yours gives its address"},
}
# What a file may say beside `like`; the rest is the known target's.
_OWN = ("name", "title", "aliases", "address")


@lru_cache
def known_targets() -> tuple[Target, ...]:
    """The targets that vlm-edge knows, in the order of their names, without a user's own."""
    return tuple(target_from_file(path) for path in sorted(KNOWN.glob("*.toml"), key=lambda path: path.stem))


def all_targets(files: Iterable[Path] = ()) -> tuple[Target, ...]:
    """The known targets, those of the user's folder and those of `files`; of one name, the last.

    A file may give a known target an address, and so replace it. Raises VlmError where it describes another device
    under that name, where a name is given twice, and where a file is wrong.
    """
    targets = {target.name: target for target in known_targets()}
    for level in (sorted(own_folder().glob("*.toml")), files):
        own: dict[str, Path] = {}
        for path in level:
            target = target_from_file(path)
            if target.name in own:
                raise VlmError(f"{path} and {own[target.name]} both describe {target.name!r}.", hint="rename one")
            _check_names(target, targets.values(), path)
            own[target.name], targets[target.name] = path, target
    return tuple(targets.values())


def target_named(name: str, files: Iterable[Path] = (), *, typed: str = "--target") -> Target:
    """The target of that name or alias; `files` are data files beside the user's own.

    Raises VlmError for an unknown one; `typed` are the words before it.
    """
    targets = {word: target for target in all_targets(files) for word in (target.name, *target.aliases)}
    if name in targets:
        return targets[name]
    word = name.casefold()
    parts = sorted((known for known in targets if len(word) > 2 and word in known), key=len)  # "xavier"
    if nearest := list(dict.fromkeys([*parts, *difflib.get_close_matches(word, targets, n=3)])):
        raise VlmError(f"{name!r} is no known target; the nearest: {', '.join(nearest)}.", hint=f"{typed} {nearest[0]}")
    raise VlmError(f"{name!r} is no known target.", hint="vlm-profile targets, which lists them")


def target_from_file(path: Path) -> Target:
    """The target of one data file, whole or `like` a known one. Raises VlmError naming the file and the field."""
    try:
        document = _document(path)
        return _whole(_like(document) if "like" in document else document)
    except (ValueError, RecursionError) as error:
        raise VlmError(f"{path} describes no target: {error}.", hint=SHORTEST) from None


def own_folder() -> Path:
    """Where a user's own data files lie."""
    configuration = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    base = configuration if configuration.is_absolute() else Path.home() / ".config"  # as the XDG specification says
    return base / "vlm-edge" / "targets"


@lru_cache
def known_jetpacks() -> tuple[JetPack, ...]:
    """Every JetPack, oldest first."""
    rows = tomllib.loads(JETPACKS.read_text())["jetpacks"]
    return tuple(decode(JetPack, row, f"jetpacks[{index}]") for index, row in enumerate(rows))


def _check_names(target: Target, others: Iterable[Target], path: Path) -> None:
    """Raise VlmError where another target has a name of this one, unless both are the same device."""
    for other in others:
        shared = {target.name, *target.aliases} & {other.name, *other.aliases}
        if shared and (target.name != other.name or _device(target) != _device(other)):
            raise VlmError(
                f"{path} describes another device under the name {min(shared)!r}, which is {other.title}.",
                hint=f'give it a name of its own, or write like = "{other.name}" and the address alone',
            )


def _device(target: Target) -> Target:
    """What a target says of the device, apart from how it is called and reached."""
    return replace(target, title="", aliases=(), recognised_by=(), notes=(), address=Absent("left out"), sources=())


def _document(path: Path) -> dict[str, Any]:
    return tomllib.loads(read_regular_file(path, limit_bytes=FILE_LIMIT_BYTES).decode())


def _like(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a known target, with an address, and perhaps a name, of the user's own."""
    known = {target.name: target for target in known_targets()}
    model = decode(str, document["like"], "like")
    if model not in known:
        raise FieldError("like", f"{model!r} is no known target; {_nearest(model, known)}")
    for key in document.keys() - {"like", *_OWN}:
        raise FieldError(key, f"no field beside `like`; {_nearest(key, _OWN)}")
    own = {key: value for key, value in document.items() if key != "like"}
    if own.get("name", model) == model:
        own["aliases"] = [*known[model].aliases, *decode(tuple[str, ...], own.get("aliases", []), "aliases")]
    else:
        own = {"title": f"{own['name']} ({known[model].title})", "aliases": [], **own}
    return {**_document(KNOWN / f"{model}.toml"), **own}


def _whole(document: dict[str, Any]) -> Target:
    versions = {jetpack.version: jetpack for jetpack in known_jetpacks()}
    named = decode(tuple[str, ...], document.get("jetpacks", []), "jetpacks")
    for version in named:
        if version not in versions:
            raise FieldError("jetpacks", f"{version!r} is none; {_nearest(version, versions)}")
    target: Target = decode(Target, {**_OPTIONAL, **document, "jetpacks": []})
    if isinstance(target.address, str):
        try:
            check_address(target.address)
        except VlmError as error:
            raise FieldError("address", str(error).rstrip(".")) from None
    return replace(target, jetpacks=tuple(versions[version] for version in named))


def _nearest(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(known)}"
