"""Weights made by somebody else: loaded where they fit, refused with the reason where they are something else."""

import argparse
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_train.backbones import backbone_from_timm, module_from_backbone
from vlm_train.weights import load_exactly, load_pretrained, load_start, state_dict_from_file

State = dict[str, Tensor]


def described(model: str, adapt: str = "stock", *, classes: int = 10, channels: int = 3, size: int = 32) -> Backbone:
    names = tuple(map(str, range(classes)))
    return backbone_from_timm(model, names, size, (0.5,) * channels, (0.5,) * channels, adapt=adapt)


def weights_of(model: str, **arguments: Any) -> State:
    torch.manual_seed(1)
    state: State = timm.create_model(model, **arguments).state_dict()
    return {
        name: tensor + 0.01 * torch.randn(tensor.shape) if tensor.ndim else tensor for name, tensor in state.items()
    }


def started(backbone: Backbone, file: Path) -> tuple[nn.Module, str]:
    module = module_from_backbone(backbone)
    return module, load_start(module, backbone, file)


def saved(folder: Path, state: State) -> Path:
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


# What is loaded


def test_the_body_is_loaded_and_a_head_for_other_classes_left_fresh(tmp_path: Path) -> None:
    state = weights_of("test_resnet")
    module, sentence = started(described("test_resnet"), saved(tmp_path, state))
    own = module.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own if not name.startswith("fc."))
    assert own["fc.weight"].shape == (10, 96)
    assert own["fc.weight"].abs().max() < 0.1
    assert sentence.startswith("weights.safetensors, sha256 ")
    assert sentence.endswith(", head replaced")


def test_a_head_for_as_many_classes_is_kept(tmp_path: Path) -> None:
    state = weights_of("test_resnet", num_classes=10)
    module, sentence = started(described("test_resnet"), saved(tmp_path, state))
    assert torch.equal(module.state_dict()["fc.weight"], state["fc.weight"])
    assert sentence.endswith("head kept")


def test_weights_without_a_head_are_enough(tmp_path: Path) -> None:
    _, sentence = started(described("test_vit"), saved(tmp_path, weights_of("test_vit", num_classes=0, img_size=32)))
    assert sentence.endswith(", head replaced")


@pytest.mark.parametrize(
    ("model", "adapt", "done"),
    [
        ("test_vit", "stock", "position embeddings resampled, head replaced"),
        ("test_vit", "upsample:64", "position embeddings resampled, head replaced"),
        ("test_vit", "small", "position embeddings resampled, patch embedding resampled, head replaced"),
        ("swin_tiny_patch4_window7_224", "small", "relative positions resampled, patch embedding resampled, head"),
        ("test_convnext", "small", "head replaced, patch embedding resampled"),
        ("test_efficientnet", "small", "head replaced"),
        ("resnet18", "small", "head replaced, conv1.weight left fresh, for its kernel is that of the small adaptation"),
    ],
)
def test_what_an_adaptation_changed_is_resampled_or_named(model: str, adapt: str, done: str, tmp_path: Path) -> None:
    module, sentence = started(described(model, adapt), saved(tmp_path, weights_of(model)))
    assert f", {done}" in sentence
    assert module(torch.randn(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_weights_for_coloured_images_serve_grey_ones(model: str, tmp_path: Path) -> None:
    _, sentence = started(described(model, channels=1), saved(tmp_path, weights_of(model)))
    assert sentence.endswith("input channels 3 made 1")


def test_weights_of_another_network_are_refused_with_the_first_names(tmp_path: Path) -> None:
    file = saved(tmp_path, weights_of("test_vit"))
    with pytest.raises(
        VlmError, match=r"does not hold the weights of test_resnet: it lacks conv1.0.weight, .* and \d+ more; it has un"
    ):
        started(described("test_resnet"), file)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, weights_of("vit_tiny_patch16_224"))
    with pytest.raises(VlmError, match="it has with other shapes"):
        started(described("deit_small_patch16_224"), file)


def test_a_checkpoint_of_torch_is_found_in_its_wrappers(tmp_path: Path) -> None:
    state = weights_of("test_resnet")
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    checkpoint = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "state_dict": wrapped}
    torch.save(checkpoint, tmp_path / "weights.pth")
    found = state_dict_from_file(tmp_path / "weights.pth")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_names_of_another_library_pass_where_all_shapes_follow_in_order(tmp_path: Path) -> None:
    state = weights_of("test_efficientnet")
    renamed = {f"m{index}.{name.split('.')[-1]}": tensor for index, (name, tensor) in enumerate(state.items())}
    torch.save(renamed, tmp_path / "weights.pt", _use_new_zipfile_serialization=False)
    module, sentence = started(described("test_efficientnet"), tmp_path / "weights.pt")
    assert "tensors matched by their order and shapes, head replaced" in sentence
    assert torch.equal(module.state_dict()["conv_stem.weight"], state["conv_stem.weight"])


