"""Engines on the machine that measures them: sent there, or built there from ONNX, once for all processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.manifest import TensorSpec
from vlm_export.tensorrt.trtexec import QUESTION_LIMIT_S, Names, Tool, build_command, not_built
from vlm_profile.trtexec.flags import shape_of
from vlm_profile.trtexec.models import build_precision_of, files_of, inputs_of, is_engine
from vlm_targets.reach import Machine

if TYPE_CHECKING:
    from vlm_export.tensorrt.api import Precision

Tell = Callable[[str], None]


class Engines:
    """What has been sent to or built on a machine; it goes with the machine's private folder."""

    def __init__(self, machine: Machine, tool: Tool, tell: Tell = lambda _: None) -> None:
        self._machine, self._tool, self._tell = machine, tool, tell
        self._found: dict[tuple[Path, tuple[TensorSpec, ...]], str] = {}

    def engine_of(self, model: Path, inputs: Sequence[TensorSpec]) -> str:
        """The path there of an engine for inputs of these shapes, every dimension known.

        Raises CheckFailed with trtexec's own words where it cannot be built.
        """
        is_onnx = not is_engine(model)
        key = model, tuple(inputs) if is_onnx else ()
        if key not in self._found:
            self._found[key] = self._built(model, inputs) if is_onnx else self._sent(model)
        return self._found[key]

    def _sent(self, model: Path) -> str:
        """The model on the machine, with the weights that it names beside it."""
        if (model, ()) in self._found:
            return self._found[model, ()]
        folder = f"{self._machine.folder}/model-{len(self._found)}"  # of its own: weights beside models may share names
        for file in files_of(model):
            there = f"{folder}/{file.relative_to(model.parent)}" if file != model else f"{folder}/model{model.suffix}"
            self._tell(f"sending {file.name} to {self._machine.address or 'this machine'}")
            self._machine.run(["mkdir", "-p", there.rpartition("/")[0]], QUESTION_LIMIT_S)
            self._machine.push(file, there)
        self._found[model, ()] = f"{folder}/model{model.suffix}"
        return self._found[model, ()]

    def _built(self, model: Path, inputs: Sequence[TensorSpec]) -> str:
        from vlm_export.tensorrt.child import BUILD_LIMIT_S

        onnx, precision = self._sent(model), build_precision_of(model)
        shape = "-".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        engine = f"{onnx}.{len(self._found)}.engine"
        names = Names(onnx, engine, timings=f"{self._machine.folder}/timings")
        words = _build_words(self._tool, names, precision, inputs_of(model), inputs)
        self._tell(f"{self._tool.identity.device} builds {model.name} for {shape}")
        done = self._machine.run(words, BUILD_LIMIT_S)
        if done.code != 0:
            raise not_built(done, self._tool, model.name)
        return engine


def _build_words(
    tool: Tool, names: Names, precision: "Precision", declared: Sequence[TensorSpec], inputs: Sequence[TensorSpec]
) -> list[str]:
    """Built for these shapes and no others: least, best and largest are one."""
    from vlm_export.tensorrt.builder import Wanted

    order = Wanted(flavor="tensorrt", precision=precision, batches=(1, 1, 1))
    fixed = inputs[0]  # a tensor without open dimensions: build_command then adds no shapes of its own
    open_ones = [now for said, now in zip(declared, inputs, strict=True) if said.shape != now.shape]
    shapes = ",".join(map(shape_of, open_ones))
    kinds = ("min", "opt", "max") if shapes else ()
    return [*build_command(tool.path, names, order, fixed, tool.version), *(f"--{k}Shapes={shapes}" for k in kinds)]
