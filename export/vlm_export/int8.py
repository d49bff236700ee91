"""INT8 from FP32: quantised, judged, and the most sensitive layers left in float where too much accuracy is lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlm_contract.manifest import Quantisation, QuantisationAttempt
from vlm_export.graph import Model
from vlm_export.quantiser import (
    CPU,
    METHODS,
    Calibration,
    Layer,
    Ranges,
    Scheme,
    batches_of,
    check_calibration,
    layers_of,
    operators_of,
    prepared_for_int8,
    quantised_from,
    ranges_of,
)
from vlm_export.sensitivity import by_sensitivity, switchable

SENSITIVITY_IMAGES = 32
FLOAT_SHARE = 0.5  # of the layers, at most: a judgement, beyond it a graph should not be called INT8


def int8_from_fp32(
    model: Model,
    calibration: Calibration,
    judge: Callable[[Model], float],
    max_drop_points: float,
    tell: Callable[[str], None],
    scheme: Scheme = CPU,
) -> tuple[Model, Quantisation]:
    """The INT8 graph that loses no more than allowed with the fewest layers left in float, and how it was found.

    `judge` gives the drop of a graph's top-1 accuracy in points. Where every attempt loses more, the graph with the
    smallest loss comes back, and `refusal_of` says why it must not be used. The same inputs give the same bytes.
    Raises VlmError without images or with broken ones, CheckFailed for a graph that has nothing to quantise.
    """
    check_calibration(calibration)
    prepared = prepared_for_int8(model)
    layers = layers_of(prepared, scheme)
    search = Search(prepared, layers, scheme, judge, max_drop_points, tell)
    ranges: dict[str, Ranges] = {}
    for method in METHODS:
        tell(f"INT8, {method}: calibration with {len(calibration.images)} images")
        ranges[method] = ranges_of(prepared, calibration, method, operators_of(prepared, scheme))
        if search.fits(method, ranges[method]):
            break
    else:
        method = search.kept.method
        everything = quantised_from(prepared, ranges[method], layers, scheme, keep_relu=True)
        graph = switchable(everything, prepared, layers, scheme.float_outputs)
        order = by_sensitivity(graph, batches_of(calibration, SENSITIVITY_IMAGES), tell)
        search.fewest(method, ranges[method], order[: int(FLOAT_SHARE * len(layers))])
    return search.kept.model, quantisation_of(search, calibration)


@dataclass(frozen=True)
class Trial:
    """One quantised graph and its loss of accuracy."""

    model: Model
    method: str
    float_layers: tuple[Layer, ...]
    drop_points: float


class Search:
    """Builds and judges graphs; remembers all attempts and keeps the best graph."""

    kept: Trial

    def __init__(
        self,
        prepared: Model,
        layers: tuple[Layer, ...],
        scheme: Scheme,
        judge: Callable[[Model], float],
        max_drop_points: float,
        tell: Callable[[str], None],
    ) -> None:
        self.layers, self.max_drop_points = layers, max_drop_points
        self.attempts: list[QuantisationAttempt] = []
        self._prepared, self._scheme, self._judge, self._tell = prepared, scheme, judge, tell

    def fits(self, method: str, ranges: Ranges, float_layers: Sequence[Layer] = ()) -> bool:
        """Whether the graph with these layers in float loses no more than allowed."""
        self._tell(f"INT8, {method}, {len(float_layers)} of {len(self.layers)} layers in float")
        quantised = [layer for layer in self.layers if layer not in float_layers]
        model = quantised_from(self._prepared, ranges, quantised, self._scheme)
        trial = Trial(model, method, tuple(float_layers), float(self._judge(model)))
        if not self.attempts or self._cost(trial) < self._cost(self.kept):
            self.kept = trial
        self.attempts.append(QuantisationAttempt(method, len(float_layers), trial.drop_points))
        return trial.drop_points <= self.max_drop_points

    def fewest(self, method: str, ranges: Ranges, order: Sequence[Layer]) -> None:
        """Find how many layers, from the first in `order`, must be float: none is tried where all are too few.

        It halves what lies between the largest count that failed and the smallest that fitted.
        """
        failed, fitting = 0, len(order)
        if not order or not self.fits(method, ranges, order):
            return
        while fitting - failed > 1:
            middle = (failed + fitting) // 2
            if self.fits(method, ranges, order[:middle]):
                fitting = middle
            else:
                failed = middle

    def _cost(self, trial: Trial) -> tuple[float, int]:
        return max(trial.drop_points, self.max_drop_points), len(trial.float_layers)


def quantisation_of(search: Search, calibration: Calibration) -> Quantisation:
    """What the manifest says of a search."""
    kept = search.kept
    return Quantisation(
        images=len(calibration.images),
        origin=calibration.origin,
        method=kept.method,
        max_drop_points=search.max_drop_points,
        quantised_layers=len(search.layers) - len(kept.float_layers),
        float_layers=tuple(layer.name for layer in kept.float_layers),
        attempts=tuple(search.attempts),
    )


def refusal_of(quantisation: Quantisation) -> tuple[str, ...]:
    """Why the graph must not be used; empty where some attempt lost no more accuracy than allowed."""
    tried = sorted(quantisation.attempts, key=lambda attempt: attempt.drop_points)
    if tried[0].drop_points <= quantisation.max_drop_points:
        return ()
    words = ", ".join(f"{a.drop_points:.2f} ({a.method}, {a.float_layers} layers in float)" for a in tried)
    return (f"INT8 loses more than {quantisation.max_drop_points:g} points of accuracy, however made: {words}",)
