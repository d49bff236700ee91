"""The best grounds win, are named, and come from no device that tells nothing of the target."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, save

from vlm_contract.codec import Absent, decode, encode
from vlm_contract.errors import VlmError
from vlm_contract.measurement import ArtifactUsed, Estimate, Latency, Measurement, Repetition, Throughput, Verdict
from vlm_contract.workspace import Workspace
from vlm_profile.estimates.anchors import Anchor
from vlm_profile.estimates.fitted import stored_fit
from vlm_profile.estimates.here import hardware_of
from vlm_profile.estimates.kinship import why_not_kin
from vlm_profile.estimates.ladder import Ladder, ladder_of
from vlm_profile.estimates.processors import has_precision
from vlm_profile.estimates.published import hardware_of_device
from vlm_profile.estimates.record import estimate_of, estimate_on, models_of
from vlm_targets.catalogue import Hardware, known_targets, target_named

Made = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two convolutions, an activation and a pool, at 64 px."""
    shapes = {"w1": (64, 3, 3, 3), "w2": (128, 64, 3, 3)}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, [0.0] * math.prod(shape)) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 128, 1, 1])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def artifact() -> ArtifactUsed:
    return ArtifactUsed("small", "m.onnx", "a" * 64, 1000, "onnx", "fp32")


@pytest.fixture
def record(measurement: Made, repetition: Made) -> Callable[..., Measurement]:
    """A valid measurement of another model on a Raspberry Pi 4, of 10 ms unless said otherwise."""

    def made(ms: float = 10.0, **changes: Any) -> Measurement:
        repetitions: list[Repetition] = [repetition(ms), repetition(ms)]
        plain: Measurement = measurement(*repetitions)
        setup = replace(plain.setup, threads=4)  # all of its cores
        made_here: Measurement = measurement(*repetitions, **{"target": "rpi4", "setup": setup, **changes})
        return made_here

    return made


def with_records(name: str, model: Path, *records: Measurement, **options: Any) -> Ladder:
    named = {Path(f"record-{i}.json"): each for i, each in enumerate(records)}
    return ladder_of(target_named(name), records=named, models=lambda _: model, **options)


