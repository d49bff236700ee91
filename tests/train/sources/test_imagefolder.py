"""A folder of the user's own images, as it is: in any layout, damaged, copied, moved."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_contract.errors import VlmError
from vlm_train import data as data_module
from vlm_train.data import mean_and_std, open_data, splits_of
from vlm_train.sources import imagefolder

MakeFolder = Callable[..., Path]


def opened(folder: Path, samples: int | None = None, **options: int):  # type: ignore[no-untyped-def]
    return open_data(f"imagefolder:{folder}", samples, 0, **options)


def refusal(folder: Path) -> str:
    with pytest.raises(VlmError) as caught:
        opened(folder)
    return str(caught.value)


def test_a_folder_a_class_is_divided_into_three_parts(make_folder: MakeFolder) -> None:
    data, splits = opened(make_folder(count=25))
    assert (data.name, data.train_samples, data.validation_samples, data.test_samples) == ("pets", 36, 4, 10)
    assert data.test_origin == "20 % of pets, the same for every seed"
    assert splits.classes == ("cat", "dog")
    assert splits.train.pixels.shape == (36, 9, 9, 3)


def test_every_image_has_the_pixels_of_its_file_and_the_class_of_its_folder(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test")
    _, splits = opened(folder)
    files = {
        np.asarray(Image.open(path)).tobytes(): path.relative_to(folder).parts[:2] for path in folder.glob("*/*/*.png")
    }
    seen = [("train", splits.train), ("train", splits.validation), ("test", splits.test)]
    for part, images in seen:
        for pixels, label in zip(images.pixels, images.labels, strict=True):
            assert files.pop(pixels.tobytes()) == (part, splits.classes[label])
    assert not files


def test_a_part_that_the_folder_has_is_used_as_it_is(make_folder: MakeFolder) -> None:
    data, splits = opened(make_folder("train", "val", "test"), 6)
    assert (data.samples, data.train_samples, data.validation_samples, data.test_samples) == (6, 6, 20, 20)
    assert data.test_origin == "the 20 test images of pets"
    assert np.bincount(splits.train.labels).tolist() == [3, 3]


def test_the_splits_of_a_card_are_found_again(make_folder: MakeFolder) -> None:
    data, splits = opened(make_folder("train", "test"), image_size=12)
    again = splits_of(data)
    assert data.source.endswith("pets@12")
    assert np.array_equal(again.train.pixels, splits.train.pixels)
    assert again.train.pixels.shape[1:] == (12, 12, 3)


def test_a_folder_that_was_moved_is_found_through_a_link_as_the_error_says(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test")
    data, _ = opened(folder)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(VlmError, match="no folder") as caught:
        splits_of(data)
    assert f"ln -s NEW_PLACE {folder}" in caught.value.hint
    folder.symlink_to(folder.with_name("elsewhere"))
    assert len(splits_of(data).test) == 20


def test_renamed_files_are_the_same_images_and_other_images_are_not(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test")
    first, _ = opened(folder)
    (folder / "train/cat/000.png").rename(folder / "train/cat/000.image")
    assert opened(folder)[0] == first
    Image.new("RGB", (9, 9)).save(folder / "train/cat/000.image", "PNG")
    assert opened(folder)[0].fingerprint != first.fingerprint


def test_the_second_start_decodes_nothing(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("train", "test")
    first, splits = opened(folder)
    monkeypatch.setattr(imagefolder, "DECODER", ("false",))
    again, same = opened(folder)
    assert again == first
    assert np.array_equal(same.train.pixels, splits.train.pixels)


def test_decoded_images_that_were_damaged_are_decoded_again(make_folder: MakeFolder, data_folder: Path) -> None:
    folder = make_folder("train", "test")
    first, _ = opened(folder)
    (pixels,) = data_folder.glob("decoded/*/pixels.npy")
    os.truncate(pixels, 200)
    assert opened(folder)[0] == first


def test_images_larger_than_half_the_free_memory_stay_on_disk(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder("train", "test")
    _, resident = opened(folder)
    monkeypatch.setattr(data_module, "free_memory_bytes", lambda: 4000)
    _, mapped = opened(folder)
    assert (resident.train.resident, mapped.train.resident) == (True, False)
    some = np.array([5, 0, 7])
    for first, second in ((resident.train, mapped.train), (resident.test, mapped.test)):
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.batch(some), second.batch(some))
        assert np.array_equal(first.take(some).pixels, second.take(some).pixels)
        assert mean_and_std(first) == mean_and_std(second)


@pytest.mark.parametrize(("size", "found"), [(9, 9), (64, 64), (65, 224)])
def test_small_square_images_keep_their_size(make_folder: MakeFolder, size: int, found: int) -> None:
    assert opened(make_folder("train", "test", size=size))[1].train.image_size == found


def test_images_of_two_sizes_get_the_usual_one(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test")
    Image.new("RGB", (12, 12)).save(folder / "train/cat/000.png")
    assert opened(folder)[1].train.image_size == 224


def test_up_to_one_percent_of_damaged_files_is_left_out_counted_and_named(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test", count=50)
    (folder / "train/cat/000.png").write_bytes(b"")
    (folder / "test/dog/007.png").write_text("<html>")
    (folder / "train/cat/.hidden").write_bytes(b"")
    data, splits = opened(folder)
    assert (data.damaged, data.samples, data.test_samples) == (2, 99, 99)
    (note,) = splits.notes
    assert "train/cat/000.png (empty)" in note
    assert "test/dog/007.png (no image of a known kind)" in note


def test_more_than_one_percent_stops_and_names_the_first_five(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test", count=50)
    for number in range(7):
        (folder / f"train/dog/{number:03}.png").write_text("words")
    message = refusal(folder)
    assert "7 of 200 files" in message
    assert "train/dog/004.png (no image of a known kind) and others" in message
    assert "005.png" not in message


def test_what_is_no_regular_file_is_never_opened(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("train", "test", count=100)
    os.mkfifo(folder / "train/cat/a.png")
    (folder / "train/cat/b.png").symlink_to("/dev/zero")
    (folder / "train/cat/c.png").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as endpoint:
        monkeypatch.chdir(folder / "train/dog")  # a socket's path may not be long
        endpoint.bind("d.png")
        data, splits = opened(folder)
    assert (data.damaged, data.samples) == (4, 200)
    assert [f"{name}.png (no regular file)" in splits.notes[0] for name in "abcd"] == [True, True, False, True]


def test_a_file_that_its_decoder_dies_of_is_damaged_and_the_others_are_read(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder("train", "test", count=60)
    (folder / "train/cat/003.png").write_bytes(b"deadly")
    code = f"""
