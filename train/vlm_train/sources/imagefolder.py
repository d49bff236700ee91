"""A folder of images: `imagefolder:PATH`, laid out as PATH/<class>/* or as PATH/train|val|test/<class>/*.

- Classes are the names of the folders, sorted, and the same in every part. A part `val` chooses the epoch, whole, and
  samples then count images of `train` only; a part `test` is scored once. What is not given is taken out of `train`.
- Every image becomes RGB: its centre square, turned upright as EXIF says, scaled bilinearly with antialiasing to
  `image_size`; where none is asked for, the images' own size if the first are square, equal and at most 64 pixels, else
  224. `imagefolder:PATH@N` asks for N too. Palettes, grey and CMYK are converted, transparent pixels show white, 16-bit
  grey is divided by 257. Of an animation the first frame counts.
- Files that hold no readable image (cut off, text, HTML, empty, over Pillow's limit of pixels, floating-point, not
  regular files) are left out, counted and named; more than 1 % of them is an error. Hidden files are passed over.
- Equal files in two parts are an error; in the training part, which others may be taken out of, each counts once.

Decoding happens once, in child processes with limits; its result is kept in the data folder under `decoded/`, by the
names, sizes and times of the files, and mapped from there. It may be deleted at any time.
"""

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_contract.files import what_it_is, whole_file, write_whole
from vlm_contract.workspace import safe_name
from vlm_train.sources import Images, Opened, Pixels, Show, Whole, data_folder
from vlm_train.sources._task import STATE_BYTES, WORDS, State, Task

NAME = "imagefolder"
PARTS = ("train", "val", "test")
LAYOUT = "PATH/<class>/* or PATH/train|val|test/<class>/*"
VERSION = 1  # of what a decoded file holds
SIZES = (8, 1024)  # pixels: the least and the largest image
OWN_SIZE_MOST, USUAL_SIZE = 64, 224  # pixels
LOOKED_AT = 16  # images that tell whether all are small
DAMAGED_SHARE = 0.01
NAMED = 5  # damaged files in a message
FILES_A_TASK = 512
MOST_DEATHS = 20  # of one decoder: more are no fault of single files
DECODER = (sys.executable, "-m", "vlm_train.sources._decoder")


