"""Every version is told everything, in words that it has."""

from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.trtexec.flags import Files, Loop, measure_command, misunderstood, shape_of

FILES = Files("e", ("i",), "t", "o")
INPUTS = (TensorSpec("images", (8, 3, 32, 32), "float32"),)
LOOP = Loop(1.0, 2.0, 50, 1, cuda_graph=True)
VERSIONS = ("8.2.1", "8.4.1", "8.5.2", "8.6.1", "10.3.0", "11.4.1")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_version_is_given_flags_that_it_has_and_does_what_they_say(
    emulator: Any, version: str, streams: int, cuda_graph: bool
) -> None:
    loop = Loop(1.0, 2.0, 50, streams, cuda_graph)
    words = measure_command("trtexec", version, FILES, INPUTS, loop)[1:]
    given = dict(word.partition("=")[::2] for word in words)
    assert given.keys() <= {*emulator.COMMON, *emulator.ACCEPTED[version]}
    assert emulator.understood(given, version) == {
        "ExposeDMA": True,
        "Data transfers": True,
        "Spin-wait": True,
        "Multithreading": streams > 1,
        "CUDA Graph": cuda_graph,
    }


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("8.2.1", "--streams=1 --exposeDMA --useSpinWait --useCudaGraph"),
        ("8.6.1", "--infStreams=1 --exposeDMA --useSpinWait --useCudaGraph"),
        ("10.3.0", "--infStreams=1 --exposeDMA --useSpinWait --useCudaGraph"),
        ("11.4.1", "--infStreams=1 --exposeDMA --includeDataTransfers"),
    ],
)
def test_the_command_is_the_versions_own(version: str, words: str) -> None:
    expected = (
        "trtexec --loadEngine=e --shapes=images:8x3x32x32 --loadInputs=images:i --warmUp=1000 --duration=2 "
        f"--iterations=50 {words} --sleepTime=0 --idleTime=0 --avgRuns=1000000 --percentile=99 "
        "--exportTimes=t --exportOutput=o"
    )
    assert " ".join(measure_command("trtexec", version, FILES, INPUTS, LOOP)) == expected


@pytest.mark.parametrize(("name", "shape"), [("x", "x:2x3"), ("Input:0", "'Input:0':2x3")])
def test_a_name_with_a_colon_is_quoted(name: str, shape: str) -> None:
    assert shape_of(TensorSpec(name, (2, 3), "float32")) == shape


@pytest.mark.parametrize("name", ["", "a,b", "it's", "a*"])
def test_a_name_that_would_be_split_is_refused(name: str) -> None:
    with pytest.raises(VlmError, match="cannot be told of an input"):
        shape_of(TensorSpec(name, (2, 3), "float32"))


def test_what_trtexec_says_that_it_does_is_held_against_what_it_was_told() -> None:
    said = "[1] [I] ExposeDMA: Enabled\n[1] [I] Data transfers: Disabled\n[1] [I] Inference Streams: 1\n"
    assert misunderstood(said + "[1] [I] CUDA Graph: Enabled\n", LOOP) == "Data transfers: Disabled"
    assert misunderstood(said.replace("Disabled", "Enabled"), LOOP) == ""
    assert misunderstood("[1] [I] Streams: 4\n", LOOP) == "Streams: 4"
