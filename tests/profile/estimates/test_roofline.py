"""What holds of every estimate, whatever the model and the device: bounds, and the direction of each cause."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_profile.estimates.families import FAMILIES, Family, family_of
from vlm_profile.estimates.fitted import stored_fit
from vlm_profile.estimates.processors import CLASSES, UNITS, Processor
from vlm_profile.estimates.roofline import GROUPS, kernels_of, least_seconds, seconds_by_group
from vlm_profile.graph.costs import KINDS, Operation
from vlm_profile.runtimes import runtimes
from vlm_targets.catalogue import Hardware, target_named

COUNTS = st.integers(min_value=0, max_value=10**8)
OPERATIONS = st.builds(
    Operation,
    kind=st.sampled_from(KINDS),
    macs=st.integers(min_value=0, max_value=10**11),
    reads=COUNTS,
    writes=st.integers(min_value=1, max_value=10**8),
    weights=COUNTS,
)
MODELS = st.lists(OPERATIONS, min_size=1, max_size=6).map(Counter)
LANE_OF = {"tensor fp16": "tensor", "tensor int8": "tensor", "cuda": "cuda", "half2": "cuda", "dp4a": "cuda"}


@st.composite
def processors(draw: st.DrawFn) -> Processor:
    unit = draw(st.sampled_from(UNITS))
    lane = LANE_OF.get(unit, "cpu")
    peak = draw(st.floats(min_value=1e10, max_value=1e15))
    return Processor(
        unit=unit,
        lane=lane,
        core=draw(st.sampled_from(CLASSES[1:])) if lane == "cpu" else "gpu",
        peak=peak,
        vector_peak=peak / draw(st.sampled_from((1, 2, 8))),
        bandwidth=draw(st.floats(min_value=1e9, max_value=2e12)),
        element_bytes=draw(st.sampled_from((1, 2, 4))),
        sms=draw(st.integers(min_value=1, max_value=170)),
        clock_hz=draw(st.floats(min_value=3e8, max_value=5e9)),
        threads=draw(st.integers(min_value=1, max_value=64)) if lane == "cpu" else 1,
    )


def hardware(name: str) -> Hardware:
    found = target_named(name).hardware
    assert isinstance(found, Hardware)
    return found


def seconds(model: Counter[Operation], batch: int, processor: Processor, family: Family) -> float:
    return sum(seconds_by_group(kernels_of(model, batch, processor, family), stored_fit().constants))


@given(MODELS, processors(), st.sampled_from(FAMILIES), st.integers(1, 512))
def test_no_estimate_is_faster_than_the_roofline(
    model: Counter[Operation], processor: Processor, family: Family, batch: int
) -> None:
    kernels = kernels_of(model, batch, processor, family)
    arithmetic = sum(2 * each.macs * number for each, number in model.items()) * batch / processor.peak
    weights = sum(each.weights * number for each, number in model.items()) * processor.element_bytes
    least = max(arithmetic, weights / processor.bandwidth)
    assert least_seconds(kernels) == pytest.approx(least)
    assert seconds(model, batch, processor, family) >= least * (1 - 1e-9)


@given(MODELS, processors(), st.sampled_from(FAMILIES), st.integers(1, 256), st.integers(1, 256))
def test_a_larger_batch_takes_no_less_time(
    model: Counter[Operation], processor: Processor, family: Family, batch: int, more: int
) -> None:
    assert seconds(model, batch + more, processor, family) >= seconds(model, batch, processor, family) * (1 - 1e-9)


@given(
    MODELS,
    processors(),
    st.sampled_from(FAMILIES),
    st.integers(1, 64),
    st.sampled_from(("peak", "vector_peak", "bandwidth", "clock_hz")),
    st.floats(1, 16),
)
def test_more_of_anything_slows_no_model(
    model: Counter[Operation], processor: Processor, family: Family, batch: int, name: str, factor: float
) -> None:
    better = replace(processor, **{name: getattr(processor, name) * factor})
    assert seconds(model, batch, better, family) <= seconds(model, batch, processor, family) * (1 + 1e-9)


@given(MODELS, processors(), st.sampled_from(FAMILIES), st.integers(1, 64))
def test_every_kernel_counts(model: Counter[Operation], processor: Processor, family: Family, batch: int) -> None:
    twice = Counter({each: 2 * number for each, number in model.items()})
    assert seconds(twice, batch, processor, family) == pytest.approx(2 * seconds(model, batch, processor, family))


def test_launches_are_a_group_of_their_own() -> None:
    model = Counter([Operation("conv", 10**6, 10**4, 10**4, 10**3)])
    processor = Processor("cuda", "cuda", "gpu", 1e12, 1e12, 1e11, 4, 8, 1e9, 1)
    family = family_of("tensorrt", hardware("jetson-orin-nano"))
    assert family
    found = dict(
        zip(GROUPS, seconds_by_group(kernels_of(model, 1, processor, family), stored_fit().constants), strict=True)
    )
    assert found["launches"] == pytest.approx(stored_fit().constants["launch board"] * 1e-6)
    assert found["convolutions"] > 0
    assert found["attention"] == 0


@pytest.mark.parametrize(
    ("runtime", "target", "name"),
    [
        ("tensorrt", "jetson-orin-nano", "TensorRT on a board"),
        ("trtexec", "jetson-nano", "TensorRT on a board"),
        ("tensorrt", "gtx1660ti", "TensorRT on a card"),
        ("tensorrt in a CUDA graph", "gtx1660ti", "TensorRT in a CUDA graph"),
        ("onnxruntime-tensorrt", "gtx1660ti", "TensorRT on a card"),
        ("openvino", "rpi5", "an engine on an Arm CPU"),
        ("onnxruntime", "rpi4", "an engine on an Arm CPU"),
        ("torch-compile", "rpi5", "torch.compile on a CPU"),
        ("torch-compile-cuda", "gtx1660ti", "torch.compile on a GPU"),
        ("torch-cuda", "gtx1660ti", "torch eager, channels first"),
        ("PyTorch 2.4.0 cu124 eager nhwc", "gtx1660ti", "torch eager, channels last"),
    ],
)
def test_a_runtime_is_known_by_its_name(runtime: str, target: str, name: str) -> None:
    found = family_of(runtime, hardware(target))
    assert found and found.name == name


@pytest.mark.parametrize(("target", "device"), [("gtx1660ti", "cuda"), ("jetson-orin-nano", "cuda"), ("rpi4", "cpu")])
def test_no_runtime_is_of_a_family_of_what_it_does_not_run_on(target: str, device: str) -> None:
    covered = {kind.device for name, kind in runtimes().items() if family_of(name, hardware(target))}
    assert covered == {device}


@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "abacus", "selftest:sleep", "ncnn Vulkan GPU"])
def test_a_runtime_that_nothing_is_known_of_is_of_no_family(runtime: str) -> None:
    assert family_of(runtime, hardware("gtx1660ti")) is None
