"""Plots of the report, one module each; every one is a Vega-Lite definition from which every format is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_report.charts import (
    batches,
    curves,
    dataset_size,
    distribution,
    energy,
    latency_accuracy,
    memory,
    overfitting,
    parameters,
)
from vlm_report.charts.chart import Chart, NoChart, png_of, svg_of
from vlm_report.charts.sources import Sources
from vlm_report.records import Records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chart", "Charts", "NoChart", "charts_of", "png_of", "svg_of"]

PLOTS = (dataset_size, parameters, latency_accuracy, curves, overfitting, distribution, batches, memory, energy)


@dataclass(frozen=True)
class Charts:
    """Those that were drawn, and those that there is nothing for."""

    drawn: tuple[Chart, ...]
    absent: tuple[NoChart, ...]


def charts_of(records: Records, frames: "Mapping[str, pd.DataFrame]") -> Charts:
    """Every chart of the report, from the frames `training`, `curves` and `benchmark` of the records.

    Only what is valid is drawn. The records give what no frame holds: raw samples, and memory by source.
    """
    sources = Sources(records, frames)
    made = [chart for plot in PLOTS for chart in plot.charts(sources)]
    return Charts(
        tuple(chart for chart in made if isinstance(chart, Chart)),
        tuple(chart for chart in made if isinstance(chart, NoChart)),
    )
