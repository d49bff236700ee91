"""The folder is the registry; each runtime has what the protocol asks for, and computes what the oracle says."""

import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from vlm_profile import runtimes as folder
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.runtimes._base import PerThread, first_installed, missing, version_of

NAMES = sorted(runtimes())
DOCS = Path(__file__).parents[3] / "docs" / "runtimes.md"


def test_the_folder_is_the_registry() -> None:
    modules = [path for path in Path(folder.__file__).parent.glob("*.py") if not path.name.startswith("_")]
    assert len(runtimes()) == len(modules)
    assert {"onnxruntime", "tensorrt", "torch", "openvino"} <= set(runtimes())


@pytest.mark.parametrize("name", NAMES)
def test_a_runtime_has_every_member_of_the_protocol(name: str) -> None:
    kind = runtimes()[name]
    for member, wanted in vars(Runtime).items():
        if inspect.isfunction(wanted) and member not in ("__init__", "__enter__", "__exit__") and member[:2] != "__":
            found = inspect.signature(getattr(kind, member))
            assert list(found.parameters) == list(inspect.signature(wanted).parameters), member
    assert list(inspect.signature(kind).parameters) == ["model", "threads", "options"]
    assert kind.device in ("cpu", "cuda") and kind.variants and kind.tuning and kind.formats


OPENED = [name for name in NAMES if not runtimes()[name].self_timed]  # in a worker


@pytest.mark.parametrize("name", [name for name in OPENED if "onnx" in runtimes()[name].formats])
def test_a_runtime_of_onnx_agrees_with_the_oracle(name: str, tiny_model: Path, oracle: Callable[..., Any]) -> None:
    check_against_oracle(runtimes()[name], tiny_model, oracle)


def check_against_oracle(kind: type[Runtime], model: Path, oracle: Callable[..., Any]) -> None:
    if sentence := kind.unusable():
        pytest.skip(sentence)
    kind.import_library()
    x = numpy.random.default_rng(0).standard_normal((5, 4), dtype=numpy.float32)
    for options in kind.variants + kind.tuning:
        with kind(model, 1, options) as runtime:
            (y,) = runtime.run({"x": x})
            assert numpy.allclose(y, oracle(x), atol=1e-6)
            assert [tensor.name for tensor in runtime.inputs] == ["x"]
            assert [tensor.name for tensor in runtime.outputs] == ["y"]
            assert runtime.inputs[0].shape == ("batch", 4) and runtime.outputs[0].dtype == "float32"
            assert runtime.used.name == kind.name and runtime.fallback() == ""


def test_the_example_in_the_docs_is_a_whole_runtime(
    tiny_model: Path, oracle: Callable[..., Any], tmp_path: Path
) -> None:
    _, _, rest = DOCS.read_text().partition("```python\n")
    code, _, _ = rest.partition("```")
    assert 15 <= sum(bool(line.strip()) for line in code.splitlines()) <= 30
    (tmp_path / "example.py").write_text(code)
    spec = importlib.util.spec_from_file_location("example", tmp_path / "example.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    check_against_oracle(module.Runtime, tiny_model, oracle)


def test_the_docs_name_every_runtime_with_its_extra() -> None:
    text = DOCS.read_text()
    for name, kind in runtimes().items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"`{kind.extra}`" in row and all(f"`{option}" in row for way in kind.variants for option in way), name


def test_asking_what_is_usable_imports_no_runtime() -> None:
    code = (
        "import sys; from vlm_profile.runtimes import runtimes\n"
        "for kind in runtimes().values(): kind.unusable()\n"
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'tensorrt', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    assert missing("ort", json="json") == ""
    sentence = missing("ort", no_such_module="no-such-package", json="json")
    assert sentence == "no-such-package not installed: pip install 'vlm-edge[ort]'"


def test_of_two_packages_with_one_module_the_installed_one_is_named() -> None:
    assert first_installed("no-such-package", "numpy") == "numpy"
    assert first_installed("no-such-package", "nor-this-one") == "no-such-package"
    assert version_of("numpy", "1") == numpy.__version__ and version_of("no-such-package", "1") == "1"


def test_each_thread_has_its_own_and_keeps_it() -> None:
    from threading import Thread

    made: list[object] = []
    seen: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    each = PerThread(make)
    threads = [Thread(target=lambda: seen.extend([each.mine(), each.mine()])) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len(made) == 2 and seen == [made[0], made[0], made[1], made[1]]
