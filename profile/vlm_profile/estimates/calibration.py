"""The constants of the roofline from published rows: a robust fit of logarithms about the priors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlm_profile.estimates.priors import PRIORS
from vlm_profile.estimates.published import (
    WEIGHT_OF,
    Row,
    family_of_row,
    operations_of_row,
    processor_of_row,
)
from vlm_profile.estimates.roofline import Constants, Kernels, joined, kernels_of, seconds_of

if TYPE_CHECKING:
    from numpy import ndarray

    Numbers = ndarray[Any, Any]

ERROR = 0.2  # that is expected of a row: the logarithm of measured over estimated
FREEDOM = 4  # of Student's t, by which rows far off lose weight
ROWS_OF_A_DEVICE = 25  # that count in full; more share their weight, or one device would be the fit
STEPS, STEP, ENOUGH = 30, 1e-3, 1e-3


@dataclass(frozen=True)
class Table:
    """Rows as one set of columns."""

    rows: tuple[Row, ...]
    kernels: Kernels
    starts: "Numbers"  # of each row's kernels
    measured_ms: "Numbers"


def table_of(rows: Sequence[Row]) -> Table:
    import numpy as np

    parts = [kernels_of(operations_of_row(row), row.batch, processor_of_row(row), family_of_row(row)) for row in rows]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return Table(tuple(rows), joined(parts), starts, np.array([row.latency_ms for row in rows]))


def estimated_ms(table: Table, constants: Constants) -> "Numbers":
    """One figure a row."""
    import numpy as np

    bodies, launches = seconds_of(table.kernels, constants)
    found: Numbers = np.add.reduceat(bodies + launches, table.starts) * 1e3
    return found


def residuals_of(table: Table, constants: Constants) -> "Numbers":
    """The logarithm of measured over estimated, a row."""
    import numpy as np

    found: Numbers = np.log(table.measured_ms / estimated_ms(table, constants))
    return found


def constants_from_rows(rows: Iterable[Row]) -> dict[str, float]:
    """Maximum a posteriori by Gauss-Newton: normal priors of the logarithms, Student's t of the residuals."""
    import numpy as np

    names = list(PRIORS)
    middle = np.log([PRIORS[name].middle for name in names])
    precision = np.array([PRIORS[name].spread for name in names]) ** -2.0
    most = np.log([PRIORS[name].most for name in names])
    table = table_of(tuple(rows))
    trust = weights_of(table.rows)
    at = middle.copy()
    for _ in range(STEPS):
        residuals = residuals_of(table, dict(zip(names, np.exp(at), strict=True)))
        slopes = np.empty((len(residuals), len(names)))
        for i in range(len(names)):
            moved = at.copy()
            moved[i] += STEP
            slopes[:, i] = (residuals - residuals_of(table, dict(zip(names, np.exp(moved), strict=True)))) / STEP
        weights = trust * (FREEDOM + 1) / (FREEDOM + (residuals / ERROR) ** 2) / ERROR**2
        normal = (slopes.T * weights) @ slopes + np.diag(precision)
        step = np.linalg.solve(normal, slopes.T @ (weights * residuals) - precision * (at - middle))
        moved = np.minimum(at + np.clip(step, -0.5, 0.5), most)
        change, at = np.abs(moved - at).max(), moved
        if change < ENOUGH:
            break
    return dict(zip(names, map(float, np.exp(at)), strict=True))


def weights_of(rows: Sequence[Row]) -> "Numbers":
    """What each row counts for."""
    import numpy as np

    of_device = Counter(row.device for row in rows)
    return np.array([WEIGHT_OF[row.quality] * min(1.0, ROWS_OF_A_DEVICE / of_device[row.device]) for row in rows])