def test_the_order_of_a_safetensors_file_says_nothing(tmp_path: Path) -> None:
    state = weights_of("test_efficientnet")
    renamed = {f"m{index:03}.{name.split('.')[-1]}": tensor for index, (name, tensor) in enumerate(state.items())}
    with pytest.raises(VlmError, match=r"it lacks conv_stem\.weight"):
        started(described("test_efficientnet"), saved(tmp_path, renamed))


# What is refused


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"\x80\x04\x95\x00", "a pickle"),
        (b"\x08\x01 onnx", "neither safetensors nor what torch.save writes"),
        (b"x", "neither safetensors nor what torch.save writes"),
    ],
)
def test_other_files_are_named_for_what_they_are(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(VlmError, match=f"holds no weights: it is {found}"):
        state_dict_from_file(tmp_path / "weights.pt")


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pt")
    for path, found in ((tmp_path / "weights.pt", "a named pipe"), (tmp_path, "a directory")):
        with pytest.raises(VlmError, match=found):
            state_dict_from_file(path)
    with pytest.raises(VlmError, match="No such file"):
        state_dict_from_file(tmp_path / "none.pt")


def zipped(file: Path, members: list[str], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member in members:
            archive.writestr(member, bytes(1000))
    return file


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["a/data.pkl", "a/constants.pkl"], "a TorchScript program, and opening one can run code"),
        (["a/data.pkl", "a/code/b.py"], "a TorchScript program"),
        (["a/archive_format", "a/models/model.json"], "a program of torch.export, and opening one can run code"),
        (["x.npy", "y.npy"], "a zip archive that torch.save did not write"),
        (["a/data.pkl", "b/data/0"], "several roots or a member twice"),
        (["a/data.pkl", "a/data/0", "a/data/0"], "several roots or a member twice"),
    ],
)
def test_other_zip_archives_are_named_before_torch_sees_them(members: list[str], found: str, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=found):
        state_dict_from_file(zipped(tmp_path / "weights.pt", members))


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="compressed members"):
        state_dict_from_file(zipped(tmp_path / "weights.pt", ["a/data.pkl"], zipfile.ZIP_DEFLATED))


def test_a_download_that_was_cut_short_is_said_to_be(tmp_path: Path) -> None:
    torch.save(weights_of("test_resnet"), tmp_path / "whole.pt")
    save_file(weights_of("test_resnet"), tmp_path / "whole.safetensors")
    for name, found in (("whole.pt", "was cut short"), ("whole.safetensors", "damaged safetensors")):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
        with pytest.raises(VlmError, match=found):
            state_dict_from_file(tmp_path / name)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickled_module_is_refused_without_advice_to_run_it(new_format: bool, tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "weights.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(VlmError, match=r"holds the pickled object torch\.nn\.modules\.linear\.Linear") as caught:
        state_dict_from_file(tmp_path / "weights.pt")
    assert "weights_only" not in str(caught.value) + caught.value.hint
    assert "safetensors.torch.save_file" in caught.value.hint


@pytest.mark.parametrize(
    ("saved_object", "found"),
    [
        ([1, 2], "it is a list"),
        ({"a": torch.zeros(2), "epoch": 3}, "'epoch' is no plain tensor"),
        ({"a": torch.zeros(2).to_sparse()}, "'a' is no plain tensor"),
        ({"a": torch.zeros(1).expand(2**20, 2**20)}, "stores 4 bytes for 'a', which claims 4398046511104"),
        ({}, "holds no tensors"),
    ],
)
def test_what_torch_saved_must_be_plain_tensors_of_their_size(saved_object: Any, found: str, tmp_path: Path) -> None:
    torch.save(saved_object, tmp_path / "weights.pt")
    with pytest.raises(VlmError, match=found):
        state_dict_from_file(tmp_path / "weights.pt")


def test_damage_inside_harms_the_child_process_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}q\x00.")  # a dictionary, and no version that torch would know
    with pytest.raises(VlmError, match="is damaged, or asks for more memory or time"):
        state_dict_from_file(tmp_path / "weights.pt")


