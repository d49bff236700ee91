"""A request is answered by this machine, by a board, or by an estimate; never by one under another's name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_profile import measuring
from vlm_profile.measuring import address_of, measure
from vlm_profile.rows import Request
from vlm_profile.session import Measured
from vlm_targets.catalogue import target_named

# A device that firmware's names tell nothing of.
OWN = """
name = "mine"
title = "my board"
aliases = []
recognised_by = []
compute_capability = {absent = "no GPU"}
tensor_cores = {absent = "no GPU"}
tensorrt = {absent = "no GPU"}
sources = []
"""


def own_target(folder: Path, text: str) -> tuple[Path, ...]:
    file = folder / "mine.toml"
    file.write_text(text)
    return (file,)


@pytest.mark.parametrize("name", ["jetson", "rpi5", "gtx1660ti"])
def test_a_target_out_of_reach_is_refused_where_no_estimate_is_wanted(name: str, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=f"not {target_named(name).title}. No address of one is known") as caught:
        measure(Workspace(tmp_path), Request(target=name, estimate=False))
    assert caught.value.exit_code == 2 and "--host USER@BOARD" in caught.value.hint


def test_this_machine_has_no_other_address(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="--host user@board is a board, and --target host is this machine"):
        measure(Workspace(tmp_path), Request(host="user@board"))


def test_clocks_are_locked_on_boards_alone(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="--lock-clocks is for a board"):
        measure(Workspace(tmp_path), Request(lock_clocks=True))


def test_the_address_is_the_typed_one_or_that_of_the_targets_own_file(tmp_path: Path) -> None:
    files = own_target(tmp_path, 'like = "rpi5"\nname = "mine"\naddress = "pi@kitchen"\n')
    mine = target_named("mine", files)
    assert address_of(mine, Request(target="mine")) == "pi@kitchen"
    assert address_of(mine, Request(target="mine", host="pi@attic")) == "pi@attic"
    assert address_of(target_named("rpi5"), Request(target="rpi5")) == ""


@pytest.mark.parametrize(
    ("name", "asked", "computes"),
    [("jetson", "jetson", "cuda"), ("rpi5", "linux", "cpu"), ("gtx1660ti", "linux", "cuda")],
)
def test_a_jetson_is_asked_through_trtexec_and_other_boards_through_our_own_worker(
    name: str, asked: str, computes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_profile.boards import jetson, linux

    class BoardDouble:
        """In the place of a connection: nothing is reached."""

        def __init__(self, address: str) -> None:
            assert address == "user@board"

        def __enter__(self) -> "BoardDouble":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    called = []

    def note(who: str) -> Any:
        return lambda board, target, workspace, request, *_, **__: called.append((who, request.computes))

    monkeypatch.setattr(measuring, "Board", BoardDouble)
    monkeypatch.setattr(jetson, "measure_on", note("jetson"))
    monkeypatch.setattr(linux, "measure_on", note("linux"))
    measure(Workspace(tmp_path), Request(target=name, host="user@board"))
    assert called == [(asked, computes)]


def test_a_card_in_this_machine_is_not_measured_on_its_cpu(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_profile.runtimes import runtimes

    monkeypatch.setattr(measuring, "is_here", lambda target: target.name == "gtx1660ti")
    monkeypatch.setattr(measuring, "why_not", lambda target: "")
    for kind in runtimes().values():
        if kind.device == "cuda":
            monkeypatch.setattr(kind, "unusable", staticmethod(lambda: "not installed"))
    request = Request(target="gtx1660ti", artifacts=(tiny_model,), batches=(1,))
    with pytest.raises(VlmError, match="Nothing here runs the model on the GPU, which the target is"):
        measure(Workspace(tmp_path), request)
    with pytest.raises(VlmError, match="onnxruntime computes on the CPU, and the GTX 1660 Ti is a card"):
        measure(Workspace(tmp_path), replace(request, runtime="onnxruntime"))


def test_a_target_that_nothing_recognises_is_named_where_it_is_out_of_reach(tmp_path: Path) -> None:
    files = own_target(tmp_path, OWN)
    with pytest.raises(
        VlmError, match=r"^Nothing is said of how my board is recognised, so it is not this machine\. No"
    ):
        measure(Workspace(tmp_path), Request(target="mine", target_files=files, estimate=False))


def test_what_was_measured_on_a_target_out_of_reach_is_marked_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_profile.estimates import answer

    kept = Measured({}, frozenset({tmp_path / "a.json"}), (), (), ())
    monkeypatch.setattr(answer, "estimated", lambda *_: kept)
    assert measure(Workspace(tmp_path), Request(target="rpi5")).out_of_reach == kept.kept
