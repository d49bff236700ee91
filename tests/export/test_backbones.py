"""The seven backbones at 32 pixels, from a checkpoint to a TensorRT-RTX engine; the quickest first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.workspace import Workspace
from vlm_export import Exported, Wanted, export_checkpoint

pytestmark = pytest.mark.slow

DEVIATION = 0.02  # with the tiny networks' 0.05, FP32 rounding is half of tf_efficientnetv2_s's logits
ANY_BATCH = Wanted().batches
CASES = [
    ("mobilenetv3_large_100", ANY_BATCH, ("fp32", "fp16", "int8")),
    ("mobilenetv3_large_100", (4,), ("fp32", "fp16")),
    ("deit_small_patch16_224", ANY_BATCH, ("fp32", "fp16")),
    ("deit_small_patch16_224", (4,), ("fp32", "fp16")),
    ("resnet50", ANY_BATCH, ("fp32", "fp16")),
    ("convnextv2_tiny", ANY_BATCH, ("fp32", "fp16")),
    ("swin_tiny_patch4_window7_224", ANY_BATCH, ("fp32", "fp16")),
    ("tf_efficientnetv2_s", ANY_BATCH, ("fp32", "fp16")),
    ("vit_base_patch16_224", ANY_BATCH, ("fp32", "fp16")),
]


@dataclass(frozen=True)
class Case:
    """One backbone's run and its artifacts, in the order of `precisions`."""

    run: Path
    workspace: Workspace
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    exported: tuple[Exported, ...]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'any' if case[1][1:] else case[1][0]}")
def case(
    request: pytest.FixtureRequest, run_maker: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """Traced once for all tests; its files, up to a gigabyte, go with it."""
    import shutil

    name, batches, precisions = request.param
    root = tmp_path_factory.mktemp("backbone")
    run, workspace = run_maker(root, name, f"{name}-digits-200-s0", DEVIATION), Workspace(root)
    exported = export_checkpoint(run, workspace, Wanted(precisions, batches=batches))
    yield Case(run, workspace, batches, precisions, exported)
    shutil.rmtree(root)


def manifest_in(case: Case, precision: str) -> ArtifactManifest:
    return case.exported[case.precisions.index(precision)].manifest


def test_a_backbone_passes_in_every_precision(case: Case) -> None:
    for manifest in (each.manifest for each in case.exported):
        assert manifest.refused == ()
        for parity in manifest.parity:
            assert 0 < parity.max_abs_difference < parity.tolerance
        batch = case.batches[0] if len(case.batches) == 1 else "batch"
        assert [spec.shape for spec in manifest.inputs] == [(batch, 3, 32, 32)]


def test_fp16_takes_half_the_room_of_fp32_and_int8_a_quarter(case: Case) -> None:
    fp32 = manifest_in(case, "fp32").files[0].bytes
    limits = {"fp32": 1.0, "fp16": 0.55, "int8": 0.35}
    for precision in case.precisions:
        assert manifest_in(case, precision).files[0].bytes <= limits[precision] * fp32


def test_tensorrt_builds_the_fp16_graph_for_sm75_and_sm86(case: Case) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'vlm-edge[trt-rtx]'")
    from vlm_export.checkpoint import checkpoint_from_path
    from vlm_export.engines import export_engines

    graph = case.exported[case.precisions.index("fp16")]
    wanted = Wanted(("fp16",), batches=case.batches, engines=True, flavor="rtx", compute_capabilities=("75", "86"))
    checkpoint = checkpoint_from_path(case.run, case.workspace)
    (engine,) = export_engines([graph], checkpoint, case.workspace, wanted, LiveLine(quiet=True))
    assert engine.manifest.compute_capability == "7.5, 8.6"
    assert not isinstance(engine.manifest.engine, Absent)
    weights = engine.manifest.engine.weights_bytes
    assert isinstance(weights, int)
    assert 1 < weights / engine.manifest.parameters < 3  # FP16 takes two bytes for each, FP32 four