import os
from vlm_train.sources import _decoder
decoded = _decoder.decoded
def deadly(contents, size):
    if contents == b"deadly":
        os.kill(os.getpid(), {signal.SIGSEGV.value})
    return decoded(contents, size)
_decoder.decoded = deadly
_decoder.main()
"""
    monkeypatch.setattr(imagefolder, "DECODER", (sys.executable, "-c", code))
    data, splits = opened(folder)
    assert (data.damaged, data.samples, data.test_samples) == (1, 119, 120)
    assert "train/cat/003.png (crashed or hung its decoder)" in splits.notes[0]


def test_a_file_that_its_decoder_hangs_on_is_damaged(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder("train", "test", count=60)
    (folder / "train/cat/003.png").write_bytes(b"endless")
    code = """
from vlm_train.sources import _decoder
decoded = _decoder.decoded
def endless(contents, size):
    while contents == b"endless":
        pass
    return decoded(contents, size)
_decoder.decoded = endless
_decoder.FILE_S = 1
_decoder.main()
"""
    monkeypatch.setattr(imagefolder, "DECODER", (sys.executable, "-c", code))
    assert opened(folder)[0].damaged == 1


def test_a_decoder_that_cannot_start_is_an_error_and_keeps_nothing(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    monkeypatch.setattr(imagefolder, "DECODER", (sys.executable, "-c", "import sys; sys.exit(3)"))
    assert "exit code 3" in refusal(make_folder("train", "test"))
    assert not list(data_folder.glob("decoded/*/*"))


def test_a_disk_that_fills_while_images_are_decoded_is_an_error_and_keeps_nothing(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    code = """
from vlm_train.sources import _decoder
_decoder.decode_all = lambda task: "No space left on device"
_decoder.main()
"""
    monkeypatch.setattr(imagefolder, "DECODER", (sys.executable, "-c", code))
    monkeypatch.setattr(imagefolder, "FILES_A_TASK", 1)
    assert f"could not be kept in {data_folder}: No space left on device" in refusal(make_folder("train", "test"))
    assert not list(data_folder.glob("decoded/*/*"))


def test_the_same_file_in_two_parts_is_an_error_that_names_both(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test")
    shutil.copy(folder / "train/cat/003.png", folder / "test/dog/copy.png")
    assert "train/cat/003.png and test/dog/copy.png" in refusal(folder)


def test_of_equal_files_in_a_part_that_is_divided_one_counts(make_folder: MakeFolder) -> None:
    folder = make_folder(count=20)
    for number in range(8):
        shutil.copy(folder / "cat/003.png", folder / f"cat/copy{number}.png")
    data, splits = opened(folder)
    assert data.samples + data.test_samples == 40
    assert splits.notes == ("8 training files are copies of others; each image counts once.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "test/dog"), "test and train of .* differ in their classes: dog"),
        (lambda folder: (folder / "val").mkdir(), "val and train of .* differ in their classes: cat, dog"),
        (lambda folder: (folder / "validation").mkdir(), "holds the folders test, train, validation; expected train"),
        (lambda folder: shutil.rmtree(folder / "train"), "holds the folders test; expected train"),
        (lambda folder: [shutil.rmtree(folder / part / "dog") for part in ("train", "test")], "one class only, cat"),
        (lambda folder: [shutil.rmtree(path) for path in folder.glob("train/*")], "no class folders"),
        (lambda folder: [path.unlink() for path in folder.glob("test/cat/*")], "test/cat is empty"),
        (lambda folder: (folder / "train/cat/more").mkdir(), "train/cat/more is a folder inside a class"),
    ],
)
def test_a_layout_that_cannot_be_used_is_named(
    make_folder: MakeFolder, change: Callable[[Path], object], message: str
) -> None:
    folder = make_folder("train", "test")
    change(folder)
    with pytest.raises(VlmError, match=message):
        opened(folder)


def test_a_class_whose_only_files_are_damaged_is_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("train", "test", count=101)
    for path in sorted(folder.glob("test/cat/*.png"))[1:]:
        path.unlink()
    (folder / "test/cat/000.png").write_text("words")
    assert "The class cat" in refusal(folder)


def test_fewer_than_ten_images_a_class_are_too_few(make_folder: MakeFolder) -> None:
    assert "pets has 18 images in 2 classes to train" in refusal(make_folder("train", "test", count=9))


def test_a_system_that_kills_every_decoder_is_not_blamed_on_the_files(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefolder, "DECODER", ("sh", "-c", "kill -9 $$"))
    assert "died 21 times" in refusal(make_folder(count=30))


def test_a_file_in_the_place_of_a_folder_is_called_what_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    archive.write_bytes(b"PK\x03\x04")
    assert "is a file (a zip archive); expected a folder" in refusal(archive)


def test_a_path_that_is_not_there_and_no_path_are_errors() -> None:
    assert "no folder /nowhere" in refusal(Path("/nowhere"))
    with pytest.raises(VlmError, match="needs the path"):
        open_data("imagefolder", None, 0)


@pytest.mark.parametrize("size", [0, 7, 1025])
def test_an_impossible_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(VlmError, match="expected 8 to 1024"):
        open_data(f"imagefolder:{tmp_path}", None, 0, image_size=size)


def test_a_folder_whose_name_looks_like_a_size_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pets@2").mkdir()
    assert imagefolder.requested(f"{tmp_path}/pets@2", None) == (tmp_path / "pets@2", None)
    assert imagefolder.requested(f"{tmp_path}/pets@2@16", None) == (tmp_path / "pets@2", 16)