class Listed(NamedTuple):
    """One file, as the folder lists it."""

    part: int  # index into PARTS
    label: int  # index into the classes
    name: str  # below the folder
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """What a folder holds, before any file is opened."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[Listed, ...]


def opened(argument: str, image_size: int | None, show: Show) -> Opened:
    """The images of a folder. Raises VlmError for a folder that cannot be used; the module says when."""
    folder, asked_size = requested(argument, image_size)
    listing = listing_of(folder)
    pixels, states = _decoded(listing, asked_size, show)
    source = f"{NAME}:{folder}" + (f"@{asked_size}" if asked_size else "")
    return _judged(listing, source, pixels, states)


def requested(argument: str, image_size: int | None) -> tuple[Path, int | None]:
    """The folder, absolute, and the size that `PATH@N` or `image_size` asks for. Raises VlmError."""
    path, _, digits = argument.rpartition("@")
    if path and digits.isdecimal() and not Path(argument).expanduser().is_dir():
        argument, image_size = path, image_size or int(digits)
    if not argument:
        raise VlmError(f"{NAME} needs the path of a folder.", hint=f"--data {NAME}:PATH")
    if image_size is not None and not SIZES[0] <= image_size <= SIZES[1]:
        raise VlmError(f"Images of {image_size} pixels were asked for; expected {SIZES[0]} to {SIZES[1]}.")
    # Not resolved: a card is opened again by this path, and a link may stand where a folder was.
    return Path(os.path.normpath(Path(argument).expanduser().absolute())), image_size


def listing_of(folder: Path) -> Listing:
    """The files of every class of every part, sorted. Raises VlmError where the layout is none of the two."""
    if not folder.is_dir():
        raise _no_folder(folder)
    parts = _parts(folder)
    classes = _folders(parts["train"])
    if len(classes) < 2:
        found = f"one class only, {classes[0]}" if classes else "no class folders"
        raise VlmError(f"{parts['train']} holds {found}; expected {LAYOUT}.", hint=f"--data {NAME}:PATH")
    for part, path in parts.items():
        if differing := set(classes) ^ set(_folders(path)):
            raise VlmError(f"{part} and train of {folder} differ in their classes: {', '.join(sorted(differing))}.")
    files: list[Listed] = []
    for part, path in parts.items():
        for label, name in enumerate(classes):
            files += _files(folder, PARTS.index(part), label, path / name)
    return Listing(folder, tuple(classes), tuple(files))


def _no_folder(folder: Path) -> VlmError:
    if folder.is_file():
        kind = what_it_is(folder) or "no folder"
        return VlmError(
            f"{folder} is a file ({kind}); expected a folder of images.", hint=f"unpack it; --data {NAME}:PATH"
        )
    return VlmError(
        f"There is no folder {folder}.", hint=f"--data {NAME}:PATH; where it was moved, ln -s NEW_PLACE {folder}"
    )


def _parts(folder: Path) -> dict[str, Path]:
    """The folders of the parts: the folder itself where it has none."""
    names = _folders(folder)
    if not set(names) & set(PARTS):
        return {"train": folder}
    if "train" not in names or not set(names) <= set(PARTS):
        raise VlmError(
            f"{folder} holds the folders {', '.join(names)}; expected train, with val and test where there are "
            "such parts, or one folder a class.",
            hint=f"--data {NAME}:PATH",
        )
    return {part: folder / part for part in PARTS if part in names}


def _entries(folder: Path) -> "Iterator[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise VlmError(f"{folder} cannot be read: {error.strerror}.") from None


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def _files(root: Path, part: int, label: int, folder: Path) -> list[Listed]:
    """What lies in one class's folder; of what is no regular file, only the name counts."""
    prefix, files = f"{folder.relative_to(root)}/", []
    for entry in _entries(folder):
        if entry.is_dir():
            raise VlmError(f"{entry.path} is a folder inside a class; expected {LAYOUT}.", hint=f"--data {NAME}:PATH")
        size, mtime = _size_and_time(entry)
        files.append(Listed(part, label, prefix + entry.name, size, mtime))
    if not files:
        raise VlmError(f"The class {folder} is empty.", hint="put images there, or take the folder out of every part")
    return sorted(files)


def _size_and_time(entry: "os.DirEntry[str]") -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:
        return 0, 0
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)


def _decoded(listing: Listing, image_size: int | None, show: Show) -> tuple[Pixels, Pixels]:
    """Pixels [n, h, w, 3], mapped, and states [n, STATE_BYTES] of all files; decoded where that was not done before."""
    folder = data_folder() / "decoded" / _key(listing, image_size)
    return _kept(folder, len(listing.files)) or _decode(listing, image_size, folder, show)


def _key(listing: Listing, image_size: int | None) -> str:
    """Sha256 over all that decides what decoding gives."""
    try:
        decoder = version("pillow")
    except PackageNotFoundError:
        raise require_extra("train", ImportError(name="Pillow")) from None
    files = (f"{file.name}\0{file.bytes} {file.mtime_ns}" for file in listing.files)
    return hashlib.sha256(os.fsencode("\n".join((f"{VERSION} {decoder} {image_size}", *files)))).hexdigest()


def _kept(folder: Path, count: int) -> tuple[Pixels, Pixels] | None:
    """What an earlier decoding left; None where there is none, or it is damaged."""
    try:
        states = np.load(folder / "states.npy", allow_pickle=False)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return (pixels, states) if len(pixels) == len(states) == count else None


