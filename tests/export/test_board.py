"""An engine is built on a board by its own trtexec; the one on this board is an emulator, and says so."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import TensorSpec
from vlm_export import board as module
from vlm_export.board import build_script, place_on_board
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.trtexec import Names, build_command, device_name, version_in_banner
from vlm_export.wanted import Wanted

ORDER = Order("tensorrt", "fp16", (1, 8, 32), workspace_limit_bytes=256 * 2**20)
IMAGES = TensorSpec("images", ("batch", 3, 32, 32), "float32")

Boards = Callable[..., Any]


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    """A graph with a dynamic batch."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["logits"])],
        "flatten",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 48])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


TAKEN = TensorSpec("images", ("batch", 3, 4, 4), "float32")  # by the graph of `onnx`
GIVEN = np.random.RandomState(0).standard_normal((5, 3, 4, 4)).astype(np.float32)


def build(onnx: Path, order: Order = ORDER, target: str = "host", images: Any = GIVEN) -> Any:
    told: list[str] = []
    with place_on_board("board", target) as place:
        return place, place.build(onnx, TAKEN, order, images, told.append), told


# A build on a board


def test_the_engine_comes_back_with_the_boards_identity(double: Boards, onnx: Path) -> None:
    there = double()
    place, made, told = build(onnx)
    assert made.built.engine.startswith(b"engine of an emulator")
    assert (place.identity.runtime, place.identity.compute_capability) == ("TensorRT 10.3.0", "8.7")
    assert str(place.identity.device).startswith("emulator")
    assert made.built.layers == '{"Layers": []}\n'
    record = made.built.record
    assert (record.built_by, record.build_s, record.weights_bytes, record.activation_bytes) == (
        "trtexec",
        (1.25,),
        512,
        4096,
    )
    assert [text.split()[0] for text in told] == ["sending", "board", "fetching", "board"]
    assert np.abs(made.outputs - GIVEN.reshape(5, 48)).max() <= 5e-6
    assert made.digits == 6
    assert there.temporary_folders() == []


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_version_is_given_flags_that_it_has(precision: Any, trtexec_flags: dict[str, set[str]]) -> None:
    names = Names("model.onnx", "model.engine", "layers.json", "timings")
    for version, flags in trtexec_flags.items():
        words = build_command("trtexec", names, replace(ORDER, precision=precision), IMAGES, version)
        assert {word.partition("=")[0] for word in words[1:]} <= flags


@pytest.mark.parametrize("version", ["8.2.1", "11.4.1"])
def test_the_oldest_and_the_newest_version_build(double: Boards, onnx: Path, version: str) -> None:
    double(version)
    place, made, _ = build(onnx)
    assert place.identity.runtime == f"TensorRT {version}"
    assert isinstance(made.built.layers, Absent) == (version == "8.2.1")


def test_the_timing_cache_travels_both_ways(double: Boards, onnx: Path, tmp_path: Path) -> None:
    double()
    order = replace(ORDER, timing_cache=tmp_path / "timings" / "cache")
    for count in (1, 2):
        build(onnx, order)
        assert (tmp_path / "timings" / "cache").read_text() == "again\n" * count


# What goes wrong


def test_trtexecs_own_words_are_in_the_error(double: Boards, onnx: Path) -> None:
    there = double(behaviour="echo '[01/01/2025-00:00:00] [E] [TRT] no kernel for node 7' >&2; exit 1")
    with pytest.raises(
        CheckFailed, match=r"trtexec 10\.3\.0 could not build the engine on board .*no kernel for node 7"
    ):
        build(onnx)
    assert there.temporary_folders() == []


def test_a_build_that_the_board_killed_says_so(double: Boards, onnx: Path) -> None:
    double(behaviour="kill -KILL $$")
    with pytest.raises(CheckFailed, match="was killed over the engine on board, as is done to what takes the last"):
        build(onnx)


