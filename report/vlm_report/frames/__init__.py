"""Records as pandas frames, from which tables, charts and sentences are made.

Raw values, in units that the columns' names say; what is absent is an Absent with its reason. Each row has its `record`
(the path in the workspace, or several with ", " between them) and its `evidence`. One module a frame; the dataclass in
it documents the columns.
"""

from typing import TYPE_CHECKING

from vlm_contract.garbage import uncollected
from vlm_report.frames.benchmark import Judged, benchmark_frame, judged_estimates
from vlm_report.frames.curves import Epoch, epochs_of
from vlm_report.frames.efficiency import Efficiency, efficiency_rows
from vlm_report.frames.exported import Exported, exported_rows
from vlm_report.frames.families import FamilyRow, family_rows
from vlm_report.frames.provenance import Source, sources_of
from vlm_report.frames.rankings import Ranked, ranked_rows
from vlm_report.frames.rows import frame_of, rows_in
from vlm_report.frames.run import Run
from vlm_report.frames.samples import Sample, sample_rows
from vlm_report.frames.seeds import groups_of
from vlm_report.frames.times import Time, time_rows
from vlm_report.frames.training import runs_of
from vlm_report.records import Records

if TYPE_CHECKING:
    import pandas as pd


def frames_of(records: Records) -> "dict[str, pd.DataFrame]":
    """Every frame by its name. Raises ImportError where pandas is not installed."""
    with uncollected():
        return _frames(records)


def _frames(records: Records) -> "dict[str, pd.DataFrame]":
    benchmark = benchmark_frame(records)
    runs = runs_of(records)
    groups = groups_of(runs)
    return {
        "benchmark": benchmark,
        "training": frame_of(Run, runs),
        "curves": frame_of(Epoch, epochs_of(records, runs)),
        "samples": frame_of(Sample, sample_rows(runs)),
        "efficiency": frame_of(Efficiency, efficiency_rows(groups, rows_in(benchmark), records)),
        "rankings": frame_of(Ranked, ranked_rows(groups)),
        "times": frame_of(Time, time_rows(runs)),
        "families": frame_of(FamilyRow, family_rows(groups)),
        "exported": frame_of(Exported, exported_rows(records)),
        "estimates": frame_of(Judged, judged_estimates(records)),
        "provenance": frame_of(Source, sources_of(records)),
    }