def test_tied_weights_are_no_fraud(tmp_path: Path) -> None:
    table = torch.randn(8, 4)
    torch.save({"a.weight": table, "b.weight": table}, tmp_path / "weights.pt")
    found = state_dict_from_file(tmp_path / "weights.pt")
    assert torch.equal(found["a.weight"], table)
    assert torch.equal(found["b.weight"], table)


@pytest.mark.parametrize("key", ["model_state_dict", "model_ema"])
def test_averaged_weights_are_found_without_their_counter(key: str, tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2))
    torch.save({key: averaged.state_dict(), "epoch": 3}, tmp_path / "weights.pth.tar")
    assert list(state_dict_from_file(tmp_path / "weights.pth.tar")) == ["weight", "bias"]


def test_weights_as_they_are_must_all_be_there(tmp_path: Path) -> None:
    backbone = described("test_resnet")
    state = weights_of("test_resnet", num_classes=10)
    removed = [name for name in state if name.startswith("layer1.")]
    file = saved(
        tmp_path, {name: tensor for name, tensor in state.items() if name not in removed} | {"x": torch.zeros(2)}
    )
    with pytest.raises(VlmError, match=r"it lacks layer1\.0\.conv1\.weight, .* and \d+ more; it has unexpected x\."):
        load_exactly(module_from_backbone(backbone), backbone, file)


def test_weights_as_they_are_fill_the_module(tmp_path: Path) -> None:
    backbone, state = described("test_resnet"), weights_of("test_resnet", num_classes=10)
    module = module_from_backbone(backbone)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    load_exactly(module, backbone, saved(tmp_path, {n: t.half() for n, t in state.items() if n not in counters}))
    own = module.state_dict()
    assert all(torch.equal(own[name], state[name].half().float()) for name in state if name not in counters)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext2"])
def test_other_classes_are_told_with_both_numbers(model: str, tmp_path: Path) -> None:
    backbone = described(model)
    state = module_from_backbone(described(model, classes=7)).state_dict()
    with pytest.raises(VlmError, match=r"holds weights for 7 classes; test_\w+ is described with 10") as caught:
        load_exactly(module_from_backbone(backbone), backbone, saved(tmp_path, state))
    assert caught.value.hint == "--num-classes 7"


# timm's download


@pytest.mark.parametrize("model", ["pixels", "test_vit4"])
def test_a_model_without_pretrained_weights_is_refused(model: str) -> None:
    backbone = described(model)
    with pytest.raises(VlmError, match=f"timm has no pretrained weights of {model}"):
        load_pretrained(module_from_backbone(backbone), backbone)


def cut_off(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(cache))


def test_without_a_network_the_reason_and_a_way_on_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch, tmp_path)
    backbone = described("test_vit")
    with pytest.raises(VlmError, match=r"could not fetch the weights of test_vit\. That needs a network") as caught:
        load_pretrained(module_from_backbone(backbone), backbone)
    assert caught.value.hint.startswith("--weights FILE")


def test_weights_in_the_cache_of_the_hub_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch, tmp_path)
    repository = tmp_path / "hub" / "models--timm--test_vit.r160_in1k"
    (repository / "snapshots" / "1").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    state = weights_of("test_vit")
    save_file(state, repository / "snapshots" / "1" / "model.safetensors")
    backbone = described("test_vit")
    module = module_from_backbone(backbone)
    sentence = load_pretrained(module, backbone)
    assert sentence == "timm test_vit.r160_in1k, position embeddings resampled, head replaced"
    assert torch.equal(module.state_dict()["cls_token"], state["cls_token"])


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm_train.weights.DOWNLOAD_LIMIT_S", 0.01)
    backbone = described("test_vit")
    with pytest.raises(VlmError, match="could not fetch"):
        load_pretrained(module_from_backbone(backbone), backbone)
