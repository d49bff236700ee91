"""The second stage: engines from proven ONNX files, where TensorRT is, where a board is, and where neither is."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import CheckFailed
from vlm_contract.files import sha256_of
from vlm_contract.manifest import ArtifactManifest, Engine, FileEntry, TensorSpec
from vlm_contract.workspace import Workspace
from vlm_export import Wanted, engines, export_checkpoint
from vlm_export.__main__ import main
from vlm_export.artifacts import Exported
from vlm_export.checkpoint import checkpoint_from_path
from vlm_export.engines import export_engines
from vlm_export.place import Place
from vlm_export.tensorrt.builder import Built
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import Made
from vlm_export.tensorrt.device import Identity
from vlm_targets import host

RUN = "tiny-digits-200-s0"
RTX = Wanted(engines=True, flavor="rtx", compute_capabilities=("86",))
HERE = Wanted(("fp16",), engines=True)
DOUBLE = Identity("TensorRT 10.3.0", "a test double", "7.5")


def graphs_in(root: Path, wanted: Wanted) -> tuple[Exported, ...]:
    """Those that the engines are made of, and no engine yet."""
    return export_checkpoint(Path(RUN), Workspace(root), replace(wanted, engines=False))


def engines_in(root: Path, wanted: Wanted, graphs: tuple[Exported, ...] | None = None) -> list[Exported]:
    workspace = Workspace(root)
    checkpoint = checkpoint_from_path(Path(RUN), workspace)
    line = LiveLine(quiet=True)
    return list(export_engines(graphs or graphs_in(root, wanted), checkpoint, workspace, wanted, line))


def artifacts_in(root: Path) -> list[str]:
    """The folders, hidden ones too."""
    return sorted(path.name.removeprefix(RUN) for path in (root / "artifacts").iterdir() if path.is_dir())


def paragraph(text: str) -> str:
    return " ".join(text.split())


# With TensorRT-RTX itself


@pytest.fixture(scope="session")
def built(rtx: None, done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with two engines for SM86; do not write into it."""
    root = shutil.copytree(done, tmp_path_factory.mktemp("built") / "workspace")
    engines_in(root, RTX)
    return root


@pytest.fixture(params=["fp32", "fp16"])
def engine(request: pytest.FixtureRequest, built: Path) -> tuple[Path, ArtifactManifest]:
    folder = built / "artifacts" / f"{RUN}.rtx-{request.param}-sm86"
    return folder, read_record(ArtifactManifest, folder / "manifest.json")


def test_the_manifest_says_what_an_engine_is_for(engine: tuple[Path, ArtifactManifest]) -> None:
    folder, manifest = engine
    assert (manifest.artifact, manifest.run, manifest.format) == (folder.name, RUN, "trt")
    assert str(manifest.runtime).startswith("TensorRT-RTX ")
    assert manifest.compute_capability == "8.6"
    assert (manifest.batch_min, manifest.batch_max) == (1, 32)
    assert manifest.versions["runtime"] == manifest.runtime
    assert manifest.refused == ()


def test_the_manifest_says_how_an_engine_was_built(engine: tuple[Path, ArtifactManifest]) -> None:
    record = engine[1].engine
    assert isinstance(record, Engine)
    assert (record.flavor, record.built_by, record.chosen) == ("rtx", "python", 0)
    assert record.device == Absent("built ahead of time, for SM86")
    assert record.build_s == (engine[1].build_s,)
    assert isinstance(record.weights_bytes, int) and record.weights_bytes > 100_000
    assert record.timing_cache == Absent("no timings are kept")


def test_what_is_not_known_of_an_engine_is_absent_with_the_reason(engine: tuple[Path, ArtifactManifest]) -> None:
    _, manifest = engine
    assert manifest.device_parity == Absent("the engine was not run: it is built ahead of time")
    assert manifest.accuracy == Absent("the engine was not run on the validation set")
    assert [text.partition(":")[0] for text in manifest.not_reproducible] == ["model.engine"]


def test_an_engine_carries_the_proof_of_its_graph(engine: tuple[Path, ArtifactManifest], built: Path) -> None:
    _, manifest = engine
    folder = built / "artifacts" / f"{RUN}.onnx-{manifest.precision}"
    graph = read_record(ArtifactManifest, folder / "manifest.json")
    assert manifest.parity == graph.parity != ()
    assert manifest.options["onnx_sha256"] == sha256_of(folder / "model.onnx")


