"""The fit that is stored: data/fit.json, made by scripts/fit_estimates.py."""

import json
from dataclasses import dataclass
from functools import lru_cache

from vlm_contract.codec import decode
from vlm_profile.estimates.published import DATA

FIT = DATA / "fit.json"


@dataclass(frozen=True)
class Fit:
    """Constants and widths, with what they rest on."""

    fitted_utc: str  # ISO 8601, the day
    rows: int
    rows_by_device: dict[str, int]
    median_error_percent_by_device: dict[str, float]  # of the fit itself, not of devices that it has not seen
    constants: dict[str, float]  # by the names of priors.PRIORS
    half_widths: dict[str, float]  # by rung, "calibrated 3": with three anchors

    def half_width(self, rung: str, anchors: int = 0) -> float:
        """Of a rung; of the nearest number of anchors that is not larger, each of another architecture."""
        if rung == "calibrated":
            known = {int(name.split()[1]) for name in self.half_widths if name.startswith("calibrated ")}
            rung = f"calibrated {max(number for number in known if number <= anchors)}"
        return self.half_widths[rung]


@lru_cache
def stored_fit() -> Fit:
    fit: Fit = decode(Fit, json.loads(FIT.read_text()))
    return fit
