"""The check on this machine draws its anchors among models that tell something else than the one it estimates."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vlm_contract.measurement import ArtifactUsed, Measurement

SCRIPT = Path(__file__).parents[3] / "scripts/check_host_estimates.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_host_estimates", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_anchors_are_of_other_architectures_in_the_same_threads_and_precision(
    script: ModuleType,
    tiny_model: Path,
    tmp_path: Path,
    measurement: Callable[..., Measurement],
    repetition: Callable[..., Any],
) -> None:
    from onnx import load, save

    deeper = load(tiny_model)
    deeper.graph.node.extend([deeper.graph.node[1]] * 3)
    for number, node in enumerate(deeper.graph.node[2:]):
        node.op_type = "Softmax"
        node.input[0], node.output[0] = f"s{number}" if number else "y", f"s{number + 1}"
    deeper.graph.output[0].name = "s3"
    save(deeper, tmp_path / "other.onnx")
    files = {"tiny": tiny_model, "tiny again": tiny_model, "other": tmp_path / "other.onnx"}
    files |= {"other, halved": files["other"], "other, alone": files["other"]}

    def record(name: str) -> Measurement:
        plain = measurement(repetition(), repetition())
        precision = "fp16" if name == "other, halved" else "fp32"
        artifact = replace(plain.artifact, name=name, precision=precision)
        threads = 1 if name == "other, alone" else 2
        return replace(plain, artifact=artifact, setup=replace(plain.setup, threads=threads))

    def models(artifact: ArtifactUsed) -> Path:
        return files[artifact.name]

    records = {Path(name): record(name) for name in files}
    found = script._of_other_architectures(records[Path("tiny")], records, models)
    assert list(found.values()) == [[Path("other")]]