def test_the_files_are_those_of_the_manifest(engine: tuple[Path, ArtifactManifest]) -> None:
    folder, manifest = engine
    assert manifest.files[0].name == "model.engine"
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *(file.name for file in manifest.files)}
    for file in manifest.files:
        assert (file.bytes, file.sha256) == ((folder / file.name).stat().st_size, sha256_of(folder / file.name))


def test_the_script_says_the_command(engine: tuple[Path, ArtifactManifest]) -> None:
    script = (engine[0] / "reproduce.sh").read_text()
    assert f"--fmt trt --flavor rtx --sm 86 --precision {engine[1].precision} --workspace" in script
    assert f"onnx=={version('onnx')}" in script
    assert f"#   runtime {engine[1].runtime}" in script
    subprocess.run(["sh", "-n", str(engine[0] / "reproduce.sh")], check=True)


def test_a_second_call_keeps_them(built: Path) -> None:
    files = sorted(built.rglob("model.engine"))
    before = [file.stat().st_mtime_ns for file in files]
    assert [each.kept for each in engines_in(built, RTX)] == [True, True]
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_graph_that_tensorrt_refuses_keeps_no_other_from_its_engine(rtx: None, exported: Path) -> None:
    wanted = replace(RTX, compute_capabilities=("75",))
    made: list[Exported] = []
    graphs, workspace = graphs_in(exported, wanted), Workspace(exported)
    checkpoint = checkpoint_from_path(Path(RUN), workspace)
    with pytest.raises(CheckFailed, match=rf"No engine was built of {RUN}\.onnx-fp32: .*FP32 GEMM is not supported"):
        made.extend(export_engines(graphs, checkpoint, workspace, wanted, LiveLine(quiet=True)))
    assert [each.manifest.artifact for each in made] == [f"{RUN}.rtx-fp16-sm75"]
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32", ".rtx-fp16-sm75"]


def test_the_command_builds_lists_and_keeps(rtx: None, exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--workspace", str(exported), "--precision", "fp16", "--fmt", "trt", "--flavor", "rtx", "--sm", "75,86"]
    for state in ("made", "kept"):
        assert main(words) == 0
        printed = capfd.readouterr()
        assert printed.err == ""
        rows = [line.split()[:2] for line in printed.out.splitlines()[2:]]
        assert rows == [[f"{RUN}.onnx-fp16", "kept"], [f"{RUN}.rtx-fp16-sm75-sm86", state]]


# Where a GPU is, which here is a test double


@dataclass
class DoublePlace:
    """A test double of a machine with a GPU: it builds nothing, and its outputs are ONNX Runtime's, then changed."""

    change: Callable[[Any], Any] = lambda outputs: outputs
    error: Exception | None = None
    orders: list[Order] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)

    def build(self, onnx: Path, taken: TensorSpec | None, order: Order, images: Any, tell: Any) -> Made:
        from vlm_export.session import OnnxSession

        self.orders.append(order)
        self.images.append(images)
        if self.error is not None:
            raise self.error
        none = Absent("a test double")
        record = Engine("tensorrt", "python", "a test double", 1, 2, none, none, (0.5,), none, none, 0)
        outputs = self.change(OnnxSession(str(onnx)).logits_of(images))
        return Made(Built(b"engine of a test double", '{"Layers": []}', record), DOUBLE, outputs)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> DoublePlace:
    double = DoublePlace()
    monkeypatch.setattr(engines, "place_for", lambda *_: nullcontext(Place(DOUBLE, double.build)))
    return double


def test_an_engine_is_compared_with_the_checkpoint_on_its_device(exported: Path, place: DoublePlace) -> None:
    (made,) = engines_in(exported, HERE)
    assert isinstance(made.manifest.device_parity, tuple)
    (parity,) = made.manifest.device_parity
    assert (parity.origin, parity.samples, parity.passed) == ("validation images", 20, True)
    assert parity.max_abs_difference == pytest.approx(made.manifest.parity[0].max_abs_difference)
    assert (made.folder.name, made.manifest.compute_capability) == (f"{RUN}.trt-fp16", "7.5")
    assert [file.name for file in made.manifest.files] == ["model.engine", "reproduce.sh", "layers.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda outputs: outputs[:, ::-1], "over the tolerance"),
        (lambda outputs: outputs + np.float32(0.5), "over the tolerance"),
        (lambda outputs: outputs * np.float32("nan"), "NaN or infinity"),
        (lambda outputs: outputs[:, :-1], "outputs have shape"),
    ],
)
def test_an_engine_that_answers_wrongly_is_refused_and_put_aside(
    change: Any, reason: str, exported: Path, place: DoublePlace
) -> None:
    place.change = change
    (made,) = engines_in(exported, HERE)
    assert reason in made.manifest.refused[0]
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32", ".trt-fp16.refused"]
    assert read_record(ArtifactManifest, made.folder / "manifest.json") == made.manifest


