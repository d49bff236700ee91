"""First weights from elsewhere: a file somebody else made, or timm's download. No pickle is opened in this process."""

import json
import os
import pickle
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of
from vlm_contract.processes import die_with
from vlm_train.adaptations import SMALL
from vlm_train.backbones import WEIGHTS_LIMIT_BYTES, floors
from vlm_train.heads import classifiers
from vlm_train.torchfile import FETCH_AGAIN, SAVE_AGAIN, check_torch_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

READ_LIMIT_S = 300.0  # a file, most of it for importing torch on a slow board
DOWNLOAD_LIMIT_S = 1200.0
INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")  # of training scripts; EMA first
WRAPPERS = ("_orig_mod.", "module.") * 2  # torch.compile and DDP, in either order
AVERAGED = "n_averaged"  # the counter that torch.optim.swa_utils.AveragedModel keeps beside "module."
NAMES_SHOWN = 5
RESAMPLED = {  # by the end of the tensor's name
    "pos_embed": "position embeddings resampled",
    "relative_position_bias_table": "relative positions resampled",
    "patch_embed.proj.weight": "patch embedding resampled",
}


def load_start(module: "torch.nn.Module", backbone: Backbone, file: Path) -> str:
    """Load the weights of a file into the module of `backbone`; the sentence for the card says what was done.

    A head for other classes is left as it is, position and patch embeddings are resampled by timm. Raises VlmError
    where the file is not what it should be, or holds another network.
    """
    state = state_dict_from_file(file)
    # safetensors files are sorted by name: their order says nothing.
    notes = _load(module, backbone, state, str(file), ordered=not _is_safetensors(file))
    return ", ".join((file.name, f"sha256 {sha256_of(file)[:12]}", *notes))


def load_pretrained(module: "torch.nn.Module", backbone: Backbone) -> str:
    """As `load_start`, with the weights that timm fetches for the model, or has in its cache. Raises VlmError."""
    import timm

    name = backbone.name
    if name in floors() or not timm.models.is_model_pretrained(name):
        raise VlmError(f"timm has no pretrained weights of {name}.", hint="--weights FILE, or leave --weights out")
    failed = VlmError(
        f"timm could not fetch the weights of {name}. That needs a network, or an earlier download of them.",
        hint="--weights FILE, fetched where there is a network, or leave --weights out",
    )
    state = _from_child("download", name, DOWNLOAD_LIMIT_S, failed)
    tag = timm.models.get_pretrained_cfg(name).tag
    source = name if "." in name or not tag else f"{name}.{tag}"
    return ", ".join((f"timm {source}", *_load(module, backbone, state, source, ordered=False)))


def load_exactly(module: "torch.nn.Module", backbone: Backbone, file: Path) -> None:
    """Load the weights of a file into the module of `backbone` as they are: every tensor by its name and shape.

    Only the step counters of batch norms may be missing. Raises VlmError that names the first tensors that are missing,
    unexpected or of other shapes, and both numbers where the classes are others.
    """
    state, own = state_dict_from_file(file), _counted(module.state_dict())
    _check_classes(own, _head_of(module, own), state, file, backbone)
    _check_fit(own, _counted(state), str(file), backbone)
    module.load_state_dict(state, strict=False)  # for the counters' sake


def _check_classes(
    own: dict[str, "Tensor"], head: set[str], given: dict[str, "Tensor"], file: Path, backbone: Backbone
) -> None:
    """Raise VlmError where the head is for other classes; what is no head of this network is left to be listed."""
    for name in head & given.keys():
        expected, found = own[name].shape, given[name].shape
        if found[1:] == expected[1:] and found[:1] != expected[:1]:
            raise VlmError(
                f"{file} holds weights for {found[0]} classes; {backbone.label} is described with {expected[0]}.",
                hint=f"--num-classes {found[0]}",
            )