def _decode(listing: Listing, image_size: int | None, folder: Path, show: Show) -> tuple[Pixels, Pixels]:
    decoders = [_Decoder() for _ in os.sched_getaffinity(0)]
    try:
        size, count = image_size or _own_size(listing, decoders[0]), len(listing.files)
        with whole_file(folder / "pixels.npy", expected_bytes=count * size**2 * 3) as temporary:
            pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, size, size, 3))
            states = temporary.with_name("states")
            states.write_bytes(bytes(count * STATE_BYTES))
            files = [file.name for file in listing.files]
            whole = Task(str(listing.folder), files, 0, size, str(temporary), pixels.offset, str(states))
            _run(_pieces(whole), decoders, show)
            found = np.fromfile(states, np.uint8).reshape(count, STATE_BYTES)
    finally:
        for decoder in decoders:
            decoder.close()
    buffer = BytesIO()
    np.save(buffer, found)
    write_whole(folder / "states.npy", buffer.getvalue())  # last: it makes the pixels count
    kept = _kept(folder, count)
    assert kept is not None
    return kept


def _own_size(listing: Listing, decoder: "_Decoder") -> int:
    """The images' own size where the first are square, equal and small."""
    names = [file.name for file in listing.files]
    few = names[:: max(1, len(names) // (4 * LOOKED_AT))]
    answer = decoder.ask(json.dumps({"root": str(listing.folder), "files": few, "count": LOOKED_AT})) or []
    sizes = {size for pair in answer for size in pair}
    return sizes.pop() if len(sizes) == 1 and SIZES[0] <= max(sizes) <= OWN_SIZE_MOST else USUAL_SIZE


def _pieces(task: Task) -> list[Task]:
    return [
        replace(task, files=task.files[first : first + FILES_A_TASK], first=first)
        for first in range(0, len(task.files), FILES_A_TASK)
    ]


def _run(tasks: Sequence[Task], decoders: "Sequence[_Decoder]", show: Show) -> None:
    """Spread the tasks over the decoders; where one fails, all stop."""
    free: SimpleQueue[_Decoder] = SimpleQueue()
    for decoder in decoders:
        free.put(decoder)

    def run_one(task: Task) -> None:
        decoder = free.get()
        try:
            decoder.decode(task)
        finally:
            free.put(decoder)

    with ThreadPoolExecutor(len(decoders)) as pool:
        try:
            for done, _ in enumerate(pool.map(run_one, tasks), 1):
                show(f"decoding images  {100 * done / len(tasks):.0f} %")
        finally:
            for decoder in decoders:
                decoder.stop()


class _Decoder:
    """One child process, started when it is first asked, and again where it died of a file."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._deaths = 0

    def decode(self, task: Task) -> None:
        """Decode the files of a task; one that the child dies of is marked so. Raises VlmError."""
        while task.files:
            answer = self.ask(task.line())
            if answer:
                raise VlmError(f"Decoded images could not be kept in {data_folder()}: {answer}.", hint="VLM_DATA=DIR")
            self._deaths += answer is None
            if self._deaths > MOST_DEATHS:
                raise VlmError(
                    f"A decoder of images died {self._deaths} times, the last time in {task.files[0]} or after."
                )
            done = len(task.files) if answer is not None else _mark_the_first_unknown(task)
            task = replace(task, files=task.files[done:], first=task.first + done)

    def ask(self, line: str) -> Any | None:
        """The child's answer; None where a signal ended it. Raises VlmError where it cannot work at all."""
        if self._stopped:
            raise VlmError("Decoding was stopped.")
        child = self._child = self._child or _started()
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # it has ended: the answer is empty
            child.stdin.write(f"{line}\n")
            child.stdin.flush()
        if answer := child.stdout.readline():
            return json.loads(answer)
        self._child = None
        _close(child)
        if child.returncode >= 0:
            raise VlmError(f"The decoder of images ended with exit code {child.returncode}.", hint=" ".join(DECODER))
        return None

    def stop(self) -> None:
        """Kill the child, whatever it does; its answer is then no longer awaited."""
        self._stopped = True
        if self._child:
            self._child.kill()

    def close(self) -> None:
        if self._child:
            _close(self._child)


def _started() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        DECODER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # an interruption is for the parent, which ends its children
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
    )


def _close(child: "subprocess.Popen[str]") -> None:
    """End a child and its pipes."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.kill()
    with suppress(BrokenPipeError):
        child.stdin.close()
    child.stdout.close()
    child.wait()


def _mark_the_first_unknown(task: Task) -> int:
    """Mark the file that a decoder died of; how many files of the task are known now."""
    with open(task.states, "r+b") as file:
        for row in range(task.first, task.first + len(task.files)):
            file.seek(row * STATE_BYTES)
            if file.read(1) == bytes([State.UNKNOWN]):
                file.seek(row * STATE_BYTES)
                file.write(bytes([State.CRASHED]))
                return row + 1 - task.first
    return len(task.files)


def _judged(listing: Listing, source: str, pixels: Pixels, states: Pixels) -> Opened:
    """The parts, without the damaged files and the copies. Raises VlmError where too little is left."""
    damaged = np.flatnonzero(states[:, 0] != State.SOUND)
    named = _named(listing, damaged, states)
    if len(damaged) > DAMAGED_SHARE * len(states):
        raise VlmError(
            f"{len(damaged)} of {len(states)} files in {listing.folder} hold no readable image: {named}.",
            hint="mend them or take them away; up to 1 % are left out",
        )
    rows, copies = _kept_rows(listing, states)
    train, validation, test = (_part(listing, rows, part, pixels) for part in range(len(PARTS)))
    assert train is not None
    notes = [f"{len(damaged)} files hold no readable image and are left out: {named}."] if len(damaged) else []
    notes += [f"{copies} training files are copies of others; each image counts once."] if copies else []
    return Opened(
        name=safe_name(listing.folder.name),
        source=source,
        classes=listing.classes,
        fingerprint=_fingerprint(listing, rows, states, train.image_size),
        train=train,
        validation=validation,
        test=test,
        damaged=len(damaged),
        notes=tuple(notes),
    )


def _named(listing: Listing, rows: Whole, states: Pixels) -> str:
    words = [f"{listing.files[row].name} ({WORDS[State(states[row, 0])]})" for row in rows[:NAMED]]
    return ", ".join(words) + (" and others" if len(rows) > NAMED else "")


def _kept_rows(listing: Listing, states: Pixels) -> tuple[Whole, int]:
    """The rows of sound images without copies in the training part, and the number of those."""
    digests = np.ascontiguousarray(states[:, 1:]).view(f"V{STATE_BYTES - 1}").ravel().tolist()
    first_of: dict[bytes, int] = {}
    kept, copies = [], 0
    for row in np.flatnonzero(states[:, 0] == State.SOUND).tolist():
        file, first = listing.files[row], listing.files[first_of.setdefault(digests[row], row)]
        if file.part != first.part:
            raise VlmError(
                f"The same file stands in two parts of {listing.folder}: {first.name} and {file.name}.",
                hint="take one of them away: an image that was trained on cannot tell how others are recognised",
            )
        if file is not first and PARTS[file.part] == "train":
            copies += 1
        else:
            kept.append(row)
    return np.array(kept, np.int64), copies


def _part(listing: Listing, rows: Whole, part: int, pixels: Pixels) -> Images | None:
    """One part; None where the folder has no such part. Raises VlmError for a class without a readable image."""
    if all(file.part != part for file in listing.files):
        return None
    own = rows[np.array([listing.files[row].part == part for row in rows], np.bool_)]
    labels = np.array([listing.files[row].label for row in own], np.int64)
    for label in set(range(len(listing.classes))) - set(labels.tolist()):
        where = f"{listing.classes[label]} of {listing.folder}"
        raise VlmError(f"The class {where} has no readable image in its part {PARTS[part]}.")
    return Images(pixels, labels, own)


def _fingerprint(listing: Listing, rows: Whole, states: Pixels, image_size: int) -> str:
    """Sha256 of the size, and of each image's part, class and file contents."""
    kinds = np.array([listing.files[row][:2] for row in rows], np.int64)
    return hashlib.sha256(f"{image_size}\n".encode() + kinds.tobytes() + states[rows, 1:].tobytes()).hexdigest()
