"""How a checkpoint is found, what weights from elsewhere must be described by, and what is refused at the door."""

import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_export.checkpoint import Described, checkpoint_from_path, finished_runs
from vlm_train.backbones import backbone_from_timm, module_from_backbone

RUN = "tiny-digits-200-s0"
TINY = Described("test_resnet", 10, 32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LIMIT_S = 2.0  # of processor time, to refuse a file

State = dict[str, torch.Tensor]


# Runs


@pytest.mark.parametrize("name", ["", "checkpoint.json", "model.safetensors"])
def test_a_run_is_found_by_its_folder_or_either_file(finished: Path, name: str) -> None:
    checkpoint = checkpoint_from_path(finished / "runs" / RUN / name, Workspace(finished))
    assert (checkpoint.name, checkpoint.is_run) == (RUN, True)
    assert checkpoint.words == ("--ckpt", str(finished / "runs" / RUN))


def test_a_run_is_found_by_its_name(finished: Path) -> None:
    assert checkpoint_from_path(Path(RUN), Workspace(finished)).weights.exists()


def test_an_unknown_run_names_the_nearest(finished: Path) -> None:
    with pytest.raises(VlmError, match=f"tiny-digits-200-s1 does not exist.*did you mean {RUN}"):
        checkpoint_from_path(Path("tiny-digits-200-s1"), Workspace(finished))


def test_an_unfinished_run_says_how_to_finish_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mobilenetv3_large_100-digits-1149-s3"
    folder.mkdir(parents=True)
    with pytest.raises(VlmError, match="unfinished") as error:
        checkpoint_from_path(folder, Workspace(tmp_path))
    assert error.value.hint.endswith("with --resume")


def test_changed_weights_are_named(fresh: Path) -> None:
    weights = fresh / "runs" / RUN / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(VlmError, match=r"model\.safetensors is not the file that its card describes"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_weights_that_are_something_else_are_called_so(fresh: Path) -> None:
    (fresh / "runs" / RUN / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(VlmError, match="git-lfs pointer"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_weights_that_are_a_pipe_are_not_opened(fresh: Path) -> None:
    weights = fresh / "runs" / RUN / "model.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(VlmError, match="named pipe"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_a_damaged_card_names_its_field(fresh: Path) -> None:
    card = fresh / "runs" / RUN / "checkpoint.json"
    card.write_text(card.read_text().replace('"image_size":32', '"image_size":"32"'))
    with pytest.raises(VlmError, match=r"checkpoint\.json is damaged: backbone\.image_size"):
        checkpoint_from_path(Path(RUN), Workspace(fresh))


def test_a_run_needs_no_description(finished: Path) -> None:
    with pytest.raises(VlmError, match="is a run, and its card says what it is"):
        checkpoint_from_path(Path(RUN), Workspace(finished), TINY)


def test_a_workspace_without_a_finished_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs" / "unfinished").mkdir(parents=True)
    with pytest.raises(VlmError, match="holds no finished run"):
        finished_runs(Workspace(tmp_path))


# Weights from elsewhere


def module_of(described: Described, seed: int = 0) -> nn.Module:
    """Weights and batch statistics unlike those of a fresh network."""
    torch.manual_seed(seed)
    names = tuple(map(str, range(described.num_classes)))
    module = module_from_backbone(backbone_from_timm(described.model, names, 32, (0.5,) * 3, (0.5,) * 3))
    for tensor in module.state_dict().values():
        tensor.add_(0.1 * torch.rand_like(tensor) if tensor.is_floating_point() else 3)
    return module


@pytest.fixture(scope="module")
def state() -> State:
    return module_of(TINY).state_dict()


def as_safetensors(file: Path, state: State) -> Path:
    save_file(state, file)
    return file


def with_prefix(prefix: str) -> Callable[[Path, State], Path]:
    return lambda file, state: as_safetensors(file, {f"{prefix}{name}": tensor for name, tensor in state.items()})


def as_plain(file: Path, state: State) -> Path:
    torch.save(state, file)
    return file


def as_older_format(file: Path, state: State) -> Path:
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file


def beside_an_average(file: Path, state: State) -> Path:
    """The averaged weights are the ones to take; the others are wrong."""
    wrong = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": wrong, "state_dict_ema": state, "optimizer": {}}, file)
    return file


def as_an_average(file: Path, state: State) -> Path:
    module = module_of(TINY, seed=1)
    module.load_state_dict(state)
    torch.save({"model": {}, "model_ema": torch.optim.swa_utils.AveragedModel(module).state_dict()}, file)
    return file


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_safetensors, "best.safetensors"),
        (with_prefix("module."), "best.safetensors"),
        (with_prefix("_orig_mod."), "best.safetensors"),
        (with_prefix("module._orig_mod."), "best.safetensors"),
        (with_prefix("_orig_mod.module."), "best.safetensors"),
        (as_safetensors, "best.pt"),  # the content decides, not the name
        (as_plain, "best.bin"),
        (as_plain, "best"),
        (as_older_format, "best.pth"),
        (beside_an_average, "best.pth.tar"),
        (as_an_average, "best.ckpt"),
    ],
)
def test_described_weights_are_loaded_as_they_are(write: Any, name: str, state: State, tmp_path: Path) -> None:
    file = write(tmp_path / name, state)
    checkpoint = checkpoint_from_path(file, Workspace(tmp_path), TINY)
    loaded = checkpoint.module()
    assert not loaded.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    assert (checkpoint.name, checkpoint.origin, checkpoint.is_run) == ("best", f"file {name}", False)


def test_a_file_is_described_by_what_was_said(state: State, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path / "the weights (2).best.safetensors", state)
    checkpoint = checkpoint_from_path(file, Workspace(tmp_path), TINY)
    assert checkpoint.name == "the_weights_2_.best"
    assert checkpoint.backbone.classes == tuple("0123456789")
    assert checkpoint.backbone.mean == (0.5, 0.5, 0.5)
    assert checkpoint.data is None
    assert checkpoint.words[:4] == ("--ckpt", str(file), "--model", "test_resnet")
    assert checkpoint.words[-4:] == ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    named = checkpoint_from_path(file, Workspace(tmp_path), replace(TINY, classes=tuple("abcdefghij")))
    assert named.backbone.classes == tuple("abcdefghij")
    assert named.described_by != checkpoint.described_by
    assert named.weights_sha256 == checkpoint.weights_sha256


def test_images_are_normalised_as_timm_says_where_nothing_else_is_said(state: State, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path / "best.safetensors", state)
    described = replace(TINY, model="resnet18", mean=None, std=None)
    backbone = checkpoint_from_path(file, Workspace(tmp_path), described).backbone
    assert (backbone.mean, backbone.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(VlmError, match="knows no pretrained weights of resnet9") as error:
        checkpoint_from_path(file, Workspace(tmp_path), replace(described, model="resnet9"))
    assert error.value.hint == "--mean M,M,M --std S,S,S"


def test_the_named_data_judge_by_images_that_nobody_trained_on(state: State, tmp_path: Path) -> None:
    from vlm_train.data import open_data

    file = as_safetensors(tmp_path / "best.safetensors", state)
    checkpoint = checkpoint_from_path(file, Workspace(tmp_path), replace(TINY, data="digits"))
    data, splits = open_data("digits", None, 0)
    assert checkpoint.data == data
    assert (checkpoint.splits.validation.pixels == splits.test.pixels).all()
    assert (checkpoint.splits.train.pixels == splits.train.pixels).all()


def test_without_data_there_are_no_images(state: State, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path / "best.safetensors", state)
    with pytest.raises(VlmError, match="came without images") as error:
        _ = checkpoint_from_path(file, Workspace(tmp_path), TINY).splits
    assert error.value.hint == "--data NAME"


@pytest.mark.parametrize(
    ("change", "found", "hint"),
    [
        (
            {"model": "test_resnett"},
            "timm has no model 'test_resnett'; did you mean test_resnet",
            "--model test_resnet",
        ),
        ({"num_classes": 0}, "--num-classes 0 is impossible", "--num-classes N"),
        ({"image_size": -1}, "--image-size -1 is impossible", "--image-size N"),
        ({"classes": ("a", "b")}, "2 class names are given for 10 classes", "--num-classes 2"),
        ({"mean": None}, "A mean goes with a standard deviation", "--mean"),
        ({"mean": (0.5,)}, "normalise no image", "--mean"),
        ({"std": (0.0, 0.5, 0.5)}, "normalise no image", "--mean"),
        ({"mean": (float("nan"), 0.5, 0.5)}, "normalise no image", "--mean"),
        ({"data": "digitz"}, "Unknown data 'digitz'", "--data digits"),
        (
            {"data": "digits", "num_classes": 7},
            "digits has 10 classes, the weights are said to have 7",
            "--num-classes",
        ),
        (
            {"data": "digits", "image_size": 64},
            "images of digits are 32 × 32 pixels in 3 channels, the network is said to take 64 × 64",
            "--image-size 32 --adapt upsample:64",
        ),
        ({"data": "digits", "mean": (0.5,), "std": (0.5,)}, "said to take 32 × 32 pixels in 1 channels", "--mean"),
        ({"model": "vit_giant_patch14_224", "image_size": 224}, "a single ONNX file holds", "--model"),
    ],
)
def test_a_description_that_cannot_be_true_is_refused(
    change: dict[str, Any], found: str, hint: str, state: State, tmp_path: Path
) -> None:
    file = as_safetensors(tmp_path / "best.safetensors", state)
    with pytest.raises(VlmError, match=found) as error:
        checkpoint_from_path(file, Workspace(tmp_path), replace(TINY, **change))
    assert error.value.hint.startswith(hint)


def test_a_file_without_a_description_says_what_to_type(state: State, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path / "model.safetensors", state)
    with pytest.raises(VlmError, match=r"model\.safetensors has no checkpoint\.json beside it") as error:
        checkpoint_from_path(file, Workspace(tmp_path))
    assert error.value.hint == f"--ckpt {file} --model NAME --num-classes N --image-size S"


def test_other_classes_are_told_with_both_numbers(state: State, tmp_path: Path) -> None:
    checkpoint = checkpoint_from_path(
        as_safetensors(tmp_path / "best.safetensors", state), Workspace(tmp_path), replace(TINY, num_classes=7)
    )
    with pytest.raises(VlmError, match="holds weights for 10 classes; test_resnet is described with 7") as error:
        checkpoint.module()
    assert error.value.hint == "--num-classes 10"


def test_missing_and_unexpected_tensors_are_listed(state: State, tmp_path: Path) -> None:
    renamed = {name.replace("layer1", "first"): tensor for name, tensor in state.items()}
    file = as_safetensors(tmp_path / "best.safetensors", renamed)
    checkpoint = checkpoint_from_path(file, Workspace(tmp_path), TINY)
    lacks, has = (rf"{word} {layer}\.\S+(, {layer}\.\S+){{4}} and \d+ more" for word, layer in (
        ("lacks", "layer1"), ("unexpected", "first")))  # fmt: skip
    with pytest.raises(VlmError, match=f"does not hold the weights of test_resnet: it {lacks}; it has {has}"):
        checkpoint.module()


# Refused at the door


class Trap:
    """Pickled, it is a call that leaves a folder behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def write_trap(file: Path, new: bool = True) -> None:
    torch.save({"a": Trap(file.with_name("canary"))}, file, _use_new_zipfile_serialization=new)


def write_script(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and met with all the same
        torch.jit.script(nn.Linear(2, 2)).save(file)


def write_program(file: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), file)


def write_bomb(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        with archive.open("a/data/0", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))


def write_cut(file: Path, new: bool = True) -> None:
    torch.save({"a": torch.zeros(1000)}, file, _use_new_zipfile_serialization=new)
    file.write_bytes(file.read_bytes()[:-1000])


def write_cut_safetensors(file: Path) -> None:
    save_file({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:-1000])


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {  # how it is made, the reason, what to do instead
    "module.pt": (lambda file: torch.save(nn.Linear(2, 2), file), r"pickled object torch\.nn\.\S+Linear", "save_file"),
    "module.pth": (
        lambda file: torch.save(nn.Linear(2, 2), file, _use_new_zipfile_serialization=False),
        r"pickled object torch\.nn\.\S+Linear",
        "save_file",
    ),
    "trap.pt": (write_trap, r"pickled object posix\.mkdir, no plain state dict", "save_file"),
    "trap.pth": (lambda file: write_trap(file, new=False), r"pickled object posix\.mkdir", "save_file"),
    "script.pt": (write_script, "a TorchScript program, and opening one can run code", "save_file"),
    "program.pt2": (write_program, "a program of torch.export, and opening one can run code", "save_file"),
    "page.pth": (lambda file: file.write_text("<!DOCTYPE html><html>404</html>"), "an HTML page", "fetch the file"),
    "pointer.bin": (
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "a git-lfs",
        "git lfs",
    ),
    "cut.pt": (write_cut, "zip archive that was cut short", "fetch the file again"),
    "cut.pth": (lambda file: write_cut(file, new=False), "was cut short", "fetch the file again"),
    "cut.safetensors": (write_cut_safetensors, "damaged safetensors file", "fetch the file again"),
    "fraud.pt": (
        lambda file: torch.save({"a": torch.zeros(1).expand(2**20, 2**20)}, file),
        "stores 4 bytes for 'a', which claims 4398046511104",
        "save_file",
    ),
    "bomb.pt": (write_bomb, "compressed members, which torch.save never writes", "save_file"),
    "pipe.pt": (os.mkfifo, "is a named pipe; expected a regular file", ""),
    "zeros.pth": (lambda file: file.symlink_to("/dev/zero"), "is a device; expected a regular file", ""),
    "folder.pt": (Path.mkdir, r"is a directory, and no run's: it holds no checkpoint\.json", "--ckpt"),
    "empty.pt": (Path.touch, "is empty", ""),
    "notes.txt": (
        lambda file: file.write_text("x"),
        "it is neither safetensors nor what torch.save writes",
        "save_file",
    ),
    "absent.pt": (lambda file: None, "No such file", "check the path"),
}
DOORMAN = """
import json, resource, sys, time
from pathlib import Path
sys.modules["torch"] = None  # an import of it fails
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in EVENTS else None)
from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_export.checkpoint import Described, checkpoint_from_path
refusals = {}
for path in map(Path, sys.argv[1:]):
    began = time.process_time()
    try:
        checkpoint_from_path(path, Workspace(path.parent), Described("test_resnet", 10, 32))
    except VlmError as error:
        refusals[path.name] = [str(error), error.hint, time.process_time() - began]
print(json.dumps({"refusals": refusals, "seen": seen}))
""".replace("EVENTS", str({"pickle.find_class", "subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"}))


@pytest.fixture(scope="module")
def doorman(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a process without torch says of every bad file, and which of the events that it must not cause it caused."""
    folder = tmp_path_factory.mktemp("bad")
    for name, (make, _, _) in BAD.items():
        make(folder / name)
    command = [sys.executable, "-c", DOORMAN, *(str(folder / name) for name in BAD)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    return said | {"canary": (folder / "canary").exists()}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_weights_is_refused_soon_with_the_reason_and_a_way_on(name: str, doorman: Any) -> None:
    message, hint, seconds = doorman["refusals"][name]
    _, reason, way_on = BAD[name]
    assert seconds < LIMIT_S
    assert re.search(reason, message), message
    assert name in message
    assert hint.startswith(way_on) or way_on in hint
    assert not any(word in message + hint for word in ("weights_only", "trust", "allow_pickle", "unsafe"))


def test_no_refusal_executes_anything_or_starts_a_process(doorman: Any) -> None:
    assert doorman["seen"] == []
    assert not doorman["canary"]


def test_the_trap_would_have_sprung(tmp_path: Path) -> None:
    write_trap(tmp_path / "trap.pt")
    torch.load(tmp_path / "trap.pt", weights_only=False)
    assert (tmp_path / "canary").exists()


def test_a_folder_of_weights_without_a_card_says_which_file_to_name(state: State, tmp_path: Path) -> None:
    file = as_safetensors(tmp_path / "model.safetensors", state)
    with pytest.raises(VlmError, match="is a directory, and no run's") as error:
        checkpoint_from_path(tmp_path, Workspace(tmp_path))
    assert error.value.hint.startswith(f"--ckpt {file} --model NAME")
