"""The checkpoint to export: a run, held against its card, or weights from elsewhere and what is said of them."""

import difflib
import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.card import Backbone, CheckpointCard, Data
from vlm_contract.codec import encode, read_record
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of, what_it_is
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, Workspace, safe_name

if TYPE_CHECKING:
    import torch

    from vlm_train.data import Splits

WEIGHTS_LIMIT_BYTES = 2**31  # the ONNX file of larger weights would not be a single one
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".tar", ".ckpt", ".pt2")  # of a file, where no such path exists
DESCRIBE, NORMALISE = "--model NAME --num-classes N --image-size S", "--mean M,M,M --std S,S,S"


@dataclass(frozen=True)
class Described:
    """What the user says of weights that have no card."""

    model: str  # timm model name
    num_classes: int
    image_size: int  # pixels, square, of the image that the network is given
    adapt: str = "stock"
    mean: tuple[float, ...] | None = None  # by channel, of pixels scaled to 0..1; None: as timm's weights expect
    std: tuple[float, ...] | None = None  # by channel, of pixels scaled to 0..1; None: as timm's weights expect
    classes: tuple[str, ...] | None = None  # None: those of the data, else their numbers
    data: str | None = None  # a data set's name, or "imagefolder:" and the folder; its images judge what is exported


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and all that must be known to use them."""

    name: str  # the run's, or the file's without its suffix; artifacts are named after it
    origin: str  # in words: which run, or which file
    backbone: Backbone
    weights: Path
    weights_sha256: str  # of the file
    described_by: str  # sha256 of the run's card, or of what was said of the file
    data: Data | None  # the images that judge what is exported; None: nobody named any
    is_run: bool  # of vlm-train; else weights from elsewhere
    words: tuple[str, ...]  # the options of vlm-export that name it

    def module(self) -> "torch.nn.Module":
        """The network in evaluation mode. Raises VlmError, naming the first tensors, where the weights do not fit."""
        from vlm_train.backbones import module_from_backbone, module_from_checkpoint
        from vlm_train.weights import load_exactly

        if self.is_run:
            return module_from_checkpoint(self.backbone, self.weights)
        module = module_from_backbone(self.backbone)
        load_exactly(module, self.backbone, self.weights)
        return module

    @cached_property
    def splits(self) -> "Splits":
        """The images: `validation` judges what is exported, `train` calibrates. Raises VlmError where there are none.

        For weights from elsewhere the test part judges. Whoever trained them saw the rest, and a network loses little
        on images that it has seen, whatever is done to its weights.
        """
        from vlm_train.data import splits_of

        if self.data is None:
            raise VlmError(f"{self.name} came without images, and no data was named.", hint="--data NAME")
        splits = splits_of(self.data)
        return splits if self.is_run else replace(splits, validation=splits.test)


def finished_runs(workspace: Workspace) -> tuple[Path, ...]:
    """The folder of every run that has a card. Raises VlmError where there is none."""
    folders = tuple(sorted(path.parent for path in workspace.root.glob(f"runs/*/{CARD_FILE}")))
    if not folders:
        raise VlmError(
            f"{workspace.root} holds no finished run.",
            hint=f"vlm-train, or --ckpt RUN_FOLDER, or --ckpt FILE {DESCRIBE}",
        )
    return folders


def checkpoint_from_path(path: Path, workspace: Workspace, described: Described | None = None) -> Checkpoint:
    """The checkpoint at a run's folder, at one of its two files, under a run's name in the workspace, or in a file.

    A file of weights from elsewhere, safetensors or a state dict of torch.save, needs to be described. Raises VlmError
    where there is nothing, where a run is unfinished, where the card or the weights are damaged or something else than
    weights, where a run is described a second time, and where the description cannot be true.
    """
    if _is_from_elsewhere(path):
        return _checkpoint_from_file(path, described)
    card_file = _run_folder(path, workspace) / CARD_FILE
    if not card_file.exists():
        raise _no_run(card_file.parent)
    if described is not None:
        raise VlmError(
            f"{card_file.parent} is a run, and its card says what it is; a description is for weights from elsewhere.",
            hint=f"--ckpt {path}, without --model and the options that go with it",
        )
    return _checkpoint_from_card(card_file)


def _checkpoint_from_card(card_file: Path) -> Checkpoint:
    card = read_record(CheckpointCard, card_file)
    weights = card_file.with_name(WEIGHTS_FILE)
    _check_weights(weights, card.weights_sha256)
    return Checkpoint(
        name=safe_name(card.run),
        origin=f"run {card.run}",
        backbone=card.backbone,
        weights=weights,
        weights_sha256=card.weights_sha256,
        described_by=sha256_of(card_file),
        data=card.data,
        is_run=True,
        words=("--ckpt", str(card_file.parent)),
    )


def _check_weights(weights: Path, expected_sha256: str) -> None:
    """Raise VlmError unless the weights are those that the card describes."""
    check_regular_file(weights, limit_bytes=WEIGHTS_LIMIT_BYTES)
    if (found := sha256_of(weights)) != expected_sha256:
        raise VlmError(
            f"{weights} is {what_it_is(weights) or 'not the file that its card describes'}: "
            f"its sha256 is {found[:12]}…, the card says {expected_sha256[:12]}….",
            hint="restore the file, or train the run again with vlm-train --overwrite",
        )


def _checkpoint_from_file(path: Path, described: Described | None) -> Checkpoint:
    """The weights in a file, once its bytes say that it holds some: that comes before anything slow is imported."""
    from vlm_train.weights import check_weights_file

    check_weights_file(path)
    if described is None:
        raise VlmError(f"{path} has no {CARD_FILE} beside it that says what it is.", hint=f"--ckpt {path} {DESCRIBE}")
    _check_description(described)
    backbone, data = _backbone_and_data(described)
    if 4 * backbone.parameters > WEIGHTS_LIMIT_BYTES:
        raise VlmError(
            f"{backbone.label} has {backbone.parameters} parameters, {4 * backbone.parameters} bytes in FP32; a single "
            f"ONNX file holds {WEIGHTS_LIMIT_BYTES}.",
            hint="--model with a smaller one",
        )
    said = json.dumps([encode(backbone), encode(data)], sort_keys=True)
    return Checkpoint(
        name=_name_of(path),
        origin=f"file {path.name}",
        backbone=backbone,
        weights=path,
        weights_sha256=sha256_of(path),
        described_by=hashlib.sha256(said.encode()).hexdigest(),
        data=data,
        is_run=False,
        words=("--ckpt", str(path), *_words_of(described)),
    )


def _name_of(path: Path) -> str:
    """The file's name without what says that it holds weights: `best` of best.pth.tar."""
    name = path.name
    while (suffix := Path(name).suffix).lower() in SUFFIXES:
        name = name.removesuffix(suffix)
    return safe_name(name)


