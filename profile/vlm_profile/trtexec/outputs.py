"""What a call came to, as `trtexec --exportOutput` writes it."""

import math
from pathlib import Path

from vlm_export.tensorrt.printed import printed_outputs


def nonfinite_in(path: Path) -> tuple[str, ...]:
    """Names of the outputs that hold a NaN or an infinity. Raises CheckFailed where this is no file of outputs."""
    return tuple(each.name[:200] for each in printed_outputs(path) if not all(map(math.isfinite, each.values)))
