"""ONNX Runtime on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.errors import VlmError
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import Base, check_options, first_installed, missing, version_of
from vlm_profile.runtimes._onnxruntime import CPU, import_library, opened, plain, session_options, tensor_of

SPINNING = "spinning"  # whether idle threads of the pool burn their CPU while they wait
AFFINITY = "affinity"  # of each thread of the pool but the first, in ONNX Runtime's own words: "1;2-3"


class Runtime(Base):
    """One inference session with explicit threads and no provider but the CPU's."""

    name: ClassVar[str] = "onnxruntime"
    distribution: ClassVar[str] = first_installed("onnxruntime", "onnxruntime-gpu")
    extra: ClassVar[str] = "ort"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = ({SPINNING: True}, {SPINNING: False})

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import onnxruntime

        check_options(self.name, options, (SPINNING, AFFINITY))
        spinning, affinity = bool(options.get(SPINNING, True)), options.get(AFFINITY)
        entries = {"session.intra_op.allow_spinning": str(int(spinning))}
        if affinity is not None:
            entries["session.intra_op_thread_affinities"] = str(affinity)
        session = opened(model, session_options(threads, entries), [CPU])
        if session.get_providers() != [CPU]:
            raise VlmError(f"onnxruntime runs {model} on {session.get_providers()}; expected {CPU} alone.")
        self._run = session.run
        self.inputs = tuple(map(tensor_of, session.get_inputs()))
        self.outputs = tuple(map(tensor_of, session.get_outputs()))
        said = {SPINNING: spinning} | ({} if affinity is None else {AFFINITY: affinity})
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, onnxruntime.__version__),
            provider=CPU,
            options={"intra_op_num_threads": threads, "inter_op_num_threads": 1, **said},
        )

    def __exit__(self, *_: object) -> None:
        del self._run

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return missing("ort", onnxruntime="onnxruntime")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        try:
            outputs: list[Any] = self._run(None, feed)
        except Exception as error:
            raise plain(error) from error
        return outputs