def _words_of(described: Described) -> tuple[str, ...]:
    """The options of the command that say this; names of classes have none."""
    said = {
        "model": described.model,
        "num-classes": str(described.num_classes),
        "image-size": str(described.image_size),
        "adapt": described.adapt,
        "mean": ",".join(map(str, described.mean or ())),
        "std": ",".join(map(str, described.std or ())),
        "data": described.data,
    }
    return tuple(word for option, value in said.items() if value for word in (f"--{option}", value))


def _check_description(described: Described) -> None:
    """Raise VlmError where numbers of the description are impossible, or contradict each other."""
    for option, number in (("--num-classes", described.num_classes), ("--image-size", described.image_size)):
        if number < 1:
            raise VlmError(f"{option} {number} is impossible; expected a whole number from 1.", hint=f"{option} N")
    if described.classes is not None and len(described.classes) != described.num_classes:
        raise VlmError(
            f"{len(described.classes)} class names are given for {described.num_classes} classes.",
            hint=f"--num-classes {len(described.classes)}, or as many names as classes",
        )
    if (described.mean is None) != (described.std is None):
        raise VlmError("A mean goes with a standard deviation.", hint=NORMALISE)
    mean, std = described.mean or (), described.std or ()
    if len(mean) != len(std) or not all(map(math.isfinite, mean + std)) or not all(each > 0 for each in std):
        raise VlmError(
            f"Mean {mean} and standard deviation {std} normalise no image; expected finite numbers, one of each for "
            "each channel, and deviations above 0.",
            hint=NORMALISE,
        )


