"""What is asked of a checkpoint, and what an artifact's answers lead to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vlm_contract.codec import Absent
from vlm_contract.manifest import Accuracy
from vlm_contract.workspace import Workspace
from vlm_export.checkpoint import Checkpoint, checkpoint_from_path
from vlm_export.proof import (
    IMAGES,
    LEAST_IMAGES,
    Oracle,
    images_in_fp64,
    oracle_of,
    prove,
    turned_by_more_than_rounding,
)

RUN = "tiny-digits-200-s0"


@pytest.fixture(scope="session")
def checkpoint(finished: Path) -> Checkpoint:
    return checkpoint_from_path(Path(RUN), Workspace(finished))


@pytest.fixture(scope="session")
def oracle(checkpoint: Checkpoint) -> Oracle:
    return oracle_of(checkpoint.module(), checkpoint, ["fp32", "fp16"])


def test_real_images_are_asked_about_first_and_noise_last(oracle: Oracle) -> None:
    assert [(trial.origin, trial.batch) for trial in oracle.trials] == [
        ("validation images", 32),
        ("validation images, one by one", 1),
        ("random input", 32),
    ]
    assert oracle.scanned == (oracle.trials[0].pixels, "validation images")


def test_the_whole_validation_set_is_seen(oracle: Oracle, checkpoint: Checkpoint) -> None:
    assert oracle.seen is not None and checkpoint.data is not None
    assert len(oracle.seen.labels) == checkpoint.data.validation_samples
    first = oracle.trials[0].truth
    assert oracle.seen.logits[: len(first)] == pytest.approx(first, abs=1e-4)


def test_rounding_to_fp16_costs_more_than_to_fp32(oracle: Oracle) -> None:
    for trial in oracle.trials:
        assert 0 < 100 * trial.yardsticks["fp32"] < trial.yardsticks["fp16"]


@pytest.mark.parametrize(("macs", "images"), [(1e6, IMAGES), (4e8, 20), (17e9, LEAST_IMAGES)])
def test_large_networks_are_asked_about_fewer_images(checkpoint: Checkpoint, macs: float, images: int) -> None:
    assert images_in_fp64(replace(checkpoint.backbone, macs=int(macs))) == images


def test_a_network_of_unknown_cost_is_asked_about_the_fewest(checkpoint: Checkpoint) -> None:
    assert images_in_fp64(replace(checkpoint.backbone, macs=Absent("unknown"))) == LEAST_IMAGES


def test_a_checkpoint_without_data_is_asked_about_noise_only(checkpoint: Checkpoint, done: Path) -> None:
    blind = oracle_of(checkpoint.module(), replace(checkpoint, data=None), ["fp32"])
    assert [trial.origin for trial in blind.trials] == ["random input"]
    findings = prove(str(done / "artifacts" / f"{RUN}.onnx-fp32" / "model.onnx"), "fp32", blind)
    assert findings.refused == ()
    assert isinstance(findings.accuracy, Absent) and "--data" in findings.accuracy.reason


def test_the_same_outputs_lose_nothing(oracle: Oracle, done: Path) -> None:
    findings = prove(str(done / "artifacts" / f"{RUN}.onnx-fp32" / "model.onnx"), "fp32", oracle)
    assert isinstance(findings.accuracy, Accuracy)
    assert (findings.accuracy.agreement_percent, findings.accuracy.lost, findings.accuracy.gained) == (100, 0, 0)


def test_classes_that_rounding_does_not_explain_refuse_the_artifact(oracle: Oracle, done: Path) -> None:
    assert oracle.seen is not None
    shuffled = replace(oracle, seen=replace(oracle.seen, logits=np.roll(oracle.seen.logits, 1, axis=1)))
    findings = prove(str(done / "artifacts" / f"{RUN}.onnx-fp32" / "model.onnx"), "fp32", shuffled)
    assert all(parity.passed for parity in findings.parity)
    assert any("rounding does not explain it" in reason for reason in findings.refused)


def turned(images: int, of: int = 500) -> npt.NDArray[np.float32]:
    """Logits of two classes: the first so many images name the second class, the others the first."""
    second = (np.arange(of) < images).astype(np.float32)
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize(
    ("artifact", "rounding", "refused"),
    [
        (18, 18, False),
        (0, 18, False),
        (24, 18, False),  # 6 more of 500: p 0.031
        (26, 18, True),  # 8 more: p 0.0078
        (77, 18, True),
    ],
)
def test_int8_may_turn_as_many_classes_as_rounding_alone(artifact: int, rounding: int, refused: bool) -> None:
    reasons = list(turned_by_more_than_rounding(turned(artifact), turned(rounding), turned(0)))
    assert bool(reasons) is refused
    if refused:
        assert reasons[0].startswith(f"{artifact} of 500 images")


def test_only_where_int8_is_judged_is_its_rounding_asked_of_every_image(checkpoint: Checkpoint, oracle: Oracle) -> None:
    judged = oracle_of(checkpoint.module(), checkpoint, ["fp32", "int8"])
    assert oracle.seen is not None and judged.seen is not None
    assert oracle.seen.rounded is None
    assert judged.seen.rounded is not None
    assert judged.seen.rounded.shape == judged.seen.logits.shape
    assert not np.array_equal(judged.seen.rounded, judged.seen.logits)


def test_a_file_that_cannot_be_opened_is_refused_with_the_reason(oracle: Oracle) -> None:
    findings = prove(b"no graph", "fp32", oracle)
    assert "ONNX Runtime cannot open the model" in findings.refused[0]
    assert isinstance(findings.accuracy, Absent)


def test_a_graph_of_a_fixed_batch_is_filled_up(oracle: Oracle, fresh: Path) -> None:
    from vlm_export import export_checkpoint
    from vlm_export.wanted import Wanted

    wanted = Wanted(("fp32", "fp16"), batches=(3,))
    for exported in export_checkpoint(Path(RUN), Workspace(fresh), wanted):
        assert exported.manifest.refused == ()
        assert exported.manifest.artifact.endswith("-b3")
        assert (exported.manifest.batch_min, exported.manifest.batch_max) == (3, 3)
        assert exported.manifest.inputs[0].shape == (3, 3, 32, 32)
