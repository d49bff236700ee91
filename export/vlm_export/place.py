"""Where engines are built: on this machine, or on a board."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.manifest import TensorSpec
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import Made
from vlm_export.tensorrt.device import Identity

Tell: TypeAlias = Callable[[str], None]
Images: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """What builds, and what its engines are for."""

    identity: Identity
    build: Callable[[Path, TensorSpec, Order, Images, Tell], Made]  # from an ONNX file, and what it takes
    calls: int = 1  # in which it runs an engine on its images, each with the largest batch at most
