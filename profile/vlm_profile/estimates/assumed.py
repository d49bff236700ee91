"""What an estimate takes for granted, with where that is from, and what would replace it."""

import math
from collections.abc import Sequence

from vlm_profile.estimates.ladder import Ladder, Standing
from vlm_profile.estimates.memory.peak import CONTEXT_BYTES, ONNXRUNTIME, TENSORRT
from vlm_profile.estimates.processors import BYTES
from vlm_targets.catalogue import Hardware, limits_of

COMPUTED_IN, GUESSED = "computed in", "guessed"
SURPRISES = (COMPUTED_IN, GUESSED)  # of what is assumed, what a reader may not expect: told beside the figures


def assumed_of(ladder: Ladder, precision: str, guessed: Sequence[str]) -> dict[str, str]:
    """By name, each with where it is from."""
    processor, hardware = ladder.processor(precision), ladder.hardware
    limits = limits_of(ladder.target, ladder.power_mode)
    mode = limits.power_mode if isinstance(limits.power_mode, str) else "the only one known"
    runtime = TENSORRT if hardware.kind == "gpu" else ONNXRUNTIME
    return {
        "precision": precision,
        "unit": f"{processor.unit}, {processor.peak * 1e-12:.4g} tera-operations a second",
        "bandwidth": f"{limits.bandwidth_gb_s:g} GB/s; {_source_of(hardware, 'bandwidth_gb_s')}",
        "power mode": f"{mode}, {limits.clock_mhz:g} MHz; {_source_of(hardware, 'clock_mhz')}",
        "peaks are from": "; ".join(ladder.target.sources) or "the machine's own files",
        "runtime": ladder.family.name,
        "memory of the runtime": f"{CONTEXT_BYTES[runtime] / 1e6:.0f} MB; estimates/memory/peak.py says whence",
        "constants": f"fitted {ladder.fit.fitted_utc} on {ladder.fit.rows} published rows",
        **_surprises(ladder, precision, guessed),
    }


def _source_of(hardware: Hardware, name: str) -> str:
    if name in hardware.disputed:
        return hardware.disputed[name]
    return "derived from other figures" if name in hardware.derived else "by its data sheet"


def _surprises(ladder: Ladder, precision: str, guessed: Sequence[str]) -> dict[str, str]:
    processor = ladder.processor(precision)
    computed = f"{precision.upper()} is computed in FP32 on {ladder.target.title}, and is no faster there"
    is_wider = precision == "fp16" and processor.element_bytes > BYTES[precision]
    return {**({COMPUTED_IN: computed} if is_wider else {}), **({GUESSED: "; ".join(guessed)} if guessed else {})}


def improved_by(ladder: Ladder, standing: Standing, typed: str) -> str:
    """The measurement that replaces the estimate, and how far any other one there would narrow it."""
    is_card = ladder.hardware.kind == "gpu" and not ladder.hardware.shared_memory
    where = "" if is_card or ladder.target.name == "host" else " --host USER@BOARD"
    exact = f"vlm-profile --target {ladder.target.name}{where} {typed} measures it{', on its own machine' * is_card}"
    others = math.exp(ladder.fit.half_width("calibrated", 1))
    if standing.half_width <= math.log(others):
        return exact
    now = math.exp(standing.half_width)
    return f"{exact}; any other model that is measured there narrows this from ×/÷ {now:.2f} to ×/÷ {others:.2f}"