def test_an_engine_over_the_limit_is_not_fetched(double: Boards, onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = double()
    monkeypatch.setattr(module, "ENGINE_LIMIT_BYTES", 50)
    with pytest.raises(VlmError, match="over the limit of 50"):
        build(onnx)
    assert there.temporary_folders() == []


def test_a_board_without_trtexec_says_what_to_install(double: Boards, onnx: Path) -> None:
    there = double()
    (there.home / "bin" / "trtexec").unlink()
    with pytest.raises(VlmError, match="board has no trtexec"):
        build(onnx)


def test_a_board_without_a_gpu_is_refused(double: Boards, onnx: Path) -> None:
    double(gpu="")
    with pytest.raises(VlmError, match=r"names no GPU: .*no CUDA-capable device"):
        build(onnx)


def test_another_board_than_the_target_is_refused(double: Boards, onnx: Path) -> None:
    there = double()
    with pytest.raises(VlmError, match=r"board is not taken for jetson-nano\. This is NVIDIA Jetson Orin Nano"):
        build(onnx, target="jetson-nano")
    assert there.temporary_folders() == []
    assert build(onnx, target="jetson")[1].built.engine


def test_a_board_with_the_same_gpu_is_not_taken_for_the_target(double: Boards, onnx: Path) -> None:
    double(tree="jetson-agx-orin")  # 8.7 too
    with pytest.raises(VlmError, match=r"board is not taken for jetson-orin-nano\. This is .*AGX Orin"):
        build(onnx, target="jetson")


def test_a_gpu_that_the_target_has_not_is_refused_whatever_the_boards_files_say(double: Boards, onnx: Path) -> None:
    double(capability="7.2")
    with pytest.raises(VlmError, match=r"whose compute capability is 8\.7: it has emulator, of 7\.2"):
        build(onnx, target="jetson")


def test_a_killed_export_leaves_nothing_on_the_board(
    eventually: Callable[..., bool], double: Boards, onnx: Path
) -> None:
    there = double(behaviour="sleep 4242.7")
    code = (
        "from functools import partial; from pathlib import Path\n"
        "from vlm_contract.manifest import TensorSpec\n"
        "from vlm_export import board; from vlm_export.tensorrt.builder import Wanted\n"
        f"board.Board = partial(board.Board, config=Path({str(there.config)!r}))\n"
        "with board.place_on_board('board') as place:\n"
        f"    place.build(Path({str(onnx)!r}), {TAKEN!r}, Wanted('tensorrt', 'fp16', (1, 8, 32)), None, print)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    called = there.home / "bin" / "called"
    assert eventually(called.exists)
    (folder,) = there.temporary_folders()
    assert (folder / "model.onnx").exists()
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    assert eventually(lambda: there.temporary_folders() == [])


# Words


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("8.2.1", "--fp16 {shapes} --workspace=256 --buildOnly"),
        ("8.5.2", "--fp16 {shapes} --memPoolSize=workspace:256 {layers} --buildOnly"),
        ("8.6.1", "--fp16 {shapes} --memPoolSize=workspace:256 {layers} --skipInference"),
        ("10.3.0", "--stronglyTyped {shapes} --memPoolSize=workspace:256 {layers} --skipInference"),
        ("11.4.1", "{shapes} --memPoolSize=workspace:256 {layers} --skipInference"),
    ],
)
def test_the_command_is_the_versions_own(version: str, words: str) -> None:
    shapes = "--minShapes=images:1x3x32x32 --optShapes=images:8x3x32x32 --maxShapes=images:32x3x32x32"
    layers = "--profilingVerbosity=detailed --exportLayerInfo=l"
    command = build_command("trtexec", Names("m", "e", "l"), ORDER, IMAGES, version)
    expected = words.format(shapes=shapes, layers=layers)
    assert " ".join(command) == f"trtexec --onnx=m --saveEngine=e {expected}"


def test_a_fixed_batch_is_given_no_shapes() -> None:
    fixed = replace(IMAGES, shape=(8, 3, 32, 32))
    assert not any("Shapes" in word for word in build_command("trtexec", Names("m", "e"), ORDER, fixed, "10.3.0"))


@pytest.mark.parametrize(
    ("banner", "version"), [(8201, "8.2.1"), (8502, "8.5.2"), (100300, "10.3.0"), (110401, "11.4.1")]
)
def test_the_banner_names_the_version(banner: int, version: str) -> None:
    assert version_in_banner(banner) == version


@pytest.mark.parametrize(
    ("described", "name"),
    [
        (
            "NVIDIA Jetson Orin Nano Developer Kit\n# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
            "Orin (NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3)",
        ),
        ("NVIDIA Jetson Nano\x1b[2J\n", "Orin (NVIDIA Jetson Nano\\x1b[2J)"),
        ("\n", "Orin"),
    ],
)
def test_a_device_is_named_with_its_board(described: str, name: str) -> None:
    assert device_name("Orin", described) == name


def test_the_script_for_a_target_that_is_not_here_is_a_shell_script(done: Path, tmp_path: Path) -> None:
    from vlm_contract.codec import read_record
    from vlm_contract.manifest import ArtifactManifest

    manifest = read_record(ArtifactManifest, done / "artifacts" / "tiny-digits-200-s0.onnx-fp16" / "manifest.json")
    script = build_script(manifest, Wanted(target="jetson-nano", batches=(1, 8)))
    assert "on the Jetson Nano, whose TensorRT is taken to be 8.2.1" in script
    assert "--workspace=1024" in script
    (tmp_path / "trtexec").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >called  # a test double of trtexec\n')
    (tmp_path / "trtexec").chmod(0o755)
    (tmp_path / "build.sh").write_text(script)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "build.sh"], cwd=tmp_path, env=variables, check=True)
    called = (tmp_path / "called").read_text().splitlines()
    assert called[:3] == ["--onnx=model.onnx", "--saveEngine=model.engine", "--fp16"]
    assert "--optShapes=images:8x3x32x32" in called
