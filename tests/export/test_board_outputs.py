"""An engine is run on images by a machine's trtexec; the one here is an emulator, on this machine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import TensorSpec
from vlm_export import board_outputs as module
from vlm_export.board_outputs import outputs_on_board, run_command
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.device import Identity
from vlm_export.tensorrt.trtexec import Names, Tool, build_command
from vlm_targets.reach import Here

TAKEN = TensorSpec("images", ("batch", 3, 2, 2), "float32")
TOOL = Tool("trtexec", "10.3.0", Identity("TensorRT 10.3.0", "emulator", "8.7"))
Run = Callable[..., Any]


def images(count: int) -> Any:
    return np.random.RandomState(count).standard_normal((count, 3, 2, 2)).astype(np.float32)


def graph(kind: str, batch: "str | int") -> bytes:
    """One that flattens its images."""
    from onnx import TensorProto, helper

    element = TensorProto.FLOAT16 if kind == "float16" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["logits"])],
        "flatten",
        [helper.make_tensor_value_info("images", element, [batch, 3, 2, 2])],
        [helper.make_tensor_value_info("logits", element, [batch, 12])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialised: bytes = made.SerializeToString()
    return serialised


@pytest.fixture
def here() -> Iterator[Here]:
    with Here() as machine:
        yield machine


@pytest.fixture
def run(here: Here, emulator: Any, tmp_path: Path) -> Run:
    """A function that has an emulator run an engine on images; outputs, and what was told meanwhile."""

    def on(
        given: Any,
        batches: tuple[int, int, int] = (1, 4, 8),
        taken: TensorSpec = TAKEN,
        version: str = "10.3.0",
        **settings: Any,
    ) -> tuple[Any, list[str]]:
        tool = emulator.install(tmp_path / "bin", version, computes=True, **settings)
        dynamic = isinstance(taken.shape[0], str)
        takes = f"at most images:{batches[-1]}x3x2x2" if dynamic else "at most its own"
        engine, told = Path(here.folder) / "model.engine", list[str]()
        engine.write_bytes(f"engine of an emulator\n{takes}\n".encode() + graph(taken.dtype, taken.shape[0]))
        there = replace(TOOL, path=str(tool), version=version)
        return outputs_on_board(given, here, there, str(engine), taken, batches, told.append), told

    return on


# What comes back


@pytest.mark.parametrize(
    ("count", "batches", "calls"), [(5, (1, 4, 8), 1), (20, (1, 4, 8), 3), (3, (4, 4, 8), 1), (1, (1, 1, 1), 1)]
)
def test_outputs_are_those_of_the_images_in_their_order(
    run: Run, count: int, batches: tuple[int, int, int], calls: int
) -> None:
    given = images(count)
    outputs, told = run(given, batches)
    assert outputs.shape == (count, 12)
    assert np.abs(outputs - given.reshape(count, 12)).max() <= 5e-6
    assert [text.split(", ")[1] for text in told] == [f"{number} of {calls}" for number in range(1, calls + 1)]


@pytest.mark.parametrize("version", ["8.2.1", "8.6.1", "11.4.1"])
def test_every_version_runs_an_engine(run: Run, version: str) -> None:
    assert run(images(2), version=version)[0].shape == (2, 12)


def test_a_fixed_batch_is_filled(run: Run) -> None:
    given = images(6)
    outputs, _ = run(given, (4, 4, 4), replace(TAKEN, shape=(4, 3, 2, 2)))
    assert np.abs(outputs - given.reshape(6, 12)).max() <= 5e-6


def test_an_engine_that_takes_fp16_is_given_fp16(run: Run) -> None:
    given = images(3)
    outputs, _ = run(given, taken=replace(TAKEN, dtype="float16"))
    assert np.abs(outputs - given.astype(np.float16).reshape(3, 12)).max() < 5.1e-6


def test_what_is_no_number_comes_back_as_such(run: Run) -> None:
    outputs, _ = run(images(2), change="np.where(outputs > 0, np.nan, -np.inf)")
    assert np.isnan(outputs).any() and np.isneginf(outputs).any() and not np.isfinite(outputs).any()


# What goes wrong


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"exported": "killed"}, "damaged"),
        ({"exported": ""}, "wrote no outputs"),
        ({"outputs": "1, 2"}, "has 2 values"),
        ({"outputs": "1, 2, 3"}, "outputs of 1x3 for 2 images; expected one of 2xCLASSES"),
        ({"change": "outputs.reshape(2, 3, 4)"}, "outputs of 2x3x4 for 2 images"),
        ({"change": "outputs[:, :0]"}, "outputs of 2x0 for 2 images"),
        (
            {"behaviour": "echo '[E] CUDA out of memory' >&2; exit 1"},
            r"could not run .* \(code 1\): CUDA out of memory",
        ),
        ({"behaviour": "kill -KILL $PPID"}, r"could not run the engine .* \(code 137\)"),
        ({"deaf_to": ["--exportOutput"]}, "wrote no outputs"),
    ],
)
def test_a_board_that_gives_no_outputs_is_told_of(run: Run, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(CheckFailed, match=reason):
        run(images(2), **settings)


def test_outputs_over_the_limit_are_not_fetched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    with pytest.raises(VlmError, match="100"):
        run(images(2))


def test_batches_of_one_size_have_outputs_of_one_shape(run: Run) -> None:
    given = images(2)
    given[0, 0, 0, 0], given[1, 0, 0, 0] = 1, -1
    with pytest.raises(CheckFailed, match="outputs of several shapes"):
        run(given, (1, 1, 1), change="outputs if outputs[0, 0] > 0 else outputs[:, :5]")


# Words


def test_every_version_is_given_flags_that_it_has(trtexec_flags: dict[str, set[str]]) -> None:
    for version, flags in trtexec_flags.items():
        words = run_command(replace(TOOL, version=version), "e", TAKEN, 8, "i", "o")
        assert {word.partition("=")[0] for word in words[1:]} <= flags


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("8.2.1", "--streams=1"),
        ("8.6.1", "--infStreams=1"),
        ("10.3.0", "--infStreams=1"),
        ("11.4.1", "--infStreams=1 --includeDataTransfers --noCudaGraph"),
    ],
)
def test_the_command_is_the_versions_own(version: str, words: str) -> None:
    command = run_command(replace(TOOL, version=version), "e", TAKEN, 8, "i", "o")
    assert " ".join(command) == (
        "trtexec --loadEngine=e --loadInputs=images:i --exportOutput=o --shapes=images:8x3x2x2 "
        f"--iterations=1 --warmUp=0 --duration=0 {words}"
    )


def test_a_fixed_batch_is_given_no_shapes() -> None:
    fixed = replace(TAKEN, shape=(8, 3, 2, 2))
    assert not any("--shapes" in word for word in run_command(TOOL, "e", fixed, 8, "i", "o"))


# Words


def test_a_name_that_trtexec_would_split_is_quoted_in_what_it_runs_and_in_what_it_builds() -> None:
    taken = replace(TAKEN, name="Input:0")
    words = run_command(TOOL, "e", taken, 4, "images.raw", "outputs.json")
    assert {"--loadInputs='Input:0':images.raw", "--shapes='Input:0':4x3x2x2"} <= set(words)
    order = Order("tensorrt", "fp16", (1, 4, 8))
    assert "--minShapes='Input:0':1x3x2x2" in build_command("trtexec", Names("m", "e"), order, taken, "10.3.0")
    with pytest.raises(VlmError, match="cannot be told of an input named 'a,b'"):
        run_command(TOOL, "e", replace(TAKEN, name="a,b"), 4, "i", "o")
