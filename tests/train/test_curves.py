"""The curves: one chart, two files, nothing fetched."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

from vlm_contract.card import Scores
from vlm_contract.errors import VlmError
from vlm_contract.workspace import HISTORY_FILE, Workspace
from vlm_train.curves import group_of, plot_curves, points_of

pytest.importorskip("altair", reason="the extra 'report' is not installed")


def scores(epochs: int, shift: float = 0.0) -> tuple[Scores, ...]:
    return tuple(
        Scores(epoch, 100, 60 + epoch + shift, 1 / epoch, 50 + epoch + shift, 2 / epoch)
        for epoch in range(1, epochs + 1)
    )


def keep(workspace: Workspace, run: str, history: tuple[Scores, ...]) -> None:
    workspace.run(run).mkdir(parents=True)
    lines = "".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in history)
    (workspace.run(run) / HISTORY_FILE).write_text(lines)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    keep(workspace, "double-net-digits-1437-s0", scores(5))
    keep(workspace, "double-net-digits-1437-s1", scores(4, shift=0.5))
    keep(workspace, "other-digits-1437-s0", scores(3, shift=-9.0))
    return workspace


def test_a_point_is_the_figure_of_the_history() -> None:
    points = points_of({"double-s0": scores(2)})
    assert points[-1] == {
        "run": "double-s0",
        "group": "double",
        "epoch": 2,
        "part": "train",
        "accuracy_percent": 62.0,
        "loss": 0.5,
    }
    assert len(points) == 4


@pytest.mark.parametrize(
    ("run", "group"), [("net-digits-1437-s12", "net-digits-1437"), ("mine", "mine"), ("net-s1-more", "net-s1-more")]
)
def test_the_seeds_of_a_run_share_a_colour(run: str, group: str) -> None:
    assert group_of(run) == group


def test_all_runs_are_drawn_where_none_is_named(workspace: Workspace) -> None:
    plotted = plot_curves(workspace)
    assert plotted.files == tuple(workspace.report / "figures" / f"curves.{kind}" for kind in ("html", "svg"))
    assert len(plotted.runs) == 3
    for file in plotted.files:
        text = file.read_text()
        assert "double-net-digits-1437" in text
        assert "other-digits-1437" in text


def test_only_the_named_runs_are_drawn(workspace: Workspace) -> None:
    page, picture = (file.read_text() for file in plot_curves(workspace, ["other-digits-1437-s0"]).files)
    assert "double-net" not in page + picture


def test_the_picture_has_a_line_for_each_run_part_and_panel(workspace: Workspace) -> None:
    picture = plot_curves(workspace).files[1].read_text()
    assert len(re.findall(r'aria-roledescription="line mark"', picture)) == 3 * 2 * 2


def test_the_page_fetches_nothing(workspace: Workspace) -> None:
    page = plot_curves(workspace).files[0].read_text()
    opened = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert opened
    assert not any("src" in tag or "href" in tag for tag in opened if "${" not in tag)
    assert "vegaEmbed" in page


def test_the_same_histories_give_the_same_files(workspace: Workspace) -> None:
    def written() -> list[str]:
        """What is in the files; Vega numbers clipping paths on and on through a process."""
        return [re.sub(r"clip\d+", "clip", file.read_text()) for file in plot_curves(workspace).files]

    assert written() == written()


def test_a_run_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    keep(Workspace(tmp_path), "short-s0", scores(1))
    assert plot_curves(Workspace(tmp_path)).runs == ("short-s0",)


def test_an_unknown_run_names_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(VlmError, match="did you mean other-digits-1437-s0") as caught:
        plot_curves(workspace, ["other-digits-1437-s1"])
    assert caught.value.hint == "vlm-train plot other-digits-1437-s0"
    assert not workspace.report.exists()


def test_a_damaged_history_stops_only_what_names_it(workspace: Workspace) -> None:
    (workspace.run("other-digits-1437-s0") / HISTORY_FILE).write_text('{"epoch": 1')
    plotted = plot_curves(workspace)
    assert len(plotted.runs) == 2
    assert "history.jsonl is damaged" in plotted.problems[0]
    with pytest.raises(VlmError, match=r"history\.jsonl is damaged"):
        plot_curves(workspace, ["other-digits-1437-s0"])


def test_no_history_at_all_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="has a history to plot") as caught:
        plot_curves(Workspace(tmp_path))
    assert caught.value.hint.startswith("vlm-train")


def test_a_missing_extra_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(VlmError, match="the extra 'report'"):
        plot_curves(workspace)
    assert not workspace.report.exists()
