"""Both adapters beside the real packages: the names and numbers of arguments that they use are there."""

import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from vlm_contract.errors import CheckFailed, VlmError
from vlm_profile.runtimes import _cuda, _cuda_python
from vlm_profile.runtimes._cuda import installed_cuda, no_package

CALL = re.compile(r'(?:_call\("(?=cuda\w+")|_cuda\.(?=cuda\w+\())(cuda\w+)["(](?:, )?([^)]*)\)')


def calls_of_cuda_python() -> set[tuple[str, int]]:
    """Each function of the runtime that our source calls, with the number of its arguments."""
    source = inspect.getsource(_cuda_python.CudaPython)
    return {(name, len([a for a in rest.split(",") if a.strip()])) for name, rest in CALL.findall(source)}


def test_cuda_python_has_what_the_adapter_calls() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    calls = calls_of_cuda_python()
    assert len(calls) >= 18
    for name, count in calls:
        signature = getattr(runtime, name).__doc__.splitlines()[0]
        arguments = [part for part in signature.partition("(")[2].rstrip(")").split(",") if part.strip()]
        assert len(arguments) == count, signature


def test_a_call_that_fails_names_the_status_of_the_real_package() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if runtime.cudaMemGetInfo()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a GPU here, and nothing fails")
    with pytest.raises(CheckFailed, match="CUDA says cudaError"):
        _cuda_python.open_cuda().free_bytes()


def test_an_array_in_locked_memory_can_be_written_and_read(cuda: Any) -> None:
    with cuda.host_memory((2, 3), "float16") as array:
        array[...] = 1.5
        assert (array.shape, array.dtype, float(array.sum())) == ((2, 3), numpy.float16, 9.0)


def test_bytes_come_back_from_the_device(cuda: Any) -> None:
    with cuda.stream() as stream, cuda.host_memory((4,), "int64") as array, cuda.device_memory(32) as address:
        array[...] = [1, 2, 3, 4]
        cuda.to_device(address, array, stream)
        array[...] = 0
        cuda.to_host(array, address, stream)
        cuda.wait(stream)
        assert array.tolist() == [1, 2, 3, 4]


def test_without_either_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "find_spec", lambda module: None)
    with pytest.raises(VlmError) as error:
        installed_cuda()
    assert error.value.hint == "pip install 'vlm-edge[trt]'"
    assert "pip install 'vlm-edge[trt]'" in no_package()


def test_pycuda_is_taken_where_nvidias_package_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def find(module: str) -> Any:
        if module.startswith("cuda."):
            raise ModuleNotFoundError(module)  # as where the parent package is missing
        return module == "pycuda" or None

    monkeypatch.setattr(_cuda, "find_spec", find)
    monkeypatch.setattr(_cuda, "import_module", lambda name: SimpleNamespace(open_cuda=lambda: taken.append(name)))
    installed_cuda()
    assert taken == ["vlm_profile.runtimes._pycuda"]


@pytest.mark.parametrize("adapter", ["_cuda_python.CudaPython", "_pycuda.PyCuda"])
def test_an_adapter_has_every_member_of_the_interface(adapter: str) -> None:
    module, _, name = adapter.partition(".")
    kind = getattr(importlib.import_module(f"vlm_profile.runtimes.{module}"), name)
    wanted = {name: member for name, member in vars(_cuda.Cuda).items() if inspect.isfunction(member)}
    assert Path(inspect.getfile(kind)).stem == module
    for method, member in wanted.items():
        if not method.startswith("_"):
            found = inspect.signature(inspect.unwrap(getattr(kind, method)))
            assert list(found.parameters) == list(inspect.signature(member).parameters), method
