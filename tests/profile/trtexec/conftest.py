"""A machine with an emulator of trtexec, a small ONNX file, and what a worker would be told."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Setup
from vlm_export.tensorrt.trtexec import Tool, tool_on
from vlm_profile.protocol import QUICK
from vlm_profile.worker import Spec
from vlm_targets.reach import Here

EMULATOR = Path(__file__).parents[2] / "emulators" / "trtexec.py"


@pytest.fixture(scope="session")
def emulator() -> Any:
    """The module of the emulator of trtexec."""
    spec = importlib.util.spec_from_file_location("emulated_trtexec", EMULATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here() -> Iterator[Here]:
    with Here() as machine:
        yield machine


@pytest.fixture
def emulated(emulator: Any, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tool]:
    """A function that puts an emulator of one version on the PATH; the tool that is found then."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def start(version: str = "10.3.0", **settings: Any) -> Tool:
        emulator.install(tmp_path / "bin", version, **settings)
        return tool_on(here)

    return start


@pytest.fixture
def called(tmp_path: Path) -> Callable[[], list[str]]:
    """A function that gives the words with which the emulator was called last."""
    return lambda: (tmp_path / "bin" / "called").read_text().splitlines()


@pytest.fixture(scope="session")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with a dynamic batch."""
    from onnx import TensorProto, helper, save

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    graph = helper.make_graph(
        [helper.make_node("Relu", ["images"], ["logits"])],
        "relu",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, 4, 4])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def spec(onnx: Path) -> Spec:
    """What a worker would be told of one quick repetition."""
    one_by_one = Absent("one call after the other")
    return Spec(
        runtime="trtexec",
        model=str(onnx),
        setup=Setup(2, 1, 1, "any", one_by_one, {"cuda_graph": False}),
        memory_limit_bytes=0,
        parent=0,
        inputs=(TensorSpec("images", (2, 3, 4, 4), "float32"),),
        protocol=replace(QUICK, warmup_s_gpu=0.1, measure_s=0.3),
        seed=0,
        order=4,
        attempt=1,
    )
