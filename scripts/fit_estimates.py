#!/usr/bin/env python3
"""Fit the constants of the estimates to the published rows, and their intervals' widths: estimates/data/fit.json.

Takes some seconds. The widths are of devices that the fit behind them had not seen; scripts/judge_estimates.py shows
how good they are.
"""

import argparse
import json
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from vlm_contract.files import write_whole
from vlm_profile.estimates.calibration import constants_from_rows, residuals_of, table_of
from vlm_profile.estimates.fitted import FIT, Fit
from vlm_profile.estimates.judging import widths_from, without_each_device
from vlm_profile.estimates.published import usable_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FIT, help="the file to write (default: the package's own)")
    out: Path = parser.parse_args().out
    rows = usable_rows()
    constants = constants_from_rows(rows)
    errors = defaultdict(list)
    for row, residual in zip(rows, residuals_of(table_of(rows), constants), strict=True):
        errors[row.device].append(100 * abs(math.exp(residual) - 1))
    fit = Fit(
        fitted_utc=datetime.now(timezone.utc).date().isoformat(),
        rows=len(rows),
        rows_by_device=dict(Counter(row.device for row in rows)),
        median_error_percent_by_device={device: round(statistics.median(found), 1) for device, found in errors.items()},
        constants={name: float(f"{value:.6g}") for name, value in constants.items()},
        half_widths={rung: round(width, 4) for rung, width in widths_from(without_each_device(rows)).items()},
    )
    write_whole(out, json.dumps(asdict(fit), indent=2) + "\n")
    print(f"{out}: {fit.rows} rows; half-widths as factors: ")
    for rung, width in fit.half_widths.items():
        print(f"  {rung:16} ×/÷ {math.exp(width):.2f}")


if __name__ == "__main__":
    main()
