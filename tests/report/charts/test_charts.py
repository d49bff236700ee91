import json
import math
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.workspace import Workspace
from vlm_report.charts import Chart, Charts, charts_of, png_of, svg_of
from vlm_report.charts.marks import CROSS, GREYS, PALETTE, shape
from vlm_report.charts.sources import Sources
from vlm_report.frames import frames_of
from vlm_report.records import Records, records_of

KINDS = (
    "accuracy-vs-dataset-size",
    "params-vs-accuracy",
    "latency-vs-accuracy",
    "training-curves-loss",
    "training-curves-accuracy",
    "overfitting-gap",
    "latency-distribution",
    "throughput-vs-batch",
    "memory-breakdown",
    "energy-per-image",
)


@pytest.fixture(scope="session")
def charts(world: Sources) -> Charts:
    return charts_of(world.records, world.frames)


def of_records(records: Records) -> Charts:
    return charts_of(records, frames_of(records))


def named(charts: Charts, name: str) -> Chart:
    return next(chart for chart in charts.drawn if chart.name == name)


def rows_of(chart: Chart) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = chart.spec["datasets"]["rows"]
    return rows


def channel(chart: Chart, name: str) -> dict[str, Any]:
    """The first layer's encoding of a channel."""
    return next(layer["encoding"][name] for layer in chart.spec["layer"] if name in layer.get("encoding", {}))


def shapes_of(chart: Chart) -> dict[str, str]:
    scale = channel(chart, "shape")["scale"]
    return dict(zip(scale["domain"], scale["range"], strict=True))


def axis_titles(chart: Chart) -> list[str]:
    return [channel(chart, name).get("title") or "" for name in ("x", "y")]


def test_every_kind_of_chart_is_drawn_where_there_is_something_to_draw(charts: Charts) -> None:
    assert not charts.absent
    assert [kind for kind in KINDS if not any(chart.name.startswith(kind) for chart in charts.drawn)] == []
    assert len({chart.name for chart in charts.drawn}) == len(charts.drawn)


def test_a_workspace_of_one_run_has_its_training_charts_and_a_reason_for_each_other(
    keep: Any, workspace: Workspace
) -> None:
    keep.run("alpha_net")
    charts = of_records(records_of(workspace))
    assert {chart.name.split("-double")[0] for chart in charts.drawn} == {
        "accuracy-vs-dataset-size", "params-vs-accuracy", "training-curves-loss", "training-curves-accuracy",
        "overfitting-gap",
    }  # fmt: skip
    assert {chart.name for chart in charts.absent} == {
        "latency-vs-accuracy", "latency-distribution", "throughput-vs-batch", "memory-breakdown", "energy-per-image",
    }  # fmt: skip
    assert all(chart.reason.endswith(".") for chart in charts.absent)
    assert all("alpha_net" in svg_of(chart) for chart in charts.drawn)


def test_without_any_row_no_chart_is_drawn_and_each_says_why(double: SimpleNamespace) -> None:
    charts = of_records(double.records())
    assert not charts.drawn
    assert len(charts.absent) == len(KINDS) - 1  # both training curves have one reason


def test_one_measurement_is_drawn(keep: Any, workspace: Workspace) -> None:
    keep.row("alpha_net-run", 3.0)
    charts = of_records(records_of(workspace))
    assert {chart.name for chart in charts.drawn} == {"latency-vs-accuracy-host", "memory-breakdown-host"}
    assert all(svg_of(chart).startswith("<svg") for chart in charts.drawn)


@pytest.mark.parametrize("outline", ["circle", "square", "triangle", "diamond"])
def test_marks_are_filled_where_measured_hollow_where_estimated_and_crosses_where_reported(outline: str) -> None:
    paths = [shape(evidence, outline) for evidence in ("measured", "estimated", "reported")]
    assert [path.count("M") for path in paths] == [1, 2, 1]  # the second contour is the hole
    assert paths[1].startswith(paths[0])
    assert paths[2] == CROSS


def test_the_legend_of_a_target_names_precision_and_evidence_of_its_marks(charts: Charts) -> None:
    board, host = (named(charts, f"latency-vs-accuracy-{target}") for target in ("double-board", "host"))
    assert list(shapes_of(host)) == ["fp16, measured", "fp32, measured", "int8, measured"]
    assert shapes_of(board) == {
        "fp16, estimated": shape("estimated", "square"),
        "fp32, estimated": shape("estimated"),
        "int8, estimated": shape("estimated", "triangle"),
        "reported": CROSS,
    }
    assert "hollow are estimated, crosses are reported" in board.caption