def _backbone_and_data(described: Described) -> tuple[Backbone, Data | None]:
    """The network, and the images that were named; both hold what was said against what there is."""
    from vlm_train.backbones import backbone_from_timm, check_timm_name

    check_timm_name(described.model)
    mean, std = _mean_and_std(described)
    data, classes = _data_and_classes(described, len(mean))
    return backbone_from_timm(described.model, classes, described.image_size, mean, std, described.adapt), data


def _mean_and_std(described: Described) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from vlm_train.backbones import pretrained_mean_and_std

    if described.mean is not None and described.std is not None:
        return described.mean, described.std
    try:
        return pretrained_mean_and_std(described.model)
    except VlmError as error:
        raise VlmError(f"{error} How its images are normalised must be said.", hint=NORMALISE) from None


def _data_and_classes(described: Described, channels: int) -> tuple[Data | None, tuple[str, ...]]:
    """The data that was named, and the names of the classes. Raises VlmError where the network cannot be for it."""
    from vlm_train.data import open_data

    if described.data is None:
        return None, described.classes or tuple(map(str, range(described.num_classes)))
    size = described.image_size if described.data.startswith("imagefolder:") else None
    data, splits = open_data(described.data, None, 0, size)
    if len(splits.classes) != described.num_classes:
        raise VlmError(
            f"{data.name} has {len(splits.classes)} classes, the weights are said to have {described.num_classes}.",
            hint=f"--num-classes {len(splits.classes)}, or other --data",
        )
    _check_images(data.name, splits.test.store.shape[1:], (described.image_size, described.image_size, channels))
    return data, described.classes or splits.classes


def _check_images(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise VlmError where the images [h, w, c] of some data are not those that the network takes."""
    if found != expected:
        sized = f"--image-size {found[0]} --adapt upsample:{expected[0]}, or other --data"
        raise VlmError(
            f"The images of {name} are {_shown(found)}, the network is said to take {_shown(expected)}.",
            hint=sized if found[-1] == expected[-1] else f"{NORMALISE}, a number for each of {found[-1]} channels",
        )


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1]} pixels in {shape[2]} channels"


def _is_from_elsewhere(path: Path) -> bool:
    """Whether the path is, or is named like, a file that belongs to no run."""
    if not path.exists():
        return path.suffix.lower() in SUFFIXES
    beside = [path.with_name(name) for name in (CARD_FILE, HISTORY_FILE)]
    return not (path.is_dir() or path == beside[0] or (path.name == WEIGHTS_FILE and any(map(Path.exists, beside))))


def _run_folder(path: Path, workspace: Workspace) -> Path:
    if not path.exists():
        path = _run_named(path, workspace)
    return path if path.is_dir() else path.parent


def _run_named(path: Path, workspace: Workspace) -> Path:
    names = sorted(folder.name for folder in workspace.root.glob("runs/*"))
    if path.name in names:
        return workspace.run(path.name)
    nearest = difflib.get_close_matches(path.name, names, n=1)
    raise VlmError(
        f"{path} does not exist, and {workspace.root} has no run of that name"
        + (f"; did you mean {nearest[0]}?" if nearest else f"; it has {len(names)} runs."),
        hint=f"--ckpt {workspace.run(nearest[0] if nearest else 'RUN')}",
    )


def _no_run(folder: Path) -> VlmError:
    """The error for a folder without a card: an unfinished run, or no run at all."""
    if folder.parent.name == "runs" or (folder / HISTORY_FILE).exists():
        return VlmError(
            f"{folder} holds no {CARD_FILE}: the run is unfinished.",
            hint="the vlm-train command that began the run, with --resume",
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return VlmError(
        f"{folder} is a directory, and no run's: it holds no {CARD_FILE}.",
        hint=f"--ckpt {files[0]} {DESCRIBE}" if files else "--ckpt RUN_FOLDER, or --ckpt FILE",
    )
