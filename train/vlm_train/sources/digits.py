"""UCI's handwritten digits, 1,797 of them, inside the package (digits.LICENCE.md)."""

import hashlib
from importlib.resources import files

import numpy as np

from vlm_train.sources import Images, Opened, Show, check_plain

NAME = "digits"


def opened(argument: str, image_size: int | None, show: Show) -> Opened:
    """8x8 grey values 0..16, brought to 32x32x3 bytes. One part."""
    check_plain(NAME, argument, image_size)
    with files("vlm_train").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        grey = np.rint(arrays["images"] * (255 / 16)).astype(np.uint8)
        labels = arrays["labels"].astype(np.int64)
    pixels = grey.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
    fingerprint = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    return Opened(NAME, NAME, tuple("0123456789"), fingerprint, Images(pixels, labels))
