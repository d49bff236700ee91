"""What a model takes of memory: by source, beside what ONNX Runtime itself lays out and takes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper, save

from vlm_contract.errors import VlmError
from vlm_profile.estimates.memory.arena import Arena, Event, live_bytes, planned_bytes
from vlm_profile.estimates.memory.buffers import buffer_events
from vlm_profile.estimates.memory.peak import ONNXRUNTIME, SOURCES, TENSORRT, input_bytes, memory_of
from vlm_profile.estimates.processors import BYTES
from vlm_profile.graph.steps import steps_of
from vlm_profile.onnxfile.check import model_of
from vlm_profile.process import worker_variables

KIB, MIB = 2**10, 2**20
MEASURED = """
import sys
import numpy
from vlm_profile.kernel import reset_peak, rss_bytes
from vlm_profile.runtimes import runtimes

kind = runtimes()["onnxruntime"]
kind.import_library()
feed = {"x": numpy.ones([int(size) for size in sys.argv[2:]], numpy.float32)}
assert reset_peak()
before = rss_bytes("VmRSS")
runtime = kind(__import__("pathlib").Path(sys.argv[1]), 1, {})
for _ in range(3):
    runtime.run(feed)
print(rss_bytes("VmHWM") - before)
"""

Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Writes nodes from `x` to `y` with weights of these shapes."""

    def written(nodes: list[NodeProto], shape: tuple[int, ...], **weights: tuple[int, ...]) -> Path:
        generator = numpy.random.default_rng(0)
        tensors = [
            numpy_helper.from_array(generator.standard_normal(dims, dtype=numpy.float32) / 9, name)
            for name, dims in weights.items()
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            tensors,
        )
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return written


