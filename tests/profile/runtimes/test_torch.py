"""The checkpoint itself as a runtime: logistic regression on pixels, whose truth is one product of matrices."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy
import pytest

from vlm_contract.errors import VlmError
from vlm_contract.workspace import WEIGHTS_FILE
from vlm_profile.runtimes import _torch, runtimes, torch_eager

IMAGES = numpy.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=numpy.float32)


@pytest.fixture(scope="module")
def run(run_maker: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never trained; do not write into it."""
    return run_maker(tmp_path_factory.mktemp("runs"), "pixels", "pixels-digits-200-s0")


@pytest.fixture(scope="module")
def logits(run: Path) -> Callable[[Any], Any]:
    """What the run's network computes, from its weights alone."""
    from safetensors.numpy import load_file

    weights = load_file(run / WEIGHTS_FILE)
    return lambda images: images.reshape(len(images), -1) @ weights["fc.weight"].T + weights["fc.bias"]


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        pytest.param("torch-compile", marks=pytest.mark.slow),
        pytest.param("torch-cuda", marks=pytest.mark.gpu),
        pytest.param("torch-compile-cuda", marks=[pytest.mark.gpu, pytest.mark.slow]),
    ],
)
def test_a_runtime_of_pytorch_agrees_with_the_oracle(
    name: str, run: Path, logits: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    kind = runtimes()[name]
    if sentence := kind.unusable():
        pytest.skip(sentence)
    kind.import_library()
    for options in kind.variants:
        with kind(run, 1, options) as runtime:
            for images in (IMAGES, IMAGES + 1, IMAGES[:1]):
                (found,) = runtime.run({"images": images})
                assert numpy.allclose(found, logits(images), atol=1e-4)
            assert (runtime.device_ns() is not None) == (kind.device == "cuda")
            assert bool(runtime.memory()) == (kind.device == "cuda")


def test_what_it_takes_and_gives_is_the_cards(run: Path) -> None:
    with runtimes()["torch"](run, 1, {}) as runtime:
        ((images,), (found,)) = runtime.inputs, runtime.outputs
    assert (images.shape, images.dtype) == (("batch", 3, 32, 32), "float32")
    assert found.shape == ("batch", 10)


def test_threads_are_explicit(run: Path) -> None:
    import torch

    with runtimes()["torch"](run, 1, {}) as runtime:
        assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (1, 1)
        assert runtime.used.options == {"num_threads": 1, "num_interop_threads": 1}
    with runtimes()["torch"](run, 2, {}):
        assert torch.get_num_threads() == 2


def test_no_gradients_are_kept_in_any_thread(run: Path) -> None:
    seen: list[bool] = []
    with torch_eager.Runtime(run, 1, {}) as runtime:
        runtime._network._module.register_forward_hook(lambda *call: seen.append(call[-1].requires_grad))
        for _ in range(2):
            thread = Thread(target=runtime.run, args=({"images": IMAGES},))
            thread.start()
            thread.join()
    assert seen == [False, False]


def test_the_network_is_compiled_for_the_shapes_of_its_calls(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    asked: list[dict[str, Any]] = []

    def note(module: Any, **options: Any) -> Any:
        asked.append(options)
        return module

    monkeypatch.setattr(torch, "compile", note)
    for options in ({}, {"mode": "reduce-overhead"}):
        _torch.Network(run, 1, "cpu", _torch.compiled(options))
    assert asked == [{"dynamic": False}, {"dynamic": False, "mode": "reduce-overhead"}]


def test_a_folder_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"checkpoint\.json"):
        runtimes()["torch"](tmp_path, 1, {})


def test_a_missing_compiler_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert runtimes()["torch-compile"].unusable().endswith("sudo apt install g++ python3-dev")