def test_intervals_of_latency_are_bars_from_low_to_high(charts: Charts) -> None:
    board = named(charts, "latency-vs-accuracy-double-board")
    bars = next(layer for layer in board.spec["layer"] if layer["mark"]["type"] == "rule")
    assert (bars["encoding"]["x"]["field"], bars["encoding"]["x2"]["field"]) == ("low", "high")
    estimated = [row for row in rows_of(board) if row["evidence"] == "estimated"]
    assert all(row["low"] == pytest.approx(0.7 * row["ms"], rel=0.01) for row in estimated)
    reported = [row for row in rows_of(board) if row["evidence"] == "reported"]
    assert reported and not any("low" in row for row in reported)


def test_the_front_joins_what_no_faster_artifact_equals_in_accuracy(charts: Charts) -> None:
    front = [row for row in rows_of(named(charts, "latency-vs-accuracy-host")) if row["front"]]
    assert [row["model"] for row in front] == ["alpha_net", "beta_net"]
    board = named(charts, "latency-vs-accuracy-double-board")
    assert {row["evidence"] for row in rows_of(board) if row["front"]} == {"estimated"}
    assert "Pareto front of what was estimated" in board.caption


def test_what_is_invalid_refused_or_failed_is_nowhere_drawn(
    keep: Any, double: SimpleNamespace, workspace: Workspace
) -> None:
    keep.row("alpha_net-run", 3.0)
    keep.row("beta_net-run", 4.0, verdicts=(double.contended,))
    keep.row("gamma_net-run", 5.0, verdicts=(double.killed,))
    drawn = json.dumps([chart.spec for chart in of_records(records_of(workspace)).drawn])
    assert "alpha_net" in drawn
    assert "beta_net" not in drawn and "gamma_net" not in drawn


def test_seeds_are_a_mean_with_a_band_from_the_least_to_the_most_accurate(charts: Charts) -> None:
    chart = named(charts, "accuracy-vs-dataset-size-double-data")
    row = next(r for r in rows_of(chart) if (r["model"], r["samples"]) == ("alpha_net", 5000))
    assert row["low"] < row["mean"] < row["high"]
    assert "2 seeds" in row["figure"]
    marks = [layer["mark"]["type"] for layer in chart.spec["layer"]]
    assert marks[:4] == ["area", "rule", "line", "point"]
    assert set(shapes_of(chart)) == {"measured", "reported"}


def test_curves_have_bands_over_seeds_and_both_kinds_of_images(charts: Charts) -> None:
    chart = named(charts, "training-curves-loss-double-data-5000")
    row = rows_of(chart)[0]
    assert {"t", "t_low", "t_high", "v", "v_low", "v_high"} <= row.keys()
    encodings = [layer["encoding"] for layer in chart.spec["layer"]]
    dashes = [each["strokeDash"]["scale"]["domain"] for each in encodings if "strokeDash" in each]
    assert dashes == [["validation", "training"]] * 2
    assert "bands" in chart.caption


def test_a_long_run_is_thinned_out_and_keeps_its_last_epoch() -> None:
    from vlm_report.charts import curves

    losses = {"run": "r", "series": "s", "train_loss": 1.0, "validation_loss": 1.0}
    epochs = [losses | {"epoch": epoch} for epoch in range(1, 201)]
    rows = curves._rows(epochs, "loss", 4)
    assert [row["epoch"] for row in rows][:2] == [1, 4]
    assert rows[-1]["epoch"] == 200
    assert len(rows) == 51


def test_gaps_are_written_as_tables_write_them(charts: Charts) -> None:
    rows = rows_of(named(charts, "overfitting-gap-double-data"))
    gaps = {row["row"]: row["gap"] for row in rows}
    assert gaps["Alpha-Net, 5,000 (reported)"] == "47.50"
    assert rows == sorted(rows, key=lambda row: float(row["gap"]))


def test_a_cliff_is_ringed_where_throughput_surely_falls(charts: Charts) -> None:
    chart = named(charts, "throughput-vs-batch-host")
    cliffs = {(row["model"], row["batch"]) for row in rows_of(chart) if row["cliff"]}
    assert cliffs == {("beta_net", 32)}
    assert "cliff" in chart.caption


