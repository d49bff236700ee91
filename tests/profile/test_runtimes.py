"""Every runtime of the folder computes what the tiny model's oracle says."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from vlm_profile import runtimes as folder
from vlm_profile.runtimes import runtimes


def test_the_folder_is_the_registry() -> None:
    modules = [path for path in Path(folder.__file__).parent.glob("*.py") if path.name != "__init__.py"]
    assert len(runtimes()) == len(modules)
    assert "onnxruntime" in runtimes()


@pytest.mark.parametrize("name", sorted(runtimes()))
def test_a_runtime_agrees_with_the_oracle(name: str, tiny_model: Path, oracle: Callable[..., Any]) -> None:
    kind = runtimes()[name]
    if not importlib.util.find_spec(kind.distribution):
        pytest.skip(f"{kind.distribution} is not installed")
    kind.import_library()
    x = numpy.random.default_rng(0).standard_normal((5, 4), dtype=numpy.float32)
    with kind(tiny_model, 1) as runtime:
        (y,) = runtime.run({"x": x})
    assert [tensor.name for tensor in runtime.inputs] == ["x"]
    assert numpy.allclose(y, oracle(x), atol=1e-6)


def test_threads_are_explicit_and_the_cpu_alone_runs_the_nodes(tiny_model: Path) -> None:
    with runtimes()["onnxruntime"](tiny_model, 1) as runtime:
        assert runtime.used.options == {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        assert runtime.used.provider == "CPUExecutionProvider"