def test_the_command_exits_1_for_a_refused_engine(
    exported: Path, place: DoublePlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.change = lambda outputs: -outputs
    assert main(["--workspace", str(exported), "--precision", "fp16", "--fmt", "trt", "--json"]) == 1
    printed = capsys.readouterr()
    assert f"{RUN}.trt-fp16 was refused: on validation images" in paragraph(printed.err)
    graph, refused = json.loads(printed.out.splitlines()[-1])["artifacts"]
    assert (graph["refused"], refused["artifact"]) == ([], f"{RUN}.trt-fp16")
    assert refused["max_abs_difference"] > graph["max_abs_difference"]


@pytest.mark.parametrize(("batches", "given"), [((1, 8, 32), 20), ((1, 2, 4), 4), ((24, 32), 24)])
def test_it_is_run_on_as_many_images_as_it_takes(
    batches: tuple[int, ...], given: int, exported: Path, place: DoublePlace
) -> None:
    (made,) = engines_in(exported, replace(HERE, batches=batches))
    assert [len(images) for images in place.images] == [given]
    assert isinstance(made.manifest.device_parity, tuple)
    assert [(parity.samples, parity.passed) for parity in made.manifest.device_parity] == [(min(given, 20), True)]
    assert (made.manifest.batch_min, made.manifest.batch_max) == (batches[0], batches[-1])


def test_the_order_says_what_was_asked_for(exported: Path, place: DoublePlace) -> None:
    engines_in(exported, replace(HERE, builds=3, workspace_mib=64, batches=(1, 4, 16)))
    (order,) = place.orders
    assert (order.precision, order.batches, order.builds) == ("fp16", (1, 4, 16), 3)
    assert order.workspace_limit_bytes == 64 * 2**20
    assert order.timing_cache == exported / "timings" / "tensorrt-10.3.0-a-test-double-sm7.5"


@pytest.mark.parametrize("change", [{}, {"workspace_mib": 64}, {"batches": (1, 4, 8)}, {"builds": 2}])
def test_an_option_that_changes_makes_an_engine_anew(
    change: dict[str, Any], exported: Path, place: DoublePlace
) -> None:
    engines_in(exported, HERE)
    (made,) = engines_in(exported, replace(HERE, **change))
    assert made.kept == (not change)
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32", ".trt-fp16"]


def test_a_graph_that_changes_makes_an_engine_anew(exported: Path, place: DoublePlace) -> None:
    import onnx

    (graph,) = graphs_in(exported, HERE)
    engines_in(exported, HERE, (graph,))
    file = graph.folder / "model.onnx"
    model = onnx.load(file)
    model.graph.name = "another"
    onnx.save(model, file)
    entry = FileEntry(file.name, file.stat().st_size, sha256_of(file))
    changed = replace(graph, manifest=replace(graph.manifest, files=(entry, *graph.manifest.files[1:])))
    (made,) = engines_in(exported, HERE, (changed,))
    assert not made.kept
    assert made.manifest.options["onnx_sha256"] == entry.sha256


def test_a_graph_that_changed_since_it_was_proven_becomes_no_engine(exported: Path, place: DoublePlace) -> None:
    (graph,) = graphs_in(exported, HERE)
    (graph.folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(CheckFailed, match=r"model\.onnx is not the file that its manifest describes"):
        engines_in(exported, HERE, (graph,))
    assert place.orders == []


def test_an_engine_that_is_damaged_is_made_anew(exported: Path, place: DoublePlace) -> None:
    (made,) = engines_in(exported, HERE)
    (made.folder / "model.engine").write_bytes(b"half")
    assert [each.kept for each in engines_in(exported, HERE)] == [False]


def test_a_build_that_fails_leaves_the_engine_that_stood_there(exported: Path, place: DoublePlace) -> None:
    (made,) = engines_in(exported, HERE)
    place.error = CheckFailed("no kernel for node 7", hint="--precision fp32")
    with pytest.raises(CheckFailed, match=rf"{RUN}\.onnx-fp16: no kernel for node 7") as caught:
        engines_in(exported, replace(HERE, workspace_mib=1))
    assert caught.value.hint == "--precision fp32"
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32", ".trt-fp16"]
    assert read_record(ArtifactManifest, made.folder / "manifest.json") == made.manifest


def refuse(root: Path, precision: str) -> None:
    """Turn an ONNX artifact into one that a check refused."""
    folder = root / "artifacts" / f"{RUN}.onnx-{precision}"
    manifest = replace(read_record(ArtifactManifest, folder / "manifest.json"), refused=("logits differ",))
    write_record(manifest, folder / "manifest.json")
    folder.rename(f"{folder}.refused")


def test_a_refused_graph_becomes_no_engine(exported: Path, place: DoublePlace) -> None:
    refuse(exported, "fp16")
    made = engines_in(exported, replace(HERE, precisions=("fp16", "fp32")))
    assert [each.manifest.artifact for each in made] == [f"{RUN}.trt-fp32"]


# Where there is no place to build


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that has firmware call this machine something."""
    root = tmp_path / "root"

    def call(name: str) -> None:
        (root / "proc/device-tree").mkdir(parents=True)
        (root / "proc/device-tree/model").write_text(f"{name}\0")
        monkeypatch.setattr(engines, "is_here", partial(host.is_here, root=root))
        monkeypatch.setattr(engines, "names_of", partial(host.names_of, root))

    return call


@pytest.mark.parametrize("target", ["jetson", "jetson-orin-nano"])
def test_a_target_that_is_not_here_gets_a_script_beside_each_graph(
    target: str, exported: Path, called: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    called("NVIDIA Jetson AGX Orin Developer Kit")
    for _ in range(2):
        assert main(["--workspace", str(exported), "--fmt", "trt", "--target", target]) == 1
        printed = capsys.readouterr()
        assert [line.split()[:2] for line in printed.out.splitlines()[2:]] == [
            [f"{RUN}.onnx-fp32", "kept"],
            [f"{RUN}.onnx-fp16", "kept"],
        ]
        assert (
            "it must be built on the Jetson Orin Nano, this machine is NVIDIA Jetson AGX Orin Developer Kit, "
            "and --host names no other"
        ) in paragraph(printed.err)
        assert "Try: --host USER@BOARD" in paragraph(printed.err)
    for precision in ("fp32", "fp16"):
        script = exported / "artifacts" / f"{RUN}.onnx-{precision}" / "build-jetson-orin-nano.sh"
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert "--onnx=model.onnx" in script.read_text()


def test_an_engine_for_a_target_is_built_on_it(exported: Path, called: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a test double of the child process that builds."""
    from vlm_export.tensorrt.api import TensorRT

    double = DoublePlace()
    monkeypatch.setattr(TensorRT, "installed", lambda flavor: flavor)
    monkeypatch.setattr(engines, "identity", lambda api: DOUBLE)
    monkeypatch.setattr(engines, "engine_from_child", lambda onnx, *rest: double.build(onnx, None, *rest))
    called("NVIDIA Jetson Orin Nano Developer Kit")
    (made,) = engines_in(exported, replace(HERE, target="jetson"))
    assert made.manifest.artifact == f"{RUN}.trt-fp16-jetson-orin-nano"
    assert isinstance(made.manifest.device_parity, tuple)


def test_where_every_graph_was_refused_no_script_is_promised(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workspace", str(exported), "--precision", "fp16", "--target", "jetson"]
    assert main(words) == 0
    refuse(exported, "fp16")
    assert main([*words, "--fmt", "trt"]) == 1
    said = paragraph(capsys.readouterr().err)
    assert "was refused: logits differ" in said
    assert "No engine was built" not in said


def test_a_target_without_a_gpu_is_said_to_have_none(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--workspace", str(exported), "--fmt", "trt", "--target", "rpi4"]) == 2
    assert "No engine can be built for the Raspberry Pi 4" in paragraph(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [("tensorrt", [], "vlm-edge[trt]"), ("tensorrt_rtx", ["--flavor", "rtx"], "vlm-edge[trt-rtx]")],
)
def test_without_tensorrt_the_extra_is_named(
    module: str, words: list[str], extra: str, exported: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["--workspace", str(exported), "--fmt", "trt", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out.count(" kept ") == 2
    assert f"{module} is not installed" in paragraph(printed.err)
    assert f"pip install '{extra}'" in printed.err
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32"]


# On a board, whose trtexec is an emulator, which computes an engine's outputs by ONNX Runtime

ON_BOARD = ["--fmt", "trt", "--target", "jetson", "--host", "board"]


def manifest_on_board(root: Path, precision: str = "fp16", suffix: str = "") -> ArtifactManifest:
    folder = root / "artifacts" / f"{RUN}.trt-{precision}-jetson-orin-nano{suffix}"
    return read_record(ArtifactManifest, folder / "manifest.json")


def test_an_engine_comes_back_from_a_board_into_the_workspace(
    exported: Path, double: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    there = double("10.3.0")
    assert main(["--workspace", str(exported), *ON_BOARD, "--precision", "fp16"]) == 0
    assert f"{RUN}.trt-fp16-jetson-orin-nano" in capsys.readouterr().out
    manifest = manifest_on_board(exported)
    assert (manifest.runtime, manifest.compute_capability) == ("TensorRT 10.3.0", "8.7")
    assert isinstance(manifest.engine, Engine)
    assert (manifest.engine.built_by, manifest.engine.build_s) == ("trtexec", (1.25,))
    assert manifest.engine.device == "emulator"
    sent = sha256_of(exported / "artifacts" / f"{RUN}.onnx-fp16" / "model.onnx")
    engine = exported / "artifacts" / manifest.artifact / "model.engine"
    assert engine.read_bytes().startswith(f"engine of an emulator, from {sent}\n".encode())
    assert there.temporary_folders() == []
    assert len(list((exported / "timings").iterdir())) == 1


@pytest.mark.parametrize(("precision", "version"), [("fp32", "8.2.1"), ("fp16", "11.4.1")])
def test_an_engine_is_compared_with_the_checkpoint_on_its_board(
    precision: str, version: str, exported: Path, double: Any
) -> None:
    double(version)
    assert main(["--workspace", str(exported), *ON_BOARD, "--precision", precision, "--batch", "1,4,8", "--quiet"]) == 0
    manifest = manifest_on_board(exported, precision)
    assert isinstance(manifest.device_parity, tuple)
    (parity,) = manifest.device_parity
    assert parity.origin == "validation images (outputs printed to 6 digits)"
    assert (parity.samples, parity.passed, parity.top1_agreement_percent) == (20, True, 100)
    exact = manifest.parity[0]
    assert 0 < parity.tolerance - exact.tolerance <= 5e-4
    assert parity.max_abs_difference == pytest.approx(exact.max_abs_difference, abs=parity.tolerance - exact.tolerance)
    graph = read_record(ArtifactManifest, exported / "artifacts" / f"{RUN}.onnx-{precision}" / "manifest.json")
    assert manifest.accuracy == graph.accuracy
    assert manifest.refused == ()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"change": "outputs[::-1]"}, "over the tolerance"),
        ({"change": "outputs * 1.2"}, "over the tolerance"),
        ({"change": "np.where(outputs > outputs.max() - 1e-3, np.nan, outputs)"}, "NaN or infinity"),
        ({"change": "outputs[:, :-1]"}, "outputs have shape"),
        ({"deaf_to": ["--loadInputs"]}, "over the tolerance"),
    ],
)
def test_an_engine_that_answers_wrongly_on_its_board_is_refused_and_put_aside(
    settings: dict[str, Any], reason: str, exported: Path, double: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    there = double(**settings)
    assert main(["--workspace", str(exported), *ON_BOARD, "--precision", "fp16"]) == 1
    assert "was refused: on validation images" in paragraph(capsys.readouterr().err)
    assert reason in manifest_on_board(exported, suffix=".refused").refused[0]
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32", ".trt-fp16-jetson-orin-nano.refused"]
    assert there.temporary_folders() == []


def test_a_board_that_gives_no_outputs_leaves_no_engine(
    exported: Path, double: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    there = double(exported="Segmentation fault")
    assert main(["--workspace", str(exported), *ON_BOARD, "--precision", "fp16"]) == 1
    said = paragraph(capsys.readouterr().err)
    assert f"No engine was built of {RUN}.onnx-fp16: What trtexec wrote as the engine's outputs is damaged" in said
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32"]
    assert there.temporary_folders() == []


def test_a_board_that_builds_nothing_exits_1_with_its_words(
    exported: Path, double: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    double(behaviour="echo '[01/01/2025-00:00:00] [E] [TRT] no kernel for node 7' >&2; exit 1")
    assert main(["--workspace", str(exported), *ON_BOARD, "--precision", "fp16"]) == 1
    printed = capsys.readouterr()
    assert f"{RUN}.onnx-fp16 kept" in paragraph(printed.out)
    assert "no kernel for node 7" in paragraph(printed.err)
    assert artifacts_in(exported) == [".onnx-fp16", ".onnx-fp32"]
