"""What becomes of an image file, whatever it is."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlm_train.sources._decoder import Unusable, decoded
from vlm_train.sources._task import State

ORIENTATION = 0x0112  # the EXIF tag
LEFT_IS_UP = 6  # to be turned by 90 degrees clockwise


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def state_of(contents: bytes) -> State:
    with pytest.raises(Unusable) as caught:
        decoded(contents, 8)
    return caught.value.state


def test_an_image_of_the_size_that_is_asked_for_keeps_its_pixels() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(decoded(file_of(Image.fromarray(pixels)), 8), pixels)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
def test_of_an_oblong_image_the_centre_square_is_left(shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[(shape[0] - 24) // 2 :][:24, (shape[1] - 24) // 2 :][:, :24] = 200
    left = decoded(file_of(Image.fromarray(pixels)), 8)
    assert (left[1:-1, 1:-1] == 200).all()  # its border is scaled with what lay beyond
    assert (left > 150).all()


def test_scaling_down_averages_and_does_not_pick() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.ptp(decoded(file_of(Image.fromarray(stripes)), 8).astype(int)) < 30


def test_an_image_one_pixel_wide_and_very_long_is_scaled() -> None:
    assert decoded(file_of(Image.new("L", (1, 60_000), 7)), 8).shape == (8, 8, 3)


def test_a_photograph_is_turned_upright_as_exif_says() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = LEFT_IS_UP
    upright = decoded(file_of(Image.fromarray(pixels), exif=exif), 8)
    assert (upright[:4] == 255).all()
    assert (upright[4:] == 0).all()


@given(st.integers(0, 65535))
@settings(max_examples=20, deadline=None)
def test_16_bit_grey_keeps_its_scale(value: int) -> None:
    contents = file_of(Image.fromarray(np.full((8, 8), value, np.uint16)))
    assert (decoded(contents, 8) == round(value / 257)).all()


def test_16_bit_grey_of_a_tiff_in_the_other_byte_order_keeps_its_scale() -> None:
    image = Image.frombytes("I;16B", (8, 8), np.full((8, 8), 25700, ">u2").tobytes())
    assert (decoded(file_of(image, "TIFF"), 8) == 100).all()


def test_cmyk_becomes_rgb() -> None:
    red = decoded(file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), 8)
    assert (np.abs(red.astype(int) - (255, 0, 0)) < 8).all()


@pytest.mark.parametrize(("mode", "value"), [("1", 1), ("L", 255), ("P", 0)])
def test_grey_and_palettes_become_rgb(mode: str, value: int) -> None:
    image = Image.new(mode, (8, 8), value)
    if mode == "P":
        image.putpalette([255, 255, 255])
    assert (decoded(file_of(image), 8) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    if mode == "P":
        contents = file_of(Image.new("P", (8, 8), 0), "GIF", transparency=0)
    else:
        contents = file_of(Image.new(mode, (8, 8), 0))
    assert (decoded(contents, 8) == 255).all()


@pytest.mark.parametrize(
    ("contents", "state"),
    [
        (b"words that somebody left here\n", State.NO_IMAGE),
        (b"<!DOCTYPE html><html><body>404</body></html>", State.NO_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", State.NO_IMAGE),
        (file_of(Image.new("F", (8, 8), 0.5), "TIFF"), State.NO_SCALE),
        (file_of(Image.new("I", (8, 8), 1_000_000), "TIFF"), State.NO_SCALE),
    ],
    ids=["text", "html", "postscript", "floating-point", "32-bit"],
)
def test_what_is_no_image_of_a_known_kind_is_named(contents: bytes, state: State) -> None:
    assert state_of(contents) is state


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_an_image_that_was_cut_off_is_damaged(format: str) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    contents = file_of(Image.fromarray(pixels), format)
    assert state_of(contents[: len(contents) // 2]) in (State.DAMAGED, State.NO_IMAGE)


def test_more_pixels_than_pillow_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    assert state_of(file_of(Image.new("L", (8, 8)))) is State.TOO_LARGE


@given(st.binary(max_size=64), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_no_damage_ends_in_anything_but_an_image_or_a_word(noise: bytes, place: int) -> None:
    contents = bytearray(file_of(Image.new("RGB", (16, 16), "red"), "JPEG"))
    contents[place : place + len(noise)] = noise
    try:
        assert decoded(bytes(contents), 8).shape == (8, 8, 3)
    except Unusable as error:
        assert error.state in State
