"""What a folder's reader and its decoders say to each other."""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import IntEnum

STATE_BYTES = 1 + hashlib.sha256().digest_size  # a state, and the sha256 of the file's contents


@dataclass(frozen=True)
class Task:
    """Files to decode. Row `first + i` of the pixels and of the states belongs to the i-th of them."""

    root: str
    files: list[str]  # below the root
    first: int
    image_size: int
    pixels: str  # file
    pixels_start: int  # bytes before the first row
    states: str  # file

    def line(self) -> str:
        return json.dumps(asdict(self))


class State(IntEnum):
    """What a file turned out to be. The numbers stand in files: they keep their meaning."""

    UNKNOWN = 0
    SOUND = 1
    EMPTY = 2
    NO_FILE = 3
    UNREADABLE = 4
    NO_IMAGE = 5
    DAMAGED = 6
    TOO_LARGE = 7
    NO_SCALE = 8
    CRASHED = 9


WORDS = {
    State.EMPTY: "empty",
    State.NO_FILE: "no regular file",
    State.UNREADABLE: "cannot be read",
    State.NO_IMAGE: "no image of a known kind",
    State.DAMAGED: "cut off or damaged",
    State.TOO_LARGE: "too large",
    State.NO_SCALE: "its values have no known scale",
    State.CRASHED: "crashed or hung its decoder",
}