def state_dict_from_file(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file or of a state dict that torch.save wrote, by name; wrappers' prefixes go.

    Raises VlmError that says what the file is where it is neither. What torch.save wrote is opened in a child process
    with `weights_only`, limits of memory and time, and nothing else to fall back on.
    """
    check_weights_file(path)
    if _is_safetensors(path):
        state = _from_safetensors(path)
    else:
        failed = VlmError(
            f"{path} is damaged, or asks for more memory or time than a file of its size needs.", hint=FETCH_AGAIN
        )
        state = _from_child("unpickle", str(path.absolute()), READ_LIMIT_S, failed)
    state = _unwrapped(state)
    if not state:
        raise VlmError(f"{path} holds no tensors.", hint=SAVE_AGAIN)
    return state


def check_weights_file(path: Path) -> None:
    """Raise VlmError that says what the file is, unless its bytes promise a state dict. Imports no torch, runs nothing.

    What torch.save wrote must be one itself, or hold it under one of the names that training scripts use.
    """
    check_regular_file(path, limit_bytes=WEIGHTS_LIMIT_BYTES)
    if _is_safetensors(path):
        _check_safetensors(path)
    else:
        check_torch_file(path)


def _unwrapped(state: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Without the prefixes, and the counter, that wrappers of the module put there."""
    if all(name.startswith("module.") for name in state if name != AVERAGED):
        state = {name: tensor for name, tensor in state.items() if name != AVERAGED}
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins with the length of a header within it, and a JSON object."""
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def _check_safetensors(path: Path) -> None:
    """Raise VlmError unless the header is whole, and what it says of the tensors' places fits the file."""
    from safetensors import SafetensorError, safe_open

    try:
        safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise VlmError(f"{path} is a damaged safetensors file: {error}.", hint=FETCH_AGAIN) from None


def _from_safetensors(path: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load_file

    state: dict[str, Tensor] = load_file(path)
    return state


def _from_child(task: str, argument: str, limit_s: float, failed: VlmError) -> dict[str, "Tensor"]:
    """The tensors that a child process got by `task`; a hostile file, or a hub that hangs, harms the child alone."""
    with tempfile.TemporaryDirectory(prefix="vlm-weights-") as folder:
        code = "from vlm_train.weights import child; child()"
        command = [sys.executable, "-c", code, task, argument, folder, str(os.getpid())]
        quiet = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | quiet,
                timeout=limit_s,
                start_new_session=True,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            raise failed from None
        reply = json.loads((Path(folder) / "reply.json").read_text())
        if "error" in reply:
            raise VlmError(reply["error"], hint=reply["hint"])
        state = _from_safetensors(Path(folder) / "state.safetensors")
        return {name: state[name] for name in reply["names"]}


def child() -> None:
    """The child process: `task argument folder parent`. It leaves its answer in the folder, or ends with an error."""
    task, argument, folder, parent = sys.argv[1:]
    die_with(int(parent))
    import torch
    from safetensors.torch import save_file

    reply: dict[str, Any]
    try:
        state = {"unpickle": _unpickled, "download": _downloaded}[task](argument)
        _check_room(Path(folder), sum(tensor.numel() * tensor.element_size() for tensor in state.values()))
        copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
        save_file(copies, f"{folder}/state.safetensors")
        reply = {"names": list(state)}
    except VlmError as error:
        reply = {"error": str(error), "hint": error.hint}
    Path(folder, "reply.json").write_text(json.dumps(reply))


def _check_room(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size:
        raise VlmError(f"{folder.parent} has no room for {size} bytes of weights.", hint="TMPDIR=FOLDER before it")


def _downloaded(name: str) -> dict[str, "Tensor"]:
    import timm
    from huggingface_hub import constants

    # Without a network the hub's library tries for a minute before it looks into its cache alone.
    constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or not _resolves(constants.ENDPOINT)
    state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    return state


def _resolves(url: str) -> bool:
    """Whether the host is known here, directly or through a proxy."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.URLError as error:
        return not isinstance(error.reason, socket.gaierror)
    except OSError:
        pass
    return True


def _unpickled(path: str) -> dict[str, "Tensor"]:
    """The state dict in what torch.save wrote. Raises VlmError; what else torch raises means a damaged file."""
    from argparse import Namespace

    import torch

    _limit_memory(Path(path).stat().st_size)
    try:
        with torch.serialization.safe_globals([Namespace]):  # the options that timm's training script saves
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = f"the pickled object {named[1]}" if named else "a pickled object"
        raise VlmError(
            f"{path} holds {found}, no plain state dict, and opening that would run code.", hint=SAVE_AGAIN
        ) from None
    state = _innermost(loaded)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise VlmError(f"{path} holds no state dict: it is a {type(state).__name__}.", hint=SAVE_AGAIN)
    _check_tensors(state, path)
    return state


def _innermost(loaded: Any) -> Any:
    """The state dict of a training script's checkpoint."""
    for key in INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            return loaded[key]
    return loaded


def _check_tensors(state: dict[str, Any], path: str) -> None:
    """Raise VlmError unless all are plain tensors, and none larger than its storage."""
    import torch

    for name, value in state.items():
        plain = isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not plain or value.is_quantized:
            raise VlmError(f"{path} holds no state dict: {name!r} is no plain tensor.", hint=SAVE_AGAIN)
        have, claimed = value.untyped_storage().nbytes(), value.numel() * value.element_size()
        if claimed > have:
            raise VlmError(f"{path} stores {have} bytes for {name!r}, which claims {claimed}.", hint=SAVE_AGAIN)


def _limit_memory(file_bytes: int) -> None:
    """Let this process grow by what reading, copying and writing a file of this size needs."""
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used_bytes + 4 * file_bytes + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _load(
    module: "torch.nn.Module", backbone: Backbone, state: dict[str, "Tensor"], source: str, *, ordered: bool
) -> list[str]:
    """Fit the tensors to the module and load them; what was done to them, in words."""
    own = _counted(module.state_dict())
    head = _head_of(module, own)
    first = _first_convolutions(module)
    given, notes = _named(module, own, head | first.keys(), _counted(state), ordered)
    if any(name not in given or given[name].shape != own[name].shape for name in head):
        given |= {name: own[name] for name in head}
        notes.append("head replaced")
    elif head:
        notes.append("head kept")
    for name, convolution in first.items():
        notes += _fit_first_convolution(name, convolution, backbone, given)
    _check_fit(own, given, source, backbone)
    module.load_state_dict(given, strict=False)
    return notes


def _head_of(module: "torch.nn.Module", names: Iterable[str]) -> set[str]:
    """Those names that belong to the layers which give the logits."""
    return {name for name in names if name.startswith(tuple(f"{part}." for part in classifiers(module)))}


def _counted(state: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Without the step counters of batch norms, which old files lack and no model here uses."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def _named(
    module: "torch.nn.Module", own: dict[str, "Tensor"], fitted: set[str], state: dict[str, "Tensor"], ordered: bool
) -> tuple[dict[str, "Tensor"], list[str]]:
    """The tensors under the module's names, resampled by timm to its sizes; and what was done.

    Those of the names `fitted` may have other shapes.
    """
    given = _as_timm_names_them(module, state)
    if ordered and given.keys() - fitted != own.keys() - fitted and _same_in_order(own, fitted, state):
        return dict(zip(own, state.values(), strict=True)), ["tensors matched by their order and shapes"]
    changed = [name for name in given if name in state and given[name].shape != state[name].shape]
    return given, [text for end, text in RESAMPLED.items() if any(name.endswith(end) for name in changed)]


def _as_timm_names_them(module: "torch.nn.Module", state: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Through the filter that timm puts before the weights of this family; unchanged where the filter is at a loss."""
    filtered = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", lambda state, _: state)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of how timm resamples relative positions
            return dict(filtered(dict(state), module))
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return state


def _same_in_order(own: dict[str, "Tensor"], fitted: set[str], state: dict[str, "Tensor"]) -> bool:
    """Whether the tensors follow each other with the module's shapes and last names (`weight`, `running_mean`)."""
    return len(own) == len(state) and all(
        name in fitted or (tensor.shape == other.shape and name.split(".")[-1] == other_name.split(".")[-1])
        for (name, tensor), (other_name, other) in zip(own.items(), state.items(), strict=True)
    )


def _first_convolutions(module: "torch.nn.Module") -> dict[str, Any]:
    """The convolutions that read the image, by the names of their weights; none where timm does not say."""
    names = getattr(module, "pretrained_cfg", {}).get("first_conv") or ()
    return {
        f"{name}.weight": module.get_submodule(name) for name in ((names,) if isinstance(names, str) else tuple(names))
    }


def _fit_first_convolution(name: str, convolution: Any, backbone: Backbone, given: dict[str, "Tensor"]) -> list[str]:
    """Fit the given weight to other channels, and to the kernel of a small adaptation; what was done."""
    from timm.layers import resample_patch_embed
    from timm.models import adapt_input_conv

    own, notes = convolution.weight, []
    if name not in given or given[name].ndim != own.ndim:
        return []
    if given[name].shape[1] == 3 != own.shape[1]:
        given[name] = adapt_input_conv(own.shape[1], given[name])
        notes.append(f"input channels 3 made {own.shape[1]}")
    if backbone.adapt == SMALL and given[name].shape[2:] != own.shape[2:]:
        if convolution.kernel_size == convolution.stride:
            given[name] = resample_patch_embed(given[name], list(own.shape[2:]))
            notes.append(RESAMPLED["patch_embed.proj.weight"])
        else:
            given[name] = own.detach()
            notes.append(f"{name} left fresh, for its kernel is that of the small adaptation")
    return notes


def _check_fit(own: dict[str, "Tensor"], given: dict[str, "Tensor"], source: str, backbone: Backbone) -> None:
    """Raise VlmError unless the tensors are the module's, by name and shape."""
    problems = {
        "lacks": [name for name in own if name not in given],
        "has unexpected": [name for name in given if name not in own],
        "has with other shapes": [name for name in own if name in given and own[name].shape != given[name].shape],
    }
    found = "; ".join(f"it {what} {_listed(names)}" for what, names in problems.items() if names)
    if found:
        raise VlmError(
            f"{source} does not hold the weights of {backbone.label}: {found}.", hint="--model, the one of the file"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(islice(names, NAMES_SHOWN))
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