def test_each_process_of_a_distribution_is_told_apart_and_its_median_marked(charts: Charts) -> None:
    rows = rows_of(named(charts, "latency-distribution-host"))
    first = [row for row in rows if row["strip"] == 0]
    assert {row["process"] for row in first} == set(range(5))
    assert sum(row["median"] for row in first) == 5


def test_samples_are_thinned_by_rank_and_keep_both_extremes() -> None:
    from vlm_report.charts.distribution import TICKS, sampled

    chosen = sampled(range(10_000))
    assert (chosen[0], chosen[-1]) == (0, 9_999)
    assert len(chosen) == TICKS + 2
    assert sampled([7]) == [7]
    assert sampled([1, 2, 3]) == [1, 2, 3]


def test_memory_is_stacked_to_the_peak_of_the_process() -> None:
    from vlm_report.charts.memory import BEFORE, MODEL, REST, of_device, of_process

    row = {
        "peak_rss_bytes": 100, "model_rss_bytes": 30, "device_peak_bytes": 50, "memory_by_source": {"weights": 40},
    }  # fmt: skip
    assert of_process(row) == {BEFORE: 70, MODEL: 30}
    assert of_device(row) == {"weights": 40, REST: 10}
    assert of_process(row | {"peak_rss_bytes": Absent("no counter")}) == {}


def test_a_model_has_one_colour_in_every_chart_and_a_document_s_word_for_it_the_same(charts: Charts) -> None:
    colours: dict[str, set[str]] = {}
    for chart in charts.drawn:
        for layer in chart.spec["layer"]:
            inks = layer.get("encoding", {}).get("color", {})
            if inks.get("field") == "model":
                for model, ink in zip(inks["scale"]["domain"], inks["scale"]["range"], strict=True):
                    colours.setdefault(model.lower().replace("-", "_"), set()).add(ink)
    assert set(colours) == {"alpha_net", "beta_net", "gamma_net"}
    assert all(len(inks) == 1 for inks in colours.values())


def test_axes_say_their_units(charts: Charts) -> None:
    units = ("(%)", "(ms)", "(millions)", "(nats)", "(MB)", "(mJ an image)", "(images/s)", "(images a call)", "% of")
    for chart in charts.drawn:
        titles = [title for title in axis_titles(chart) if title not in ("", "Epoch", "Labelled images")]
        assert titles and all(any(unit in title for unit in units) for title in titles), chart.name


def test_svg_holds_the_labels_in_the_reader_s_ink_and_no_ground(charts: Charts) -> None:
    for chart in charts.drawn:
        svg = svg_of(chart)
        assert "lpha" in svg and "currentColor" in svg and 'fill="white"' not in svg, chart.name
        assert "NaN" not in svg, chart.name


def test_png_is_a_picture(charts: Charts) -> None:
    assert png_of(charts.drawn[0]).startswith(b"\x89PNG")


def test_definitions_take_the_width_of_the_page_and_stay_small(charts: Charts) -> None:
    assert all(chart.spec["width"] == "container" for chart in charts.drawn)
    assert sum(len(json.dumps(chart.spec)) for chart in charts.drawn) < 200_000


def test_a_name_of_control_characters_and_markup_moves_nothing(keep: Any, workspace: Workspace) -> None:
    keep.run("evil\x1b[2J<b>'\"net")
    for chart in of_records(records_of(workspace)).drawn:
        svg = svg_of(chart)
        assert "\x1b" not in svg and "<b>" not in svg


def luminance(colour: str) -> float:
    """Relative, as WCAG 2 defines it."""
    parts = linear(colour)
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


@pytest.mark.parametrize("colour", [*PALETTE, *GREYS])
@pytest.mark.parametrize("paper", ["#ffffff", "#15181b"])
def test_colours_of_marks_stand_out_on_both_papers(colour: str, paper: str) -> None:
    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def deuteranope(colour: str) -> list[float]:
    """Linear light as a deuteranope sees it: Machado, Oliveira and Fernandes (2009), severity 1."""
    rows = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881))
    return [sum(factor * part for factor, part in zip(row, linear(colour), strict=True)) for row in rows]


def test_no_two_colours_look_alike_to_a_deuteranope() -> None:
    light = [deuteranope(colour) for colour in (*PALETTE, *GREYS)]
    seen = [[math.copysign(abs(part) ** (1 / 3), part) for part in parts] for parts in light]
    assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > 0.06