def residual_network(blocks: int) -> list[NodeProto]:
    """Of 3 to 64 channels, then blocks of two convolutions with a shortcut."""
    nodes = [helper.make_node("Conv", ["x", "stem"], ["h0"], pads=[1, 1, 1, 1])]
    for i in range(blocks):
        nodes += [
            helper.make_node("Conv", [f"h{i}", "w"], [f"a{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"a{i}"], [f"r{i}"]),
            helper.make_node("Conv", [f"r{i}", "w"], [f"b{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"b{i}", f"h{i}"], [f"h{i + 1}"]),
        ]
    return [*nodes, helper.make_node("GlobalAveragePool", [f"h{blocks}"], ["y"])]


CONVOLUTIONS = {"stem": (64, 3, 3, 3), "w": (64, 64, 3, 3)}


def perceptrons(blocks: int) -> list[NodeProto]:
    """Blocks of two matrix products with a GELU between and a shortcut, as transformers have them."""
    nodes = []
    for i in range(blocks):
        before, after = "x" if i == 0 else f"h{i}", "y" if i == blocks - 1 else f"h{i + 1}"
        nodes += [
            helper.make_node("MatMul", [before, f"up{i}"], [f"m{i}"]),
            helper.make_node("Sigmoid", [f"m{i}"], [f"s{i}"]),
            helper.make_node("Mul", [f"m{i}", f"s{i}"], [f"g{i}"]),
            helper.make_node("MatMul", [f"g{i}", f"down{i}"], [f"d{i}"]),
            helper.make_node("Add", [f"d{i}", before], [after]),
        ]
    return nodes


def products(blocks: int, width: int = 256) -> dict[str, tuple[int, ...]]:
    """The weights of perceptrons, four times as wide inside."""
    shapes = {"up": (width, 4 * width), "down": (4 * width, width)}
    return {f"{name}{i}": shape for name, shape in shapes.items() for i in range(blocks)}


def test_sources_are_named_and_their_sum_is_the_estimate(saved: Saved) -> None:
    found = memory_of(saved(residual_network(1), (3, 32, 32), **CONVOLUTIONS), 2, "fp32")
    assert found.keys() == SOURCES.keys()
    assert all(size >= 0 for size in found.values())
    assert found["weights"] == 4 * (64 * 3 * 9 + 64 * 64 * 9)
    assert found["inputs_and_outputs"] == 4 * 2 * (3 * 32 * 32 + 64)


def test_what_is_assumed_of_the_runtime_can_be_replaced(saved: Saved) -> None:
    path = saved(residual_network(1), (3, 32, 32), **CONVOLUTIONS)
    assert memory_of(path, 1, "fp32", TENSORRT, context_bytes=7)["runtime_context"] == 7
    assert memory_of(path, 1, "fp32", TENSORRT)["runtime_context"] > memory_of(path, 1, "fp32")["runtime_context"]


@pytest.mark.parametrize("runtime", [ONNXRUNTIME, TENSORRT])
@pytest.mark.parametrize("precision", BYTES)
def test_a_larger_batch_never_takes_less(saved: Saved, runtime: str, precision: str) -> None:
    path = saved(residual_network(3), (3, 32, 32), **CONVOLUTIONS)
    sums = [sum(memory_of(path, batch, precision, runtime).values()) for batch in (1, 2, 3, 8, 32, 100)]
    assert all(smaller < larger for smaller, larger in pairwise(sums))


def test_an_engine_holds_half_in_half_precision(saved: Saved) -> None:
    path = saved(perceptrons(2), (49, 256), **products(2))
    whole, half = (memory_of(path, 8, precision, TENSORRT) for precision in ("fp32", "fp16"))
    assert [whole[name] / half[name] for name in ("weights", "activations")] == [2, 2]


def test_an_engine_keeps_what_lives_at_once(saved: Saved) -> None:
    """The hidden row of a kernel's activation, and the shortcut beside it; the input itself is not of its own."""
    found = memory_of(saved(perceptrons(3), (49, 256), **products(3)), 1, "fp32", TENSORRT)
    assert found["activations"] == 4 * 49 * (1024 + 256 + 256)


def test_images_alone_are_counted_for_who_makes_them_first(saved: Saved) -> None:
    assert input_bytes(saved(residual_network(1), (3, 32, 32), **CONVOLUTIONS), 5) == 4 * 5 * 3 * 32 * 32


@pytest.mark.parametrize(("precision", "runtime"), [("fp8", ONNXRUNTIME), ("fp32", "abacus")])
def test_nothing_is_said_of_what_is_not_known(saved: Saved, precision: str, runtime: str) -> None:
    path = saved(residual_network(1), (3, 32, 32), **CONVOLUTIONS)
    with pytest.raises(VlmError, match="no estimate of the memory"):
        memory_of(path, 1, precision, runtime)


def test_a_sum_is_written_onto_the_shortcut_and_an_activation_onto_its_input(saved: Saved) -> None:
    graph = steps_of(model_of(saved(residual_network(4), (3, 32, 32), **CONVOLUTIONS)))
    assert live_bytes(buffer_events(graph, 1, 4, 4)) == 2 * 4 * 64 * 32 * 32


def test_a_buffer_that_will_be_taken_again_is_kept_meanwhile(saved: Saved) -> None:
    """Alike blocks need the buffers of one: two of the hidden row, and three of the shortcut's."""
    lives = [
        live_bytes(buffer_events(steps_of(model_of(saved(perceptrons(n), (49, 256), **products(n)))), 1, 4, 4))
        for n in (3, 9)
    ]
    assert lives[0] == lives[1] == 4 * 49 * (2 * 1024 + 3 * 256)


def laid_out(*events: Event) -> Arena:
    arena = Arena()
    arena.replay(events)
    return arena


def test_pages_that_no_tensor_lies_in_are_not_taken() -> None:
    assert laid_out((0, 3 * KIB)).touched_bytes() == 3 * KIB


def test_a_tensor_takes_the_place_of_one_that_is_gone() -> None:
    assert laid_out((0, MIB), (0, 0), (1, MIB)).touched_bytes() == MIB


def test_a_tensor_that_fits_no_gap_opens_another_region() -> None:
    assert laid_out((0, MIB), (0, 0), (1, MIB + 1)).touched_bytes() == 2 * MIB + 1


def test_a_chunk_of_less_than_twice_the_size_is_taken_whole() -> None:
    """So that the third tensor finds no room in the first region, which has some left."""
    assert laid_out((0, 600 * KIB), (1, 400 * KIB)).touched_bytes() == 1000 * KIB
    assert laid_out((0, 400 * KIB), (1, 400 * KIB), (2, 200 * KIB)).touched_bytes() == 1000 * KIB


def test_neighbours_that_are_free_become_one() -> None:
    events = [(0, 256 * KIB), (1, 256 * KIB), (0, 0), (1, 0), (2, MIB)]
    assert laid_out(*events).touched_bytes() == MIB


def test_the_plan_of_resnet50_is_that_of_onnxruntime() -> None:
    """At batch 32 and 224 pixels: ONNX Runtime 1.32 logs in its second run that it extends by 231211008 bytes."""
    large, small = 102_760_448, 25_690_112
    events = [(0, large), (1, small), (0, 0), (2, small), (3, small), (2, 0), (4, large), (1, 0), (3, 0), (4, 0)]
    assert planned_bytes(events) == 231_211_008
    assert live_bytes(events) == large + 2 * small


@given(st.lists(st.tuples(st.integers(1, 9 * MIB), st.booleans()), min_size=1, max_size=40))
def test_no_layout_is_smaller_than_what_lives(sizes: list[tuple[int, bool]]) -> None:
    events: list[Event] = []
    alive: list[int] = []
    for number, (size, ends) in enumerate(sizes):
        events.append((number, size))
        alive.append(number)
        if ends:
            events.append((alive.pop(size % len(alive)), 0))
    live = live_bytes(events)
    assert live <= planned_bytes(events) <= sum(size for size, _ in sizes)
    assert live <= laid_out(*events).touched_bytes() <= sum(size for size, _ in sizes)


WIDE = {"stem": (512, 3, 3, 3), "w": (512, 512, 3, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(
    ("nodes", "shape", "weights"),
    [(residual_network(3), (3, 32, 32), WIDE), (perceptrons(3), (196, 1024), products(3, 1024))],
    ids=["convolutions", "products"],
)
def test_the_estimate_is_what_onnxruntime_takes(
    saved: Saved, nodes: list[NodeProto], shape: tuple[int, ...], weights: dict[str, tuple[int, ...]], batch: int
) -> None:
    path = saved(nodes, shape, **weights)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path), str(batch), *map(str, shape)],
        env={**os.environ, **worker_variables(threads=1)},
        capture_output=True,
        text=True,
        check=True,
    )
    predicted = sum(memory_of(path, batch, "fp32").values()) - input_bytes(path, batch)
    assert predicted == pytest.approx(json.loads(done.stdout), rel=0.25)