def test_a_model_that_was_measured_there_is_answered_by_its_record(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    measured = record(artifact=artifact)
    ladder = with_records("rpi4", model, measured, record())
    assert estimate_on(ladder, model, artifact, 1) is measured
    assert estimate_on(ladder, model, artifact, 8).evidence == "estimated"


def test_an_own_measurement_of_another_model_wins_over_published_rows(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    without = with_records("rpi4", model).stand(model, "fp32", 1)
    slow = record(without.seconds * 1e3 * 3)
    found = with_records("rpi4", model, slow).stand(model, "fp32", 1)
    assert without.rung == "published"
    assert found.rung == "calibrated"
    assert found.anchors == ("record-0",)
    assert 1.5 * without.seconds < found.seconds < 3.2 * without.seconds


def test_an_anchor_of_the_very_same_cost_is_believed(model: Path, record: Callable[..., Measurement]) -> None:
    plain = with_records("rpi5", model).stand(model, "fp32", 1).seconds * 1e3
    anchor = record(plain * 2, target="rpi5")
    found = with_records("rpi5", model, anchor).stand(model, "fp32", 1)
    assert found.seconds * 1e3 == pytest.approx(2 * plain, rel=0.15)


@pytest.mark.parametrize(
    "changes",
    [
        {"verdicts": (Verdict("contended", "invalid", "seen", "limit", "again"),)},
        {"evidence": "reported"},
        {"evidence": "estimated"},
    ],
)
def test_what_was_not_measured_or_is_not_valid_is_no_anchor(
    model: Path, record: Callable[..., Measurement], changes: dict[str, Any]
) -> None:
    assert with_records("rpi5", model, record(target="rpi5", **changes)).grounds("fp32")[0] == "specifications"


def test_what_an_emulator_or_a_double_said_is_no_anchor(model: Path, record: Callable[..., Measurement]) -> None:
    good = record(target="rpi5")
    emulator = replace(good, device=replace(good.device, name="an emulator of a Pi"))
    double = replace(good, runtime=replace(good.runtime, name="selftest:sleep"))
    paced = replace(good, setup=replace(good.setup, fps=30.0))
    assert with_records("rpi5", model, good).grounds("fp32")[0] == "calibrated"
    assert with_records("rpi5", model, emulator, double, paced).grounds("fp32")[0] == "specifications"


def test_a_measurement_of_another_precision_is_no_anchor(model: Path, record: Callable[..., Measurement]) -> None:
    ladder = with_records("rpi5", model, record(target="rpi5"))
    assert ladder.grounds("fp32")[0] == "calibrated"
    assert ladder.grounds("int8")[0] == "specifications"


def by(record: Measurement, runtime: str, **changes: Any) -> Measurement:
    """The record as if another runtime had run the model."""
    return replace(record, runtime=replace(record.runtime, name=runtime), **changes)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch", "onnxruntime-cuda"])
@pytest.mark.parametrize("target", ["gtx1660ti", "jetson-orin-nano"])
def test_what_ran_on_another_processor_of_the_machine_says_nothing_of_its_gpu(
    target: str, runtime: str, model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    mode = replace(record().device, power_mode="15W")
    on_cpu = by(record(target=target, artifact=artifact, device=mode), runtime)
    ladder = with_records(target, model, on_cpu)
    assert estimate_on(ladder, model, artifact, 1).evidence == "estimated"
    assert ladder.grounds("fp32")[0] == "specifications"


def test_runtimes_of_a_cpu_do_not_stand_for_each_other(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    ladder = with_records(
        "rpi5", model, by(record(target="rpi5", artifact=artifact), "openvino"), runtime="onnxruntime"
    )
    assert estimate_on(ladder, model, artifact, 1).evidence == "estimated"
    assert ladder.grounds("fp32")[0] == "specifications"
    same = with_records("rpi5", model, by(record(target="rpi5", artifact=artifact), "openvino"), runtime="openvino")
    assert estimate_on(same, model, artifact, 1).evidence == "measured"


def test_programs_that_run_one_engine_are_anchors_of_each_other_and_no_answer(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    ladder = with_records("gtx1660ti", model, by(record(target="gtx1660ti", artifact=artifact), "onnxruntime-tensorrt"))
    assert estimate_on(ladder, model, artifact, 1).evidence == "estimated"
    assert ladder.grounds("fp32")[0] == "calibrated"


def test_a_record_of_other_threads_options_or_clocks_is_no_answer(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    plain = record(artifact=artifact)
    fewer = replace(plain, setup=replace(plain.setup, threads=2))
    chosen = replace(plain, setup=replace(plain.setup, options={"spinning": False}))
    locked = replace(plain, settings={**plain.settings, "clocks_locked": True})
    for other in (fewer, chosen, locked):
        assert estimate_on(with_records("rpi4", model, other), model, artifact, 1).evidence == "estimated"
    assert estimate_on(with_records("rpi4", model, fewer, threads=2), model, artifact, 1) is fewer
    assert with_records("rpi4", model, fewer).grounds("fp32")[0] == "published"


@pytest.mark.parametrize(
    "changes",
    [{"settings": {"soak_s": 600.0}}, {"settings": {"input_shapes": "x:1x3x32x32"}}, {"options": {"cpus": "0,1,2,3"}}],
)
def test_a_sustained_run_other_sizes_and_chosen_cpus_are_no_evidence(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement], changes: dict[str, dict[str, Any]]
) -> None:
    plain = record(artifact=artifact, target="rpi5")
    settings = {**plain.settings, **changes.get("settings", {})}
    other = replace(plain, settings=settings, setup=replace(plain.setup, options=changes.get("options", {})))
    ladder = with_records("rpi5", model, other)
    assert estimate_on(ladder, model, artifact, 1).evidence == "estimated"
    assert ladder.grounds("fp32")[0] == "specifications"


def in_mode(record: Measurement, mode: str | Absent) -> Measurement:
    return by(replace(record, device=replace(record.device, power_mode=mode)), "trtexec")


def test_a_record_holds_for_the_power_mode_that_it_names(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    """Without a mode that is asked for, for the one that the target starts in."""
    plain = record(target="jetson-agx-orin", artifact=artifact)
    target = target_named("jetson-agx-orin")
    default = next(mode.name for mode in target.power_modes if mode.default)
    other = next(mode.name for mode in target.power_modes if not mode.default)
    ladder = with_records(target.name, model, in_mode(plain, other))
    assert estimate_on(ladder, model, artifact, 1).evidence == "estimated"
    assert ladder.grounds("fp32")[0] != "calibrated"
    for ladder in (
        with_records(target.name, model, in_mode(plain, other), power_mode=other),
        with_records(target.name, model, in_mode(plain, default)),
    ):
        assert estimate_on(ladder, model, artifact, 1).evidence == "measured"


@pytest.mark.parametrize("mode", ["a mode of its owner", Absent("it names none")])
def test_peaks_of_an_unknown_power_mode_are_not_taken_for_those_of_another(
    mode: str | Absent, model: Path, record: Callable[..., Measurement]
) -> None:
    kin = in_mode(record(target="jetson-orin-nx"), mode)
    assert with_records("jetson-orin-nano", model, kin).grounds("fp32")[0] == "specifications"
    known = target_named("jetson-orin-nx").power_modes[0].name
    assert with_records("jetson-orin-nano", model, in_mode(kin, known)).grounds("fp32")[0] == "family"


def test_a_file_made_elsewhere_is_an_anchor_by_what_its_weights_show(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement], tmp_path: Path
) -> None:
    foreign = replace(artifact, name="m.onnx", precision="as is")
    records = {Path("r.json"): record(target="rpi5", artifact=foreign)}
    models = models_of(Workspace(tmp_path), {"a" * 64: model})
    ladder = ladder_of(target_named("rpi5"), records=records, models=models)
    assert ladder.grounds("fp32")[0] == "calibrated"


def test_one_model_at_several_batches_counts_once(model: Path, record: Callable[..., Measurement]) -> None:
    batches = [record(target="rpi5", setup=replace(record().setup, batch=batch)) for batch in (1, 2, 4, 8, 16)]
    found = with_records("rpi5", model, *batches).stand(model, "fp32", 1)
    assert len(found.anchors) == 5
    assert found.half_width == stored_fit().half_widths["calibrated 1"]


def test_a_record_without_a_latency_is_no_anchor(model: Path, record: Callable[..., Measurement]) -> None:
    plain = record(target="rpi5")
    assert isinstance(plain.latency, Latency)
    still = replace(plain, latency=replace(plain.latency, latency_ms_p50=0.0))
    assert with_records("rpi5", model, still).grounds("fp32")[0] == "specifications"


def test_no_interval_reaches_below_what_the_peaks_allow(
    model: Path, artifact: ArtifactUsed, record: Callable[..., Measurement]
) -> None:
    impossible = [record(1e-6, target="rpi5", setup=replace(record().setup, batch=n)) for n in range(1, 9)]
    ladder = with_records("rpi5", model, *impossible)
    found, least = estimate_on(ladder, model, artifact, 32), ladder.stand(model, "fp32", 32).least_seconds * 1e3
    assert isinstance(found.latency, Latency) and isinstance(found.estimate, Estimate)
    assert found.latency.latency_ms_p50_low == pytest.approx(least)
    assert found.estimate.factor_low == pytest.approx(found.latency.latency_ms_p50 / least)
    assert found.estimate.factor_low < found.estimate.factor_high


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-tx2"])
def test_int8_is_refused_where_a_gpu_has_none(target: str, model: Path, artifact: ArtifactUsed) -> None:
    with pytest.raises(VlmError, match="computes no INT8"):
        estimate_of(model, replace(artifact, precision="int8"), 1, target_named(target))
    assert estimate_of(model, replace(artifact, precision="fp16"), 1, target_named(target)).evidence == "estimated"


def test_fp16_that_is_computed_in_fp32_is_said(model: Path, artifact: ArtifactUsed) -> None:
    for name, is_said in (("rpi4", True), ("jetson-nano", False)):
        found = estimate_of(model, replace(artifact, precision="fp16"), 1, target_named(name)).estimate
        assert isinstance(found, Estimate)
        assert ("is computed in FP32" in found.assumed.get("computed in", "")) == is_said


def test_a_batch_that_the_file_does_not_take_is_refused(model: Path, artifact: ArtifactUsed) -> None:
    from onnx import load

    graph = load(model)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    save(graph, model)
    with pytest.raises(VlmError, match="takes batch 2 only: no figures for batch 8"):
        estimate_of(model, artifact, 8, target_named("rpi4"))
    assert estimate_of(model, artifact, 2, target_named("rpi4")).evidence == "estimated"


def test_what_does_not_fit_into_the_memory_is_no_figure(model: Path, artifact: ArtifactUsed) -> None:
    with pytest.raises(VlmError, match=r"does not fit on .*Nano.*: it takes some .* GiB, and there are 4"):
        estimate_of(model, artifact, 4096, target_named("jetson-nano"))
    assert estimate_of(model, artifact, 4096, target_named("jetson-agx-orin")).evidence == "estimated"


ANCHORS = st.tuples(st.floats(-2, 2), st.floats(0.3, 1), st.floats(0.3, 1))  # what `anchor` takes


def anchor(number: int, residual: float, convolutions: float, own: float) -> Anchor:
    """Of a model whose time is convolutions and moves; `own` is the same share at its own batch."""
    shares = [(share, 0.0, 0.0, 0.0, 0.0, 1 - share, 0.0) for share in (own, convolutions)]
    return Anchor(f"anchor {number}", residual, shares[0], shares[1])


@given(
    st.lists(ANCHORS, min_size=1, max_size=4),
    st.floats(1, 8),
    st.sampled_from(("gpu_mhz", "bandwidth_gb_s")),
    st.integers(1, 32),
)
@example([(-2.0, 0.4, 0.4), (2.0, 0.8, 0.8)], 2.0, "bandwidth_gb_s", 32)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_whatever_anchors_say_more_clock_and_more_bandwidth_never_slow_a_model(
    model: Path, anchors: list[tuple[float, float, float]], factor: float, name: str, batch: int
) -> None:
    """A model that a faster mode made more like another, slow one would get its correction."""
    target, found = target_named("jetson-orin-nano"), []
    grounds = {"fp32": ("calibrated", tuple(anchor(i, *each) for i, each in enumerate(anchors)))}
    for times in (1.0, factor):
        modes = tuple(replace(mode, **{name: getattr(mode, name) * times}) for mode in target.power_modes)
        ladder = replace(ladder_of(replace(target, power_modes=modes)), _grounds=grounds)
        found.append(ladder.stand(model, "fp32", batch).seconds)
    assert found[1] <= found[0] * (1 + 1e-9)


def test_a_runtime_that_no_estimate_covers_is_refused_and_others_are_named() -> None:
    with pytest.raises(VlmError, match=r"No estimate covers 'onnxruntime-cuda' on .*: it covers .*tensorrt") as caught:
        ladder_of(target_named("gtx1660ti"), "onnxruntime-cuda")
    assert "--runtime" in caught.value.hint
    with pytest.raises(VlmError, match="No estimate covers 'trtexec'"):
        ladder_of(target_named("rpi4"), "trtexec")


@pytest.mark.parametrize(("target", "threads"), [("rpi4", 5), ("gtx1660ti", 4)])
def test_threads_that_the_target_does_not_have_are_refused(target: str, threads: int) -> None:
    with pytest.raises(VlmError, match=f"--threads {threads}"):
        ladder_of(target_named(target), threads=threads)


def test_a_device_of_the_family_tells_something_of_the_target() -> None:
    rung, anchors = ladder_of(target_named("jetson-xavier-nx")).grounds("fp16")
    assert rung == "family"
    assert anchors
    assert all("Jetson AGX Xavier" in anchor.name and anchor.elsewhere for anchor in anchors)


def test_a_cards_times_are_never_carried_to_a_jetson() -> None:
    jetsons = [target for target in known_targets() if target.name.startswith("jetson")]
    assert len(jetsons) > 5
    for target in jetsons:
        assert isinstance(target.hardware, Hardware)
        for precision in filter(partial(has_precision, target.hardware), ("fp32", "fp16", "int8")):
            _, anchors = ladder_of(target).grounds(precision)
            assert not any("RTX" in anchor.name for anchor in anchors)
    orin = target_named("jetson-orin-nano").hardware
    assert isinstance(orin, Hardware)
    card = hardware_of_device("RTX 3090")
    assert card.architecture == orin.architecture  # so that only the memory tells them apart
    assert "card" in why_not_kin(card, orin, "fp16")


def test_the_fp16_of_a_card_with_tensor_cores_is_never_carried_to_one_without() -> None:
    gtx = target_named("gtx1660ti").hardware
    assert isinstance(gtx, Hardware)
    t4 = replace(gtx, chip="TU104", fp16_tflops=65.1, fp16_unit="tensor cores, dense", int8_unit="tensor cores, dense")
    assert why_not_kin(t4, gtx, "fp32") == ""
    assert "tensor" in why_not_kin(t4, gtx, "fp16")
    assert "tensor" in why_not_kin(t4, gtx, "int8")


def test_measurements_of_a_card_in_the_workspace_are_no_anchors_of_a_board(
    model: Path, record: Callable[..., Measurement]
) -> None:
    on_card = record(target="gtx1660ti", runtime=replace(record().runtime, name="tensorrt"))
    assert with_records("gtx1660ti", model, on_card).grounds("fp32")[0] == "calibrated"
    assert with_records("jetson-orin-nano", model, on_card).grounds("fp32")[0] == "specifications"


def test_resnet50_on_the_gtx_1660_ti_is_where_two_published_cards_put_it() -> None:
    from vlm_profile.estimates.published import operations_of_row, usable_rows
    from vlm_profile.estimates.roofline import kernels_of, seconds_by_group

    row = next(row for row in usable_rows() if row.network == "resnet50" and row.image_size == 224)
    ladder = ladder_of(target_named("gtx1660ti"))
    for batch in (16, 32, 64, 128):
        kernels = kernels_of(operations_of_row(row), batch, ladder.processor("fp32"), ladder.family)
        assert 210 < batch / sum(seconds_by_group(kernels, ladder.fit.constants)) < 350


@pytest.mark.parametrize("name", [target.name for target in known_targets()])
def test_every_target_has_an_answer_that_says_what_it_is(name: str, model: Path, artifact: ArtifactUsed) -> None:
    found = estimate_of(model, artifact, 8, target_named(name))
    assert found.evidence == "estimated"
    assert found.target == name
    assert isinstance(found.latency, Latency)
    assert isinstance(found.throughput, Throughput)
    assert isinstance(found.estimate, Estimate)
    low, high = found.latency.latency_ms_p50_low, found.latency.latency_ms_p50_high
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low * found.estimate.factor_low == pytest.approx(found.latency.latency_ms_p50)
    assert found.latency.latency_ms_p50 * found.estimate.factor_high == pytest.approx(high)
    assert found.throughput.images_per_s == pytest.approx(8e3 / found.latency.latency_ms_p50)
    assert isinstance(found.latency.latency_ms_p99, Absent)
    assert found.estimate.improved_by.startswith("vlm-profile")
    assert sum(found.memory.by_source.values()) > 0
    assert decode(Measurement, encode(found)) == found


def test_a_larger_batch_takes_no_less_time_whatever_the_anchors(
    model: Path, record: Callable[..., Measurement]
) -> None:
    ladder = with_records("rpi4", model, record(40.0), record(3.0, setup=replace(record().setup, batch=8)))
    times = [ladder.stand(model, "fp32", batch).seconds for batch in (1, 2, 4, 8, 16, 32, 64)]
    assert times == sorted(times)


def test_an_anchor_of_impossible_speed_pushes_nothing_below_the_roofline(
    model: Path, record: Callable[..., Measurement]
) -> None:
    ladder = with_records("rpi4", model, *[record(1e-6, setup=replace(record().setup, batch=n)) for n in range(1, 9)])
    macs = 64 * 64 * (64 * 27 + 128 * 64 * 9)
    assert ladder.stand(model, "fp32", 32).seconds >= 2 * macs * 32 / ladder.processor("fp32").peak


def test_more_power_is_never_slower(model: Path) -> None:
    target = target_named("jetson-agx-orin")
    times = {
        mode.name: ladder_of(target, power_mode=mode.name).stand(model, "fp16", 8).seconds
        for mode in target.power_modes
    }
    assert times["MAXN"] == min(times.values())
    assert times["MODE_15W"] == max(times.values())


def test_an_unknown_power_mode_a_batch_of_none_and_an_unknown_precision_are_refused(
    model: Path, artifact: ArtifactUsed
) -> None:
    target = target_named("jetson-orin-nano")
    with pytest.raises(VlmError, match="no power mode"):
        estimate_of(model, artifact, 1, target, power_mode="99W")
    with pytest.raises(VlmError, match="one image at least"):
        estimate_of(model, artifact, 0, target)
    with pytest.raises(VlmError, match="no precision"):
        estimate_of(model, replace(artifact, precision="fp4"), 1, target)


def test_a_file_that_states_no_precision_is_taken_for_what_its_weights_are(model: Path, artifact: ArtifactUsed) -> None:
    from onnx import load

    target = target_named("jetson-orin-nano")
    plain = estimate_of(model, replace(artifact, precision="as is"), 1, target)
    assert plain.latency == estimate_of(model, artifact, 1, target).latency
    graph = load(model)
    for weight in graph.graph.initializer:
        weight.data_type = TensorProto.FLOAT16
        weight.ClearField("float_data")
        weight.raw_data = bytes(2 * math.prod(weight.dims))
    save(graph, model)
    halved = estimate_of(model, replace(artifact, precision="as is"), 1, target)
    assert isinstance(halved.estimate, Estimate)
    assert halved.estimate.assumed["precision"] == "fp16"


def test_a_cpu_is_known_by_its_flags(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    text = "processor\t: 0\nmodel name\t: A CPU\ncpu MHz\t: 3000.0\nflags\t: fma avx avx2 {}\n\n"
    found = {}
    for flag in ("avx512f avx512_vnni", "ht"):
        (tmp_path / "proc/cpuinfo").write_text(text.format(flag))
        (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\n")
        found[flag] = hardware_of(tmp_path, affinity=1)
    assert found["ht"].fp32_tflops == pytest.approx(32 * 3000e-6)
    assert found["avx512f avx512_vnni"].fp32_tflops == pytest.approx(64 * 3000e-6)
    assert isinstance(found["ht"].int8_tops, Absent)
    assert found["avx512f avx512_vnni"].int8_tops == pytest.approx(4 * 64 * 3000e-6)


def test_two_hardware_threads_of_a_core_are_one_core(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    cpu = "processor\t: {}\nmodel name\t: A CPU\ncpu MHz\t: 3000.0\nflags\t: avx2\n\n"
    (tmp_path / "proc/cpuinfo").write_text("".join(cpu.format(number) for number in range(4)))
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\n")
    for number in range(4):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "core_cpus_list").write_text(f"{number % 2},{number % 2 + 2}\n")
    found = hardware_of(tmp_path, affinity=4)
    assert found.cores == 2
    assert found.fp32_tflops == pytest.approx(2 * 32 * 3000e-6)


def test_a_bandwidth_that_no_file_says_is_said_to_be_assumed(model: Path, artifact: ArtifactUsed) -> None:
    found = estimate_of(model, artifact, 1, target_named("host")).estimate
    assert isinstance(found, Estimate)
    assert "assumed" in found.assumed["bandwidth"]
    known = estimate_of(model, artifact, 1, target_named("jetson-orin-nano")).estimate
    assert isinstance(known, Estimate)
    assert "assumed" not in known.assumed["bandwidth"]
    assert "https://" in known.assumed["peaks are from"]
