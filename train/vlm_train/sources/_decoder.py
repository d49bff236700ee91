"""A child process that decodes image files, which cannot be trusted: `python -m vlm_train.sources._decoder`.

Each line on stdin is a task in JSON; it is answered by one line on stdout. What a file turned out to be stands in the
file of states as soon as it is known: where a decoder crashes or hangs, the file that it died of is the first without.
"""

import hashlib
import io
import json
import os
import resource
import signal
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from vlm_train.sources import Pixels
from vlm_train.sources._task import STATE_BYTES, State, Task

# No others: some of Pillow's formats start other programs or hold no pixels.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MEMORY_BYTES = 4 << 30  # of address space
FILE_S = 30  # for one file
FILE_BYTES = 256 << 20


class Unusable(Exception):
    """The file holds no image that can be used; the argument is its state."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    for line in sys.stdin:
        task = json.loads(line)
        answer = own_sizes(**task) if "count" in task else decode_all(Task(**task))
        print(json.dumps(answer), flush=True)


def decode_all(task: Task) -> str:
    """Decode the files of a task; what stopped it, empty where nothing did."""
    row_bytes = task.image_size**2 * 3
    try:
        with open(task.pixels, "r+b", buffering=0) as pixels, open(task.states, "r+b", buffering=0) as states:
            for row, name in enumerate(task.files, task.first):
                state, digest, image = _looked_at(Path(task.root, name), task.image_size)
                if image is not None:
                    os.pwrite(pixels.fileno(), image.tobytes(), task.pixels_start + row * row_bytes)
                os.pwrite(states.fileno(), bytes([state]) + digest, row * STATE_BYTES)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def own_sizes(root: str, files: list[str], count: int) -> list[tuple[int, int]]:
    """Width and height of the first `count` of the files that are images."""
    sizes: list[tuple[int, int]] = []
    signal.alarm(FILE_S)
    for name in files:
        try:
            with Image.open(io.BytesIO(_contents(Path(root, name))), formats=FORMATS) as image:
                sizes.append(image.size)
        except Exception:  # noqa: BLE001 (a file that cannot be read is found out when it is decoded)
            continue
        if len(sizes) == count:
            break
    signal.alarm(0)
    return sizes


def _looked_at(path: Path, image_size: int) -> tuple[State, bytes, Pixels | None]:
    """What a file is, the sha256 of its contents, and its pixels."""
    digest = bytes(hashlib.sha256().digest_size)
    signal.alarm(FILE_S)  # its default action ends the process, wherever that hangs
    try:
        contents = _contents(path)
        digest = hashlib.sha256(contents).digest()
        return State.SOUND, digest, decoded(contents, image_size)
    except Unusable as error:
        return error.state, digest, None
    except MemoryError:
        return State.TOO_LARGE, digest, None
    finally:
        signal.alarm(0)


def _contents(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(State.NO_FILE)
        if not 0 < status.st_size <= FILE_BYTES:
            raise Unusable(State.TOO_LARGE if status.st_size else State.EMPTY)
        return path.read_bytes()
    except OSError:
        raise Unusable(State.UNREADABLE) from None


def decoded(contents: bytes, image_size: int) -> Pixels:
    """An image file as uint8 [size, size, 3]: its centre square, turned upright, scaled. Raises Unusable."""
    try:
        with Image.open(io.BytesIO(contents), formats=FORMATS) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_square(_coloured(upright), image_size))
    except (Unusable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unusable(State.NO_IMAGE) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Unusable(State.TOO_LARGE) from None
    except Exception:  # noqa: BLE001 (what Pillow's decoders raise for damaged files has no common base)
        raise Unusable(State.DAMAGED) from None


def _coloured(image: Image.Image) -> Image.Image:
    """Any mode as RGB; what is transparent shows white."""
    if image.mode == "F":
        raise Unusable(State.NO_SCALE)
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        overlay = image.convert("RGBA")
        paper = Image.new("RGBA", overlay.size, "white")
        return Image.alpha_composite(paper, overlay).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(grey: npt.NDArray[np.generic]) -> Image.Image:
    """Grey values 0..65535 as 0..255: Pillow would cut them off at 255."""
    values = grey.astype(np.float32)
    if values.min() < 0 or values.max() > 65535:
        raise Unusable(State.NO_SCALE)
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _square(image: Image.Image, size: int) -> Image.Image:
    """The centre square, scaled bilinearly and, where it shrinks, with antialiasing."""
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    if shorter == size:
        return image.crop((round(left), round(top), round(left) + size, round(top) + size))
    box = (left, top, left + shorter, top + shorter)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


if __name__ == "__main__":
    main()
