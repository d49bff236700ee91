"""TensorRT without a GPU: the real bindings against stub libraries, doubles made from them, small graphs."""

import enum
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BINDINGS = Path(os.environ.get("VLM_TENSORRT_BINDINGS", ROOT / ".venv" / "tensorrt-bindings"))
VERSIONS = ("8.6.1", "10.3.0", "11.4.0")
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles the libraries that one version's bindings load; their folder."""

    def compiled(version: str) -> Path:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler for the stub of TensorRT's libraries")
        major = version.partition(".")[0]
        folder = tmp_path_factory.mktemp(f"stubs-{major}")
        for name in (f"lib{library}.so.{major}" for library in LIBRARIES):
            how = ["-shared", "-fPIC", f"-Wl,-soname,{name}", f"-DLOG_METHOD={4 if major == '11' else 0}"]
            subprocess.run([compiler, *how, "-o", folder / name, HERE / "stub_libraries.c"], check=True)
        return folder

    return compiled


@pytest.fixture(scope="session")
def with_bindings(stubs: Callable[[str], Path]) -> Callable[[str, list[str]], str]:
    """Runs Python with one version's real bindings; what it printed."""

    def run(version: str, arguments: list[str]) -> str:
        bindings = BINDINGS / version
        if not bindings.is_dir():
            pytest.skip(f"no bindings of TensorRT {version} in {BINDINGS}: scripts/fetch_bindings.sh {BINDINGS}")
        environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs(version)), "PYTHONPATH": str(bindings)}
        ran = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


@pytest.fixture(scope="session")
def specs(with_bindings: Callable[[str, list[str]], str]) -> Callable[[str], dict[str, Any]]:
    """What one version's real classes have; made once."""
    made: dict[str, dict[str, Any]] = {}

    def spec(version: str) -> dict[str, Any]:
        if version not in made:
            made[version] = json.loads(with_bindings(version, [str(HERE / "print_spec.py")]))
        return made[version]

    return spec


