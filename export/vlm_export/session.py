"""ONNX Runtime on the CPU, where artifacts are run beside their checkpoint."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed
from vlm_export.graph import INPUT, OUTPUT
from vlm_export.parity import Logits


def runtime_session(model: str | bytes) -> Any:
    """An onnxruntime.InferenceSession of a file or of a serialised graph. Raises CheckFailed if neither."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckFailed(f"ONNX Runtime cannot open the model: {_first_line(error)}") from error


def outputs_of(session: Any, names: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]) -> list[Any]:
    """What a session gives. Raises CheckFailed where it stops."""
    try:
        outputs: list[Any] = session.run(names, feed)
    except Exception as error:
        size = len(next(iter(feed.values())))
        raise CheckFailed(f"ONNX Runtime stops at batch {size}: {_first_line(error)}") from error
    return outputs


class OnnxSession:
    """A graph as a stranger would feed it: by its own metadata."""

    def __init__(self, model: str | bytes) -> None:
        self._session = runtime_session(model)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._mean, self._std = json.loads(metadata["mean"]), json.loads(metadata["std"])
        images = self._session.get_inputs()[0]
        self._dtype = np.float16 if images.type == "tensor(float16)" else np.float32
        self.fixed_batch = images.shape[0] if isinstance(images.shape[0], int) else None

    def logits(self, pixels: npt.NDArray[np.uint8], batch: int) -> Logits:
        """Outputs [n, classes] in FP32 for images [n, h, w, c], `batch` at a time; the last call may have fewer.

        A graph of a fixed batch is given that many, the last of them repeated. Raises CheckFailed where it stops.
        """
        from vlm_train.data import normalised

        batch = self.fixed_batch or batch
        parts = (pixels[i : i + batch] for i in range(0, len(pixels), batch))
        return np.concatenate([self.logits_of(normalised(part, self._mean, self._std)) for part in parts])

    def logits_of(self, images: npt.NDArray[np.float32]) -> Logits:
        """Outputs [n, classes] in FP32 for images [n, c, h, w] that are normalised already, no more than it takes."""
        missing = (self.fixed_batch or len(images)) - len(images)
        filled = np.concatenate([images, images[-1:].repeat(missing, axis=0)]).astype(self._dtype)
        outputs: npt.NDArray[np.floating] = outputs_of(self._session, [OUTPUT], {INPUT: filled})[0]
        return outputs[: len(images)].astype(np.float32)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
