"""The compatibility layer, driven with doubles of TensorRT 8.6.1, 10.3.0 and 11.4.0 made from their bindings."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.api import TensorRT
from vlm_export.tensorrt.builder import Built, Wanted, engine_from_onnx

FP16 = Wanted("tensorrt", "fp16", (1, 8, 32))
FAILS = """
import tensorrt_bindings
from vlm_export.tensorrt.api import TensorRT
from vlm_contract.errors import CheckFailed
api = TensorRT("tensorrt", tensorrt_bindings)
for start in (api.builder, lambda: api.loaded(b"engine")):
    try:
        start()
    except CheckFailed as error:
        print(error)
"""


def built(wanted: Wanted = FP16, told: list[str] | None = None) -> Built:
    return engine_from_onnx(b"graph", wanted, (told if told is not None else []).append)


def network_flags(trt: Any) -> set[str]:
    (bits,) = trt.called("Builder.create_network")[-1]
    return {flag.name for flag in trt.NetworkDefinitionCreationFlag if bits & 1 << int(flag)}


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0"])
def test_a_null_from_the_real_bindings_is_an_error_with_what_their_logger_was_told(
    with_bindings: Any, version: str
) -> None:
    lines = with_bindings(version, ["-c", FAILS]).splitlines()
    assert [line.rpartition(" could not ")[2] for line in lines] == [
        "start a builder: this stub has no GPU",
        "start its runtime: this stub has no GPU",
    ]


def test_an_engine_is_built_and_described_on_every_version(trt: Any) -> None:
    made = built()
    assert (made.engine, made.layers) == (b"engine", '{"Layers": []}')
    assert trt.called("IBuilderConfig.profiling_verbosity") == [(trt.ProfilingVerbosity.DETAILED,)]
    assert trt.called("Runtime.engine_host_code_allowed") == []
    assert made.record.flavor == "tensorrt"
    assert made.record.latency_ms == made.record.output_spread == Absent("built once")
    assert len(made.record.build_s) == 1


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_a_graph_in_fp16_is_strongly_typed_where_that_exists(trt_of: Any, version: str) -> None:
    trt = trt_of(version)
    built()
    assert "STRONGLY_TYPED" in network_flags(trt)
    assert trt.called("IBuilderConfig.set_flag") == []


def test_before_strong_typing_fp16_is_the_builders_flag(trt_of: Any) -> None:
    trt = trt_of("8.6.1")
    built()
    assert network_flags(trt) == {"EXPLICIT_BATCH"}
    assert trt.called("IBuilderConfig.set_flag") == [(trt.BuilderFlag.FP16,)]


def test_a_graph_in_fp32_gets_the_flag_where_there_is_one(trt_of: Any, set_scene: Any) -> None:
    trt = trt_of("10.3.0")
    set_scene(trt, dtype="FLOAT")
    built()
    assert network_flags(trt) == {"EXPLICIT_BATCH"}
    assert trt.called("IBuilderConfig.set_flag") == [(trt.BuilderFlag.FP16,)]


def test_from_11_on_a_graph_in_fp32_is_refused_as_fp16(trt_of: Any, set_scene: Any) -> None:
    set_scene(trt_of("11.4.0"), dtype="FLOAT")
    with pytest.raises(CheckFailed, match="takes FP16 from the graph, and this graph is not FP16"):
        built()


def test_int8_is_the_graphs_quantising_layers_and_a_flag_before_strong_typing(trt: Any, set_scene: Any) -> None:
    set_scene(trt, dtype="FLOAT", layer="QUANTIZE")
    built(Wanted("tensorrt", "int8", (1, 8, 32)))
    flags = [flag.name for (flag,) in trt.called("IBuilderConfig.set_flag")]
    assert flags == (["INT8"] if trt.__version__ == "8.6.1" else [])


def test_a_graph_without_scales_is_refused_as_int8_on_every_version(trt: Any) -> None:
    with pytest.raises(CheckFailed, match="takes INT8 from the graph, and this graph is not INT8"):
        built(Wanted("tensorrt", "int8", (1, 8, 32)))


def test_fp32_switches_tf32_off(trt: Any, set_scene: Any) -> None:
    set_scene(trt, dtype="FLOAT")
    built(Wanted("tensorrt", "fp32", (1, 8, 32)))
    assert trt.called("IBuilderConfig.clear_flag") == [(trt.BuilderFlag.TF32,)]
    assert trt.called("IBuilderConfig.set_flag") == []


def test_the_workspace_limit_is_set_and_recorded(trt: Any) -> None:
    made = built(Wanted("tensorrt", "fp16", (1, 8, 32), workspace_limit_bytes=1 << 28))
    assert trt.called("IBuilderConfig.set_memory_pool_limit") == [(trt.MemoryPoolType.WORKSPACE, 1 << 28)]
    assert made.record.workspace_limit_bytes == 1 << 28


def test_a_dynamic_batch_gets_a_profile_and_a_fixed_one_none(trt: Any, set_scene: Any) -> None:
    built()
    assert trt.called("IOptimizationProfile.set_shape") == [("images", (1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))]
    assert len(trt.called("IBuilderConfig.add_optimization_profile")) == 1
    set_scene(trt, batch=4)
    built()
    assert trt.called("Builder.create_optimization_profile") == []


def test_batches_that_the_profile_refuses_are_named(trt: Any) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("inconsistent")

    trt.answers["IOptimizationProfile.set_shape"] = refuse
    with pytest.raises(CheckFailed, match=r"could not take the batches \(1, 8, 32\): inconsistent"):
        built()


def test_a_dynamic_image_size_is_refused(trt: Any) -> None:
    trt.answers["INetworkDefinition.get_input"].shape = (-1, 3, -1, -1)
    with pytest.raises(VlmError, match="takes a dynamic first dimension, and no other"):
        built()


def test_a_failed_build_is_an_error_with_the_last_words_of_the_log(trt: Any) -> None:
    def fail(*_: Any) -> None:
        trt.says("ERROR", "first")
        trt.says("WARNING", "unheard")
        for text in ("no tactic\n for conv", "no tactic\n for conv", "giving up"):
            trt.says("INTERNAL_ERROR", text)

    trt.answers["Builder.build_serialized_network"] = fail
    with pytest.raises(CheckFailed, match=f"TensorRT {trt.__version__} could not build the engine: ") as error:
        built()
    assert str(error.value).endswith(": no tactic for conv; giving up")


def test_an_earlier_builds_errors_are_not_shown_again(trt: Any) -> None:
    trt.answers["Builder.build_serialized_network"] = lambda *_: trt.says("ERROR", "earlier")
    with pytest.raises(CheckFailed, match="earlier"):
        built()
    trt.answers["Builder.build_serialized_network"] = None
    with pytest.raises(CheckFailed, match="it gave no reason"):
        built()


def test_the_parsers_words_name_the_node(trt: Any) -> None:
    trt.answers |= {
        "OnnxParser.parse": False,
        "OnnxParser.num_errors": 1,
        "ParserError.desc": "no importer for it",
        "ParserError.node": 7,
        "ParserError.node_name": "blocks.0.act",
        "ParserError.node_operator": "Gelu",
    }
    node = "node 7" if trt.__version__ == "8.6.1" else "Gelu 'blocks.0.act'"
    with pytest.raises(CheckFailed, match=f"could not read the graph: {node}: no importer for it"):
        built()


def test_every_object_gets_the_one_logger_that_tensorrt_keeps(trt: Any) -> None:
    api = TensorRT("tensorrt", trt)
    api.builder()
    first = trt.logger
    TensorRT("tensorrt", trt).loaded(b"engine")
    assert trt.logger is first


def test_activations_are_asked_by_the_name_that_the_version_has(trt: Any) -> None:
    expected = {"8.6.1": 1000, "10.3.0": 2000, "11.4.0.106": 2000}
    assert built().record.activation_bytes == expected[trt.__version__]


def test_weights_are_asked_where_that_can_be_and_read_in_the_log_elsewhere(trt: Any) -> None:
    def build(*_: Any) -> bytes:
        trt.says("INFO", "Total Weights Memory: 1234 bytes")
        return b"engine"

    trt.answers["Builder.build_serialized_network"] = build
    assert built().record.weights_bytes == (3000 if trt.__version__.startswith("11") else 1234)


def test_without_a_gpu_the_log_gives_the_memory_and_the_layers_are_absent(trt: Any) -> None:
    def build(*_: Any) -> bytes:
        trt.says("INFO", "Total Activation Memory: 512 bytes")
        return b"engine"

    trt.answers |= {"Builder.build_serialized_network": build, "Runtime.deserialize_cuda_engine": None}
    made = built()
    assert isinstance(made.layers, Absent)
    assert made.record.activation_bytes == 512
    assert isinstance(made.record.weights_bytes, Absent)


def test_progress_is_told_from_10_on(trt: Any) -> None:
    def build(*_: Any) -> bytes:
        ((monitor,),) = trt.called("IBuilderConfig.progress_monitor")
        monitor.phase_start("Building engine", None, 6)
        monitor.phase_start("Timing tactics", "Building engine", 40)
        assert monitor.step_complete("Timing tactics", 11)
        monitor.phase_finish("Timing tactics")
        return b"engine"

    told: list[str] = []
    if trt.__version__ != "8.6.1":
        trt.answers["Builder.build_serialized_network"] = build
    built(told=told)
    texts = [
        "Building engine 0/6",
        "Building engine 0/6, Timing tactics 0/40",
        "Building engine 0/6, Timing tactics 12/40",
    ]
    assert told == ([] if trt.__version__ == "8.6.1" else texts)


def test_the_timing_cache_is_read_used_and_written(trt: Any, tmp_path: Path) -> None:
    file = tmp_path / "device.timings"
    wanted = Wanted("tensorrt", "fp16", (1, 8, 32), timing_cache=file)
    assert built(wanted).record.timing_cache == str(file)
    assert file.read_bytes() == b"timings"
    assert trt.called("IBuilderConfig.create_timing_cache") == [(b"",)]
    trt.calls.clear()
    built(wanted)
    assert trt.called("IBuilderConfig.create_timing_cache") == [(b"timings",)]
    assert [ignore for _, ignore in trt.called("IBuilderConfig.set_timing_cache")] == [False]


@pytest.mark.parametrize("member", ["create_timing_cache", "set_timing_cache"])
def test_a_timing_cache_of_another_device_or_version_is_told_and_not_used(
    trt: Any, tmp_path: Path, member: str
) -> None:
    file = tmp_path / "device.timings"
    file.write_bytes(b"foreign")
    tries = iter([None if member == "create_timing_cache" else False])
    fitting = trt.default("ITimingCache")
    trt.answers[f"IBuilderConfig.{member}"] = lambda *_: next(tries, fitting)
    told: list[str] = []
    built(Wanted("tensorrt", "fp16", (1, 8, 32), timing_cache=file), told)
    assert f"{file} is of another device or version and is not used" in told
    assert trt.called("IBuilderConfig.create_timing_cache") == [(b"foreign",), (b"",)]
    assert file.read_bytes() == b"timings"


def test_a_timing_cache_that_cannot_be_read_is_not_fatal(trt: Any, tmp_path: Path) -> None:
    file = tmp_path / "device.timings"
    file.touch()
    told: list[str] = []
    built(Wanted("tensorrt", "fp16", (1, 8, 32), timing_cache=file), told)
    assert told == [f"{file} is empty. It is not used."]
    assert file.read_bytes() == b"timings"


def test_of_several_builds_the_fastest_is_kept_with_its_timings(trt: Any, tmp_path: Path) -> None:
    file = tmp_path / "device.timings"
    file.write_bytes(b"old")
    engines, timings = iter([b"one", b"two", b"three"]), iter([b"t1", b"t2", b"t3"])
    trt.answers["Builder.build_serialized_network"] = lambda *_: next(engines)
    trt.answers["ITimingCache.serialize"] = lambda: next(timings)
    measured = {b"one": (3.0, [1.0, 2.0]), b"two": (1.5, [1.0, 2.25]), b"three": (2.0, [0.5, 2.0])}
    wanted = Wanted("tensorrt", "fp16", (1, 8, 32), timing_cache=file, builds=3)

    def measure(engine: bytes) -> tuple[float, Any]:
        latency, outputs = measured[engine]
        return latency, np.array([outputs], np.float32)

    made = engine_from_onnx(b"graph", wanted, [].append, measure)
    assert (made.engine, made.record.chosen, file.read_bytes()) == (b"two", 1, b"t2")
    assert made.record.latency_ms == (3.0, 1.5, 2.0)
    assert made.record.output_spread == 0.5
    assert trt.called("IBuilderConfig.create_timing_cache") == [(b"",)] * 3  # old timings would make all three the same


def test_several_builds_need_a_gpu(trt: Any) -> None:
    with pytest.raises(VlmError, match="compared on the GPU") as error:
        built(Wanted("tensorrt", "fp16", (1, 8, 32), builds=2))
    assert error.value.hint == "--builds 1"
    assert trt.calls == []


def test_no_version_builds_for_a_gpu_that_is_not_here(trt: Any) -> None:
    with pytest.raises(VlmError, match="builds for the GPU that it runs on") as error:
        built(Wanted("tensorrt", "fp16", (1, 8, 32), compute_capabilities=("75",)))
    assert error.value.hint == "--flavor rtx"


def test_a_library_that_is_missing_behind_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reason = "libnvinfer.so.10: cannot open shared object file"
    (tmp_path / "tensorrt.py").write_text(f"raise ImportError({reason!r}, name='tensorrt_bindings.tensorrt')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(VlmError, match=f"TensorRT cannot be imported: {reason}"):
        built()


@pytest.mark.parametrize(("flavor", "extra"), [("tensorrt", "trt"), ("rtx", "trt-rtx")])
def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, flavor: Any, extra: str) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VlmError) as error:
        built(Wanted(flavor, "fp16", (1, 8, 32)))
    assert error.value.hint == f"pip install 'vlm-edge[{extra}]'"