class Double:
    """Stands for an object of TensorRT: it has the members of the real class, and no other.

    A method takes as many arguments as the real one, and returns what the test gave for it or a double of the real
    return type; a property has the value that was set.
    """

    def __init__(self, module: "Module", kind: str, **values: Any) -> None:
        members = module.spec["classes"][kind]["members"]
        self.__dict__.update(_module=module, _kind=kind, _members=members, _values={})
        for name, value in values.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        signature = self._member(name)
        if signature is not None:
            return lambda *arguments: self._call(name, signature, arguments)
        value = self._values.get(name, self._module.answers.get(f"{self._kind}.{name}", Double))
        assert value is not Double, f"the test gives no value for {self._kind}.{name}"
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        assert self._member(name) is None, f"{self._kind}.{name} is a method"
        self._values[name] = value
        self._module.calls.append((f"{self._kind}.{name}", value))

    def _member(self, name: str) -> Any:
        if name not in self._members:
            raise AttributeError(f"TensorRT {self._module.__version__} has no {self._kind}.{name}")
        return self._members[name]

    def _call(self, name: str, signature: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        called = f"{self._kind}.{name}"
        assert signature["least"] <= len(arguments) <= signature["most"], f"{called} takes {signature}, got {arguments}"
        self._module.calls.append((called, *arguments))
        if called in self._module.answers:
            answer = self._module.answers[called]
            return answer(*arguments) if callable(answer) else answer
        return self._module.default(signature["returns"])


class Module:
    """Stands for the module of one version of TensorRT, made from the names of the real one."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.__version__ = spec["version"]
        self.answers: dict[str, Any] = {}  # by "Class.member"
        self.calls: list[tuple[Any, ...]] = []
        self.logger: Any = None

    def __getattr__(self, name: str) -> Any:
        if name not in self.spec["classes"]:
            raise AttributeError(f"TensorRT {self.spec['version']} has no {name}")
        made = self._made(name, self.spec["classes"][name])
        setattr(self, name, made)
        return made

    def _made(self, name: str, kind: dict[str, Any]) -> Any:
        if "values" in kind:
            return enum.IntEnum(name, kind["values"])
        if name in ("ILogger", "IProgressMonitor"):  # ours are made from these
            return type(name, (), {})
        return lambda *arguments: self._construct(name, kind["members"]["__init__"], arguments)

    def _construct(self, name: str, signature: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        assert signature["least"] <= len(arguments) <= signature["most"], f"{name} takes {signature}, got {arguments}"
        self.logger = arguments[-1]
        return self.answers[name](*arguments) if name in self.answers else Double(self, name)

    def default(self, returns: str) -> Any:
        """What a method returns by its documentation; some give the C++ name, such as `nvinfer1::IEngineInspector`."""
        plain = {"bool": True, "int": 0, "str": "", "None": None}
        kind = returns.rpartition("::I")[2]
        return plain[kind] if kind in plain else Double(self, kind)

    def says(self, severity: str, text: str) -> None:
        """Write to the log as TensorRT does. Severities' numbers are ILogger's, the same in all versions."""
        severities = enum.IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})
        self.logger.log(severities[severity], text)

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call, or the values set, by "Class.member"."""
        return [tuple(arguments) for called, *arguments in self.calls if called == name]


def scene(module: Module, *, batch: int = -1, dtype: str = "HALF", layer: str = "CONVOLUTION") -> None:
    """A graph of one layer, from images [batch, 3, 8, 8], and an engine that answers."""
    answers = module.answers
    images = Double(module, "ITensor", name="images", shape=(batch, 3, 8, 8))
    inside = Double(module, "ITensor", dtype=module.DataType[dtype])
    answers["INetworkDefinition.num_inputs"] = answers["INetworkDefinition.num_layers"] = 1
    answers["INetworkDefinition.get_input"] = images
    answers["INetworkDefinition.get_layer"] = Double(module, "ILayer", type=module.LayerType[layer], num_outputs=1)
    answers["ILayer.get_output"] = inside
    answers["Builder.build_serialized_network"] = b"engine"
    answers["ITimingCache.serialize"] = b"timings"
    answers["EngineInspector.get_engine_information"] = '{"Layers": []}'
    answers["ICudaEngine.device_memory_size"] = 1000
    answers["ICudaEngine.device_memory_size_v2"] = 2000
    answers["ICudaEngine.get_engine_stat"] = 3000
    module.calls.clear()


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, specs: Any, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A double of each version's module, under the name by which it is imported, with a scene of FP16."""
    return double_of(request.param, specs, monkeypatch)


@pytest.fixture
def trt_of(specs: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Module]:
    """A double of one version's module."""
    return lambda version: double_of(version, specs, monkeypatch)


def double_of(version: str, specs: Any, monkeypatch: pytest.MonkeyPatch) -> Module:
    module = Module(specs(version))
    scene(module)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def set_scene() -> Callable[..., None]:
    return scene


@pytest.fixture
def graph() -> Callable[..., bytes]:
    """Makes a small network as ONNX: a convolution, a mean over the map and, if wanted, a fully connected layer."""

    def made(batch: int | str = "batch", precision: str = "fp32", *, gemm: bool = False) -> bytes:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        random = np.random.default_rng(0)
        weights = {"kernel": (8, 3, 3, 3), "bias": (8,), "matrix": (8, 4)}
        nodes = [
            helper.make_node("Conv", ["images", "kernel", "bias"], ["map"], "conv", pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["map"], ["mean"], "pool"),
            helper.make_node("Flatten", ["mean"], ["features" if gemm else "logits"], "flatten"),
            *([helper.make_node("Gemm", ["features", "matrix"], ["logits"], "head")] if gemm else []),
        ]
        model = helper.make_model(
            helper.make_graph(
                nodes,
                "small",
                [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 8])],
                [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4 if gemm else 8])],
                [numpy_helper.from_array(random.normal(size=s).astype("f4"), name) for name, s in weights.items()],
            ),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=8,
        )
        if precision == "fp16":
            from onnxruntime.transformers.float16 import convert_float_to_float16

            model = convert_float_to_float16(model, keep_io_types=True)
        serialised: bytes = model.SerializeToString()
        return serialised

    return made
