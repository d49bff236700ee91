"""The training curves of a workspace: one chart definition, as an interactive page and as a static picture."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm_contract.card import Scores
from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_contract.files import locked, write_whole
from vlm_contract.history import history_of
from vlm_contract.workspace import HISTORY_FILE, Workspace, safe_name

PAPER, INK, GRID = "#fff", "#1a1c1e", "#dee2e6"
PARTS = ("validation", "train")
PANELS = {"accuracy_percent": "Accuracy (%)", "loss": "Loss (cross-entropy, nats)"}

Histories = Mapping[str, Sequence[Scores]]  # by run


@dataclass(frozen=True)
class Plotted:
    """The files written, the runs in them, and a sentence for each run that could not be read."""

    files: tuple[Path, ...]
    runs: tuple[str, ...]
    problems: tuple[str, ...]


def plot_curves(workspace: Workspace, runs: Sequence[str] = ()) -> Plotted:
    """Draw the curves of these runs, of all where none is named, into `report/figures` of the workspace.

    Raises VlmError for a run that is not there, for a named one that is damaged, and where no epoch has ended.
    """
    histories, problems = _histories(workspace, runs)
    try:
        page, picture = html_and_svg(histories)
    except ImportError as error:
        raise require_extra("report", error) from None
    folder = workspace.report / "figures"
    with locked(workspace.report, "vlm-train plot"):
        write_whole(folder / "curves.html", page)
        write_whole(folder / "curves.svg", picture)
    return Plotted((folder / "curves.html", folder / "curves.svg"), tuple(histories), problems)


def html_and_svg(histories: Histories) -> tuple[str, str]:
    """The page, with its scripts inside, and the picture; both of the one chart."""
    import vl_convert

    chart = curves_chart(histories).to_dict()
    page = str(vl_convert.vegalite_to_html(chart, bundle=True))
    return page.replace("<title>Chart<", "<title>Training curves<", 1), str(vl_convert.vegalite_to_svg(chart))


def curves_chart(histories: Histories) -> Any:
    """Accuracy beside loss by epoch: a colour for all seeds of a run, a line for each, training dashed."""
    import altair as alt

    points = points_of(histories)
    groups = sorted({point["group"] for point in points})
    scheme = "tableau10" if len(groups) <= 10 else "tableau20"
    one_epoch = max(map(len, histories.values())) == 1  # a line of one point does not show
    picked = alt.selection_point(name="picked", fields=["group"], bind="legend")
    axis = alt.Axis(tickMinStep=1, format="d")
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("epoch:Q", title="Epoch", axis=axis, scale=alt.Scale(nice=False)),
        color=alt.Color("group:N", title="Run, all seeds", scale=alt.Scale(domain=groups, scheme=scheme)),
    )
    lines = base.mark_line(strokeWidth=1.6).encode(
        strokeDash=alt.StrokeDash("part:N", title="Images", scale=alt.Scale(domain=PARTS, range=[[1, 0], [4, 3]])),
        detail="run:N",
        opacity=alt.condition(picked, alt.value(0.9), alt.value(0.08)),
    )
    dots = base.mark_circle(size=60, opacity=float(one_epoch)).encode(
        tooltip=["run:N", "part:N", "epoch:Q", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in PANELS)]
    )
    accuracy, loss = (
        alt.layer(
            lines.add_params(alt.selection_interval(name=f"{name}_range", bind="scales")).properties(name=name), dots
        )
        .encode(y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=name == "loss", nice=False)))
        .properties(width=420, height=320)
        for name, title in PANELS.items()
    )
    ink = dict.fromkeys(("labelColor", "titleColor"), INK)
    legend = alt.LegendConfig(**ink, orient="bottom", columns=2, labelLimit=400, symbolType="stroke", symbolSize=300)
    return (
        alt.hconcat(accuracy.add_params(picked), loss)
        .properties(background=PAPER)
        .configure(
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(**ink, domainColor=INK, tickColor=INK, gridColor=GRID),
            legend=legend,
            font="system-ui, sans-serif",
        )
    )


def points_of(histories: Histories) -> list[dict[str, Any]]:
    """A row of plain values for each run, epoch and part."""
    return [
        {
            "run": safe_name(run),
            "group": safe_name(group_of(run)),
            "epoch": scores.epoch,
            "part": part,
            **{name: asdict(scores)[f"{part}_{name}"] for name in PANELS},
        }
        for run, history in histories.items()
        for scores in history
        for part in PARTS
    ]


def group_of(run: str) -> str:
    """The name of a run without its seed."""
    return re.sub(r"-s\d+$", "", run)


def _histories(workspace: Workspace, runs: Sequence[str]) -> tuple[dict[str, tuple[Scores, ...]], tuple[str, ...]]:
    there = sorted(path.parent.name for path in workspace.root.glob(f"runs/[!.]*/{HISTORY_FILE}"))
    _check_named(runs, there, workspace)
    histories, problems = {}, []
    for run in runs or there:
        try:
            histories[run] = history_of(workspace.run(run))
        except VlmError as error:
            if runs:
                raise
            problems.append(str(error))
    if not any(histories.values()):
        message = " ".join((f"No run in {workspace.root} has a history to plot.", *problems))
        raise VlmError(message, hint="vlm-train --model resnet50 --data digits")
    return histories, tuple(problems)


def _check_named(runs: Iterable[str], there: Sequence[str], workspace: Workspace) -> None:
    for run in runs:
        if run not in there:
            nearest = difflib.get_close_matches(run, there, n=3)
            known = f"did you mean {', '.join(nearest)}?" if nearest else "vlm-train list names them all."
            raise VlmError(
                f"{workspace.root} holds no run {run!r} with a history; {known}",
                hint=f"vlm-train plot {nearest[0]}" if nearest else "vlm-train list",
            )
