"""The process that builds an engine: what comes back from it, and what is left when it dies."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt import child
from vlm_export.tensorrt.builder import Wanted
from vlm_export.tensorrt.child import Made, engine_from_child

IMAGES = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
# A test double of the builder: its engine is eight bytes, and its outputs are twice the images.
BUILD = """
import numpy as np
from vlm_contract.codec import Absent, encode
from vlm_contract.manifest import Engine
from vlm_export.tensorrt.device import Identity
print("step 1 of 2", flush=True)
print("step 2 of 2", flush=True)
(folder / "engine").write_bytes(b"a double")
np.save(folder / "outputs.npy", 2 * np.load(folder / "images.npy"))
none = Absent("a test double")
record = Engine("tensorrt", "python", "a GPU", 1, 2, none, none, (0.5,), none, none, 0)
return {"layers": "{}", "record": encode(record), "identity": encode(Identity("TensorRT 10.3.0", "a GPU", "7.5"))}
"""


def code_that(does: str) -> str:
    """What the child runs when `does` takes the place of the build."""
    return (
        "from vlm_export.tensorrt import child\n"
        f"def made(folder, onnx, wanted):\n{textwrap.indent(does, '    ')}\n"
        "child._made = made\n"
        "child.main()\n"
    )


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; none is left after a test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def child_that(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """Builds in a child that does something else; `told` takes its progress."""

    def build(does: str, told: list[str] | None = None, **wanted: Any) -> Made:
        monkeypatch.setattr(child, "CODE", code_that(does))
        order = Wanted("tensorrt", "fp16", (1, 8, 32), **wanted)
        return engine_from_child(Path("model.onnx"), order, IMAGES, (told if told is not None else []).append)

    return build


# What comes back


def test_engine_outputs_and_identity_come_back(child_that: Callable[..., Made]) -> None:
    made = child_that(BUILD)
    assert (made.built.engine, made.built.layers) == (b"a double", "{}")
    assert made.built.record.build_s == (0.5,)
    assert (made.identity.runtime, made.identity.compute_capability) == ("TensorRT 10.3.0", "7.5")
    assert made.outputs is not None and np.array_equal(made.outputs, 2 * IMAGES)


def test_its_progress_is_told_line_by_line(child_that: Callable[..., Made]) -> None:
    told: list[str] = []
    child_that(BUILD, told)
    assert told == ["step 1 of 2", "step 2 of 2"]


def test_the_order_arrives_as_it_was_given(child_that: Callable[..., Made], tmp_path: Path) -> None:
    cache = tmp_path / "timings" / "cache"
    told: list[str] = []
    child_that("print(onnx, wanted.batches, wanted.builds, wanted.timing_cache)\n" + BUILD, told, timing_cache=cache)
    assert told[0] == f"{Path.cwd() / 'model.onnx'} (1, 8, 32) 1 {cache}"


def test_a_reply_says_what_there_is_none_of(child_that: Callable[..., Made]) -> None:
    made = child_that(BUILD.replace('"layers": "{}"', '"layers": encode(none)'))
    assert made.built.layers == Absent("a test double")


@pytest.mark.usefixtures("rtx")
def test_a_real_build_comes_back_whole(graph: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(graph(precision="fp16"))
    told: list[str] = []
    wanted = Wanted("rtx", "fp16", (1, 8, 32), compute_capabilities=("86",))
    made = engine_from_child(tmp_path / "model.onnx", wanted, IMAGES, told.append)
    assert len(made.built.engine) > 10_000
    assert made.identity.runtime.startswith("TensorRT-RTX ")
    assert made.outputs is None
    assert told and all(text.startswith("Building engine") for text in told)


# What goes wrong


@pytest.mark.parametrize(("kind", "code"), [(VlmError, 2), (CheckFailed, 1)])
def test_an_error_comes_back_as_itself_with_its_hint(
    child_that: Callable[..., Made], kind: type[VlmError], code: int
) -> None:
    with pytest.raises(VlmError, match="the graph is wrong") as caught:
        child_that(
            f"from vlm_contract.errors import {kind.__name__}\n"
            f"raise {kind.__name__}('the graph is wrong', hint='--batch 1')"
        )
    assert (type(caught.value), caught.value.hint, caught.value.exit_code) == (kind, "--batch 1", code)


def test_a_child_that_a_signal_ends_is_named_with_its_last_words(child_that: Callable[..., Made]) -> None:
    with pytest.raises(CheckFailed, match=r"was ended by SIGSEGV: the last words$"):
        child_that(
            "import os, signal, sys\nprint('the last', 'words', sep='\\n', file=sys.stderr, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGSEGV)"
        )


def test_a_child_that_dies_in_silence_says_so(child_that: Callable[..., Made]) -> None:
    with pytest.raises(CheckFailed, match=r"was ended by SIGABRT: it said nothing$"):
        child_that("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)")


def test_an_error_that_nobody_expects_is_in_the_last_words(child_that: Callable[..., Made]) -> None:
    with pytest.raises(CheckFailed, match=r"ended with code 1: .*ZeroDivisionError: division by zero$"):
        child_that("1 / 0")


def test_an_end_without_a_reply_is_no_success(child_that: Callable[..., Made]) -> None:
    with pytest.raises(CheckFailed, match=r"ended with code 0: it said nothing$"):
        child_that("import os\nos._exit(0)")


def test_a_build_that_takes_too_long_is_ended_and_says_so(
    child_that: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "BUILD_LIMIT_S", 0.9)
    with pytest.raises(CheckFailed, match=r"was not built in 0\.00025 hours"):
        child_that("import time\ntime.sleep(4242)")


def test_an_interrupt_ends_the_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    does = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nprint('busy', flush=True)\n"
    monkeypatch.setattr(child, "CODE", code_that(does + "time.sleep(4242)"))

    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine_from_child(Path("model.onnx"), Wanted("tensorrt", "fp16", (1, 1, 1)), IMAGES, interrupt)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_the_child_dies_with_its_parent_however_that_dies(eventually: Callable[..., bool], tmp_path: Path) -> None:
    file = tmp_path / "pid"
    does = f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()) + ' ')\ntime.sleep(4242)"
    code = (
        "from pathlib import Path; import numpy; from vlm_export.tensorrt import child\n"
        "from vlm_export.tensorrt.builder import Wanted\n"
        f"child.CODE = {code_that(does)!r}\n"
        "order = Wanted('tensorrt', 'fp16', (1, 1, 1))\n"
        "child.engine_from_child(Path('model.onnx'), order, numpy.zeros(1, 'f4'), print)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)})
    assert eventually(lambda: file.exists() and file.read_text().endswith(" "))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: is_gone(int(file.read_text())))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; where nobody waits for orphans, it stays as a zombie."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
