"""Files that mean harm, through the command itself: one sentence, the right exit code, in time, and nothing else done.

What is refused by its bytes alone is refused before any process starts; the rest is refused by a look at the model.
"""

import os
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from vlm_profile import places
from vlm_profile.__main__ import main
from vlm_profile.worker import Spec

LIMIT_S = 10.0
X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
RELU = helper.make_node("Relu", ["x"], ["y"])
OURS = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
EVIL = "\x1b[2J\x1b]0;title\x07\r\n"

Make = Callable[[Path], object]


def model_of(nodes: Sequence[NodeProto] = (RELU,), *tensors: TensorProto, **changes: object) -> ModelProto:
    graph = helper.make_graph(nodes, "g", changes.pop("inputs", [X]), changes.pop("outputs", [Y]), tensors)
    return helper.make_model(graph, opset_imports=OURS, ir_version=9, **changes)


def saved(*arguments: object, **changes: object) -> Make:
    """A function that writes the model to a path."""
    return lambda path: path.write_bytes(model_of(*arguments, **changes).SerializeToString())  # type: ignore[arg-type]


def of_bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def outside(location: str, **entries: str) -> Make:
    """Writes a model that takes its weights from a file; secret.bin stands in the folder above."""
    tensor = TensorProto(name="w", dims=[1, 4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)

    def write(path: Path) -> None:
        secret = path.parent.parent / "secret.bin"
        secret.write_bytes(struct.pack("<4f", 1, 2, 3, 4))
        (path.parent / "symlink").symlink_to(secret)
        (path.parent / "folder").symlink_to(secret.parent)
        (path.parent / "plain.bin").write_bytes(secret.read_bytes())
        os.link(secret, path.parent / "hardlink")
        tensor.external_data[0].value = location.format(secret=secret)
        saved([helper.make_node("Add", ["x", "w"], ["y"])], tensor)(path)

    return write


def nested(path: Path) -> None:
    """Functions that each call the next one twice: 2^30 nodes in 2 kB."""
    calls = [("Relu" if i == 29 else f"F{i + 1}", "" if i == 29 else "ours") for i in range(30)]
    functions = [
        helper.make_function(
            "ours", f"F{i}", ["x"], ["y"],
            [helper.make_node(operator, ["x"], ["h"], domain=domain),
             helper.make_node(operator, ["h"], ["y"], domain=domain)],
            OURS,
        )
        for i, (operator, domain) in enumerate(calls)
    ]  # fmt: skip
    saved([helper.make_node("F0", ["x"], ["y"], domain="ours")], functions=functions)(path)


def opset_9999(path: Path) -> None:
    model = model_of()
    model.opset_import[0].version = 9999
    path.write_bytes(model.SerializeToString())


CIRCLE = [
    helper.make_node("Add", ["x", "b"], ["a"]),
    helper.make_node("Relu", ["a"], ["b"]),
    helper.make_node("Relu", ["a"], ["y"]),
]
HUGE = TensorProto(name="w", dims=[2**20, 2**20], data_type=TensorProto.FLOAT, raw_data=bytes(16))
NAN = numpy_helper.from_array(numpy.full((1, 4), numpy.nan, numpy.float32), "w")

BY_ITS_BYTES: dict[str, tuple[Make, str]] = {
    "empty": (of_bytes(b""), "is empty"),
    "truncated": (of_bytes(model_of().SerializeToString()[:40]), "was cut short or damaged"),
    "page": (of_bytes(b"<!doctype html><title>404</title>"), "is an HTML page"),
    "pointer": (of_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
    "zip": (of_bytes(b"PK\x03\x04" + bytes(40)), "is a zip archive"),
    "image": (of_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "is a PNG image"),
    "garbage": (of_bytes(bytes(range(256)) * 40), "no plain ONNX model"),
    "pipe": (os.mkfifo, "a named pipe"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "cyclic": (saved(CIRCLE), "cyclic"),
    "opset": (opset_9999, "version 9999"),
    "nested": (nested, "once its functions are unfolded"),
    "huge": (saved([RELU], HUGE), "claims 1099511627776"),
    "huge input": (
        saved(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [2**20, 2**20])]),
        "declares 'x' with 1048576x1048576 elements",
    ),
    "compiled": (saved([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]), "native code"),
    "dots": (outside("../secret.bin"), "expected a file in its own folder"),
    "absolute": (outside("{secret}"), "expected a file in its own folder"),
    "memory": (outside("*/_ORT_MEM_ADDR_/*", offset="4096", length="16"), "expected a file in its own folder"),
    "symlink": (outside("symlink"), "symbolic link"),
    "linked folder": (outside("folder/secret.bin"), "symbolic link"),
    "hardlink": (outside("hardlink"), "hard link"),
    "offset": (outside("plain.bin", offset="8"), "which has 16"),
    "length": (outside("plain.bin", length="4096"), "which has 16"),
    "names": (saved([helper.make_node("Relu", [EVIL], [EVIL])]), "cyclic"),
}


def endless_loop(path: Path) -> None:
    scalars = [helper.make_tensor_value_info("i", TensorProto.INT64, []),
               helper.make_tensor_value_info("c", TensorProto.BOOL, [])]  # fmt: skip
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Relu", ["v"], ["w"])],
        "body",
        [*scalars, helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    saved(
        [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        numpy_helper.from_array(numpy.array(True), "yes"),
    )(path)


BY_A_LOOK: dict[str, tuple[Make, str]] = {
    "loop": (endless_loop, "did not end within"),
    "operator": (saved([helper.make_node("NoSuchOperator", ["x"], ["y"])]), "NoSuchOperator"),
    "names": (saved([helper.make_node("No" + EVIL, ["x"], ["y"])]), r"No\x1b[2J"),
    "memory": (
        saved(
            [helper.make_node("ConstantOfShape", ["s"], ["h"]),
             helper.make_node("ReduceSum", ["h"], ["y"], keepdims=0)],
            numpy_helper.from_array(numpy.array([2**20, 2**20]), "s"),
            outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        ),
        "onnxruntime cannot run",
    ),
}  # fmt: skip


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Make], tuple[int, str]]:
    """Runs vlm-profile on a file made by `make`: exit code and what it said. It is one paragraph, in time."""

    def run(make: Make) -> tuple[int, str]:
        folder = tmp_path / "brought"
        folder.mkdir()
        make(folder / "m.onnx")
        before = tree(tmp_path)
        words = ["--threads", "1", "--batch", "1", "--wait-quiet", "0", "--quick", "--workspace", str(tmp_path / "w")]
        begin = time.monotonic()
        code = main(["--artifact", str(folder / "m.onnx"), *words])
        assert time.monotonic() - begin < LIMIT_S
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert all(character == "\n" or character.isprintable() for character in said.err)
        assert {path for path in tree(tmp_path) - before if path.suffix} == set()  # a lock at most: no record, no file
        return code, " ".join(said.err.split())

    return run


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", BY_ITS_BYTES)
def test_a_hostile_file_is_refused_by_its_bytes_before_any_process_starts(
    name: str, command: Callable[[Make], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(spec: Spec, **_: object) -> None:
        raise AssertionError(f"a process was started for {spec.model}")

    monkeypatch.setattr(places, "run_worker", started)
    make, sentence = BY_ITS_BYTES[name]
    code, said = command(make)
    assert sentence in said
    assert code == 2


def test_nan_in_weights_is_nonfinite_and_a_check_that_said_no(command: Callable[[Make], tuple[int, str]]) -> None:
    code, said = command(saved([helper.make_node("Add", ["x", "w"], ["y"])], NAN))
    assert (code, "nonfinite" in said) == (1, True)


@pytest.mark.parametrize("name", BY_A_LOOK)
def test_a_model_that_cannot_run_or_never_ends_is_refused_by_a_look_at_it(
    name: str, command: Callable[[Make], tuple[int, str]]
) -> None:
    make, sentence = BY_A_LOOK[name]
    code, said = command(make)
    assert sentence in said
    assert code == 2
